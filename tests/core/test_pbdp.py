"""The holes of a pair, with and without its colours."""

import torch

from dreamstereo_core import build_pair
from dreamstereo_core.pbdp import pair_holes


def test_holes_alone_equal_those_of_the_pair():
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(3, 1, 8, 12, generator=generator) * 20 - 6
    disparity = torch.nn.functional.interpolate(coarse, (150, 96), mode="bilinear")
    disparity[..., 30:60] += 9
    pair = build_pair(torch.rand(3, 3, 150, 96, generator=generator), disparity)
    mask, seen = pair_holes(disparity)
    assert torch.equal(mask, pair.occlusion_mask)
    assert torch.equal(seen, pair.disparity)
