"""A fill that a network makes better: where, with what memory, and without flicker."""

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter
from dreamstereo_core.fill import MiniInpainter
from dreamstereo_core.models.inpainter import Memory

from ...models.test_inpainter import drawn


def moving(count=7, speed=3):
    """A texture that moves to the left behind a hole that stands still; and its holes."""
    noise = torch.rand(1, 3, 12, 30, generator=torch.Generator().manual_seed(3))
    still = F.interpolate(noise, (96, 240), mode="bicubic").clamp(0, 1)
    video = torch.cat([still[..., speed * t : speed * t + 160] for t in range(count)])
    mask = torch.zeros(count, 1, 96, 160)
    mask[..., 20:76, 60:84] = 1
    mask[..., 40:44, 100:102] = 1  # narrow
    return video, mask


@pytest.mark.parametrize("count", [1, 5])
def test_an_inpainter_refines_what_another_fills_and_nothing_else(count):
    video, mask = moving(count)
    network = drawn()
    first = ClassicInpainter().inpaint(video, mask)
    wide = mask.clone()
    wide[:, :, 40:44, 100:102] = 0
    result = MiniInpainter(network).inpaint(video, mask, dilation=3)
    refined = network(first[None], wide[None], dilation=3)[0].clamp(0, 1)
    assert torch.allclose(result[:1], refined[:1], atol=1e-5)
    outside = (wide == 0).expand_as(result)
    assert torch.equal(result[outside], first[outside])
    assert not torch.allclose(result, first, atol=1e-3)


class Flickering:
    """Adds now more, now less."""

    unet = drawn().unet

    def step(self, filled, mask, memory, dilation):
        memory.frames += 1
        return filled + (0.1 + 0.05 * (-1) ** memory.frames) * mask


class Truth(ClassicInpainter):
    """Knows what is in the holes."""

    def __init__(self, video):
        super().__init__()
        self.video = video

    def stream(self, frames, **options):
        for t, _ in enumerate(frames):
            yield self.video[t : t + 1]


def test_what_is_added_does_not_flicker_where_the_fill_only_moves():
    video, mask = moving()
    added = MiniInpainter(Flickering(), Truth(video * 0.8)).inpaint(video, mask) - 0.8 * video
    inside = added[:, 0, 30:66, 64:76].mean((1, 2))
    steps = (inside[1:] - inside[:-1]).abs()
    assert steps[3:].max() < 0.5 * 0.1  # a tenth by itself
    assert torch.allclose(inside[3:].mean(), torch.tensor(0.1), atol=0.02)


def test_what_is_added_to_another_picture_is_not_mixed_in():
    video, mask = moving(2)
    video[1] = 1 - video[1].flip(-2)
    first = MiniInpainter(Flickering(), Truth(video * 0.8)).inpaint(video, mask) - 0.8 * video
    inside = first[:, 0, 30:66, 64:76].mean((1, 2))
    assert abs(float(inside[0]) - 0.05) < 1e-3
    assert abs(float(inside[1]) - 0.15) < 0.02


class Remembering(Flickering):
    """Notes what it is given."""

    def __init__(self):
        self.seen = []

    def step(self, filled, mask, memory, dilation):
        self.seen.append((memory, dilation, float(mask.sum())))
        return filled


def test_the_network_is_told_of_every_frame_of_a_shot_and_of_no_other():
    video, mask = moving(4)
    mask[2] = 0
    network = Remembering()
    inpainter = MiniInpainter(network)
    for dilation in (3, 7):
        inpainter.inpaint(video, mask, dilation=dilation)
    assert [d for _, d, _ in network.seen] == [3] * 4 + [7] * 4
    assert [holes > 0 for _, _, holes in network.seen[:4]] == [True, True, False, True]
    memories = [memory for memory, _, _ in network.seen]
    assert isinstance(memories[0], Memory)
    assert all(m is memories[0] for m in memories[:4])
    assert all(m is memories[4] for m in memories[4:])
    assert memories[4] is not memories[0]


def test_without_holes_there_is_nothing_to_refine():
    video, mask = moving(2)
    result = MiniInpainter(drawn()).inpaint(video, torch.zeros_like(mask))
    assert torch.equal(result, video)
