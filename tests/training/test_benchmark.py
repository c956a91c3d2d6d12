"""What the benchmark compares must compute the same."""

import torch
from benchmark import scatter_sheet, warp_scene

from dreamstereo_core import gapw_warp


def test_the_warp_equals_the_plain_chain_of_scatters():
    video, disparity = warp_scene(320, 180)
    warped, coord = scatter_sheet(video, disparity)
    ours = gapw_warp(video, disparity)
    assert torch.allclose(ours.coord_map, coord, atol=2e-3)
    assert (ours.video - warped).abs().max() < 5e-3
