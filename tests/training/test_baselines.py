"""The fills to compare with, and the layered composites."""

import pytest
import torch

from evaluation.baselines import navier_stokes, nearest_background, telea
from evaluation.clips import project_back
from making.composites import layered_composite


def test_nearest_background_repeats_the_farther_end_of_each_row():
    video = torch.tensor([0.9, 0.9, 0, 0, 0.2, 0.3]).expand(1, 3, 1, 6)
    mask = torch.tensor([0.0, 0, 1, 1, 0, 0]).view(1, 1, 1, 6)
    disparity = torch.tensor([5.0, 5, 0, 0, 1, 1]).view(1, 1, 1, 6)
    filled = nearest_background(video, mask, disparity)
    assert filled[0, 0, 0].tolist() == pytest.approx([0.9, 0.9, 0.2, 0.2, 0.2, 0.3])
    at_border = torch.tensor([1.0, 1, 0, 0, 0, 0]).view(1, 1, 1, 6)
    assert nearest_background(video, at_border, disparity)[0, 0, 0, 0] == 0


@pytest.mark.parametrize("fill", [telea, navier_stokes])
def test_cv2_fills_keep_what_is_known(fill):
    video = torch.rand(2, 3, 16, 16)
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., 4:8, 4:8] = 1
    filled = fill(video * (1 - mask), mask, mask)
    known = (mask == 0).expand_as(video)
    assert torch.equal(filled[known], video[known])
    assert (filled[~known] > 0).any()


@pytest.fixture
def composite():
    generator = torch.Generator().manual_seed(1)
    photos = torch.rand(2, 3, 60, 90, generator=generator)
    return layered_composite(
        *photos, frames=3, height=48, width=96, max_disparity=10, generator=generator
    )


def test_a_composite_shows_its_background_wherever_it_is_not_near(composite):
    far = (composite.disparity < 5).expand_as(composite.video)
    difference = (composite.video - composite.background).abs()[far]
    assert 0.3 < far.float().mean() < 1
    assert difference.max() < 0.03  # the soft edge's last 2 %


def test_a_seed_gives_a_composite():
    clips = [
        layered_composite(
            *torch.ones(2, 3, 60, 90).mul(torch.tensor([0.2, 0.8]).view(2, 1, 1, 1)),
            frames=2,
            height=24,
            width=48,
            max_disparity=5,
            generator=torch.Generator().manual_seed(seed),
        ).video
        for seed in (3, 3, 4)
    ]
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2])


def test_the_holes_of_a_composite_show_its_background(composite):
    mask = project_back("composites", "one", composite.video, composite.disparity).mask
    inside = mask[..., 10:-10].expand(-1, 3, -1, -1) > 0
    difference = (composite.video - composite.background).abs()[..., 10:-10][inside]
    assert inside.any()
    assert difference.mean() < 0.02
