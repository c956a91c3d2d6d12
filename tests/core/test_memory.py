"""What is worked on in parts is what it is as a whole, and large frames wait without pixels."""

import importlib
from fractions import Fraction

import numpy as np
import pytest
import torch

from dreamstereo_core import ConvertOptions, StereoPipeline
from dreamstereo_core.fill.classic import ClassicInpainter
from dreamstereo_core.fill.inpainter import MaskedFrame
from dreamstereo_core.optical_flow import warp, warp_points
from dreamstereo_core.stream import LARGE_PIXELS, Frame, beside
from dreamstereo_core.video_io import read_frames

from .picture_files import write_film
from .test_pipeline import BrightIsNear, joined, shot

WHOLE = 1 << 30
SHAPE = (2, 3, 83, 67)


def _videos() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    mask = (torch.rand(2, 1, *SHAPE[2:]) > 0.9).float() * torch.rand(2, 1, *SHAPE[2:])
    mask[..., 20:50, :] = 0
    return torch.rand(SHAPE), torch.rand(SHAPE), mask


@pytest.mark.parametrize("pixels", [1, 67 * 7, 67 * 32])
@pytest.mark.parametrize(
    ("module", "constant", "call"),
    [
        ("fill.sharpness", "STRIP_PIXELS", lambda m, a, b, mask: m.match_sharpness(a, mask)),
        ("blend", "_STRIP_PIXELS", lambda m, a, b, mask: m.blend(a, b, mask)),
        (
            "depth.upsample",
            "_STRIP_PIXELS",
            lambda m, a, b, mask: m.upsample_inverse_depth(b[:, :1, ::4, ::4].contiguous(), a),
        ),
    ],
)
def test_strips_are_the_whole(monkeypatch, module, constant, call, pixels):
    module = importlib.import_module(f"dreamstereo_core.{module}")
    monkeypatch.setattr(module, constant, WHOLE)
    whole = call(module, *_videos())
    monkeypatch.setattr(module, constant, pixels)
    assert torch.equal(call(module, *_videos()), whole)


def test_points_are_warped_as_all_are():
    image, _, mask = _videos()
    flow = torch.randn(1, 2, *SHAPE[2:]) * 5
    flow[..., :10] = 0
    row, column = (mask[0, 0] > 0).nonzero(as_tuple=True)
    points = warp_points(image[:1], flow[0][:, row, column], row, column)
    assert torch.equal(points, warp(image[:1], flow)[0][:, row, column])


def test_only_large_frames_wait_without_pixels():
    small = Frame(torch.rand(3, 4, 6), again=lambda: torch.zeros(3, 4, 6))
    assert small.at_rest() is small
    given = Frame(torch.empty(3, 2, LARGE_PIXELS // 2))
    assert given.at_rest() is given  # nothing can make its pixels again


def test_a_frame_awakes_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("dreamstereo_core.stream.LARGE_PIXELS", 1)
    pictures = np.random.default_rng(0).integers(0, 255, (3, 16, 32, 3), np.uint8)
    path = write_film(tmp_path / "film.mkv", pictures, codec="ffv1", rate=24)
    frames = list(read_frames(path))
    resting = [frame.at_rest() for frame in frames]
    assert all(frame.pixels.is_meta for frame in resting)
    assert [frame.time for frame in resting] == [Fraction(n, 24) for n in range(3)]
    for frame, rested in zip(frames, resting, strict=True):
        assert torch.equal(rested.awake().pixels, frame.pixels)


def test_large_frames_are_filled_with_a_shorter_reach(monkeypatch):
    torch.manual_seed(0)
    mask = torch.zeros(1, 1, 16, 24)
    mask[..., 8:12] = 1
    film = [MaskedFrame(torch.rand(1, 3, 16, 24), mask) for _ in range(6)]
    short = list(ClassicInpainter(reach=(1, 2)).stream(film))
    monkeypatch.setattr("dreamstereo_core.fill.classic.REACH_OF_LARGE", ((16 * 24 - 1, 2),))
    for a, b in zip(ClassicInpainter().stream(film), short, strict=True):
        assert torch.equal(a, b)


def test_a_film_that_rests_becomes_the_same(monkeypatch):
    video = shot(12, 0)
    video[:, :, :4] = video[:, :, -4:] = 0  # bars
    frames = [Frame(pixels, Fraction(n), again=pixels.clone) for n, pixels in enumerate(video)]
    pipeline = StereoPipeline(
        BrightIsNear(), ClassicInpainter(reach=(1, 2)), ConvertOptions(max_disparity=12)
    )
    awake = list(pipeline.stream(frames))
    monkeypatch.setattr("dreamstereo_core.stream.LARGE_PIXELS", 1)
    rested = list(pipeline.stream(frames))
    for name in ("left", "right", "inverse_depth", "occlusion_mask"):
        assert torch.equal(joined(awake, name), joined(rested, name)), name


def test_frames_rest_while_a_stage_looks_ahead(monkeypatch):
    monkeypatch.setattr("dreamstereo_core.stream.LARGE_PIXELS", 1)
    seen = []

    def late(frames):
        taken = list(frames)
        seen.extend(not frame.pixels.is_meta for frame in taken)
        yield from range(len(taken))

    frames = [Frame(torch.rand(3, 4, 6), again=lambda: torch.zeros(3, 4, 6)) for _ in range(3)]
    assert all(frame.pixels.is_meta for frame, _ in beside(frames, late, Frame.at_rest))
    assert seen == [True] * 3
