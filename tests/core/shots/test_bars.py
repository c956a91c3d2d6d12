"""Letterbox and pillarbox: found, kept, left alone; dark scenes are none."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter, ConvertOptions, StereoPipeline
from dreamstereo_core.depth import DepthEstimator
from dreamstereo_core.shots import BarDetector, Bars
from dreamstereo_core.stream import Frame

LETTERBOX = Bars(12, 12, 0, 0)
PILLARBOX = Bars(0, 0, 20, 20)


@dataclass
class BrightIsNear(DepthEstimator):
    """An estimator that shows what it was given."""

    name: str = "bright is near"
    normalized: bool = False

    def predict(self, video, state=None, *, new_shot=False):
        return video.mean(1, keepdim=True), None


def picture(frames, seed=0, height=40, width=96):
    """A bright square that moves over a texture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 8, generator=generator) * 0.4 + 0.1
    video = F.interpolate(coarse, (height, width), mode="bilinear").repeat(frames, 1, 1, 1)
    for t in range(frames):
        video[t, :, 8:24, 10 + t : 30 + t] = 0.9
    return video


def boxed(video, bars, level=0.0, noise=0.0):
    whole = bars.pad(video, level)
    generator = torch.Generator().manual_seed(9)
    return (whole + noise * torch.rand(whole.shape, generator=generator)).clamp(0, 1)


def found(video, cuts=(0,), lookahead=8):
    frames = (Frame(frame, new_shot=t in cuts) for t, frame in enumerate(video))
    return list(BarDetector(lookahead).stream(frames))


def converted(video, depth=None, **options):
    pipeline = StereoPipeline(
        depth or BrightIsNear(),
        ClassicInpainter(reach=(1, 2)),
        ConvertOptions(max_disparity=8, **options),
    )
    chunks = list(pipeline.convert(video))
    names = ("left", "right", "inverse_depth", "occlusion_mask")
    return {name: torch.cat([getattr(c, name) for c in chunks]) for name in names}


@pytest.mark.parametrize("bars", [LETTERBOX, PILLARBOX, Bars(6, 6, 14, 14), Bars()])
@pytest.mark.parametrize("noise", [0, 0.03])
def test_bars_are_found_to_the_pixel(bars, noise):
    assert found(boxed(picture(5), bars, noise=noise)) == [bars] * 5


def test_a_dark_scene_is_not_cropped():
    video = torch.full((6, 3, 64, 96), 0.01)
    assert found(video) == [Bars()] * 6
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 96), indexing="ij")
    lamp = (1 - 2 * (x**2 + y**2)).clamp(min=0).expand(6, 3, -1, -1)
    assert found(lamp) == [Bars()] * 6


def test_a_lit_window_or_a_dark_floor_is_not_cropped():
    window = torch.zeros(3, 3, 64, 96)
    window[..., 16:48, 28:68] = 0.7
    assert found(window) == [Bars()] * 3
    stage = picture(3, height=64)
    stage[..., 48:, :] = 0
    assert found(stage) == [Bars()] * 3


def test_a_title_on_black_is_not_cropped():
    title = torch.zeros(3, 3, 64, 96)
    title[..., 28:36, 30:66:6] = 0.8
    assert found(title) == [Bars()] * 3


def test_a_dark_shot_of_a_letterboxed_film_keeps_its_bars():
    bright, dark = picture(4), torch.zeros(6, 3, 40, 96)
    dark[..., 15:22, 40:60] = 0.5
    video = boxed(torch.cat([bright, dark]), LETTERBOX)
    assert found(video, cuts=(0, 4)) == [LETTERBOX] * 10


def test_a_subtitle_in_the_bars_does_not_end_them():
    video = boxed(picture(12), LETTERBOX)
    video[3:9, :, 55:58, 30:66:2] = 0.9
    assert found(video) == [LETTERBOX] * 12
    assert found(video, cuts=(0, 4)) == [LETTERBOX] * 12


def test_a_fade_in_shows_the_bars_once():
    fade = torch.linspace(0, 1, 40).view(-1, 1, 1, 1) ** 4
    video = boxed(picture(40) * fade, LETTERBOX)
    bars = found(video)
    changes = [t for t in range(1, 40) if bars[t] != bars[t - 1]]
    assert bars[-1] == LETTERBOX
    assert len(changes) == 1
    assert video[changes[0]].max() < 0.3  # while there is next to nothing to see


def test_wrong_bars_end_once_when_the_picture_fills_the_frame():
    video = torch.cat([boxed(picture(12), LETTERBOX), picture(12, height=64)] * 2)
    assert found(video) == [LETTERBOX] * 12 + [Bars()] * 36


def test_every_shot_may_have_other_bars():
    video = torch.cat(
        [
            boxed(picture(3), LETTERBOX),
            picture(3, height=64),
            boxed(picture(3, height=64, width=56), PILLARBOX),
        ]
    )
    assert found(video, cuts=(0, 3, 6)) == [LETTERBOX] * 3 + [Bars()] * 3 + [PILLARBOX] * 3


@pytest.mark.parametrize("bars", [LETTERBOX, PILLARBOX])
@pytest.mark.parametrize("eye", ["right", "left"])
def test_bars_stay_to_the_bit_and_the_picture_is_the_cropped_clips(bars, eye):
    inner = picture(6)
    video = boxed(inner, bars, noise=0.04)
    inner = bars.crop(video)
    whole, cropped = converted(video, eye=eye), converted(inner, eye=eye)
    border = ~bars.pad(torch.ones(1, 1, *inner.shape[2:]), 0).bool().expand_as(video)
    for name in ("left", "right"):
        assert torch.equal(whole[name][border], video[border]), name
        assert torch.equal(bars.crop(whole[name]), cropped[name]), name
    assert not torch.equal(whole[eye], video)
    assert whole["occlusion_mask"][border[:, :1]].sum() == 0
    assert torch.equal(bars.crop(whole["inverse_depth"]), cropped["inverse_depth"])


def test_without_the_option_bars_have_depth():
    video = boxed(picture(3), PILLARBOX, noise=0.04)
    assert not torch.equal(converted(video, bars=False)["right"][..., :20], video[..., :20])


def test_the_bars_lie_on_the_screen():
    depth = converted(boxed(picture(3), LETTERBOX), convergence=0.25)["inverse_depth"]
    assert torch.equal(depth[:, :, :12], torch.full_like(depth[:, :, :12], 0.25))


@pytest.mark.parametrize("scale", [1, 2])
def test_a_supplied_depth_of_whole_frames_is_cropped_with_them(scale):
    class Supplied(BrightIsNear):
        def predict(self, video, state=None, *, new_shot=False):
            assert video.shape[2:] == (64, 96)
            return F.avg_pool2d(video.mean(1, keepdim=True), scale), None

    inner = picture(3)
    whole = converted(boxed(inner, LETTERBOX), Supplied(normalized=True))

    class Cropped(BrightIsNear):
        def predict(self, video, state=None, *, new_shot=False):
            return F.avg_pool2d(video.mean(1, keepdim=True), scale), None

    cropped = converted(inner, Cropped(normalized=True))
    assert torch.equal(LETTERBOX.crop(whole["right"]), cropped["right"])


@pytest.mark.parametrize("chunk_frames", [1, 5, 50])
def test_the_picture_does_not_depend_on_the_chunks(chunk_frames):
    fade = torch.linspace(0, 1, 12).view(-1, 1, 1, 1)
    video = boxed(torch.cat([picture(12) * fade, picture(5, 4).flip(3)]), LETTERBOX)
    whole, parts = converted(video, chunk_frames=3), converted(video, chunk_frames=chunk_frames)
    for name, pixels in whole.items():
        assert torch.equal(pixels, parts[name]), name


def test_one_frame_with_bars():
    video = boxed(picture(1), LETTERBOX)
    assert torch.equal(converted(video)["right"][:, :, :12], video[:, :, :12])


@pytest.mark.parametrize("whole_frames", [False, True])
def test_a_whole_clips_depth_is_the_streams_and_goes_on_into_the_bars(whole_frames):
    first, second = boxed(picture(12), LETTERBOX), boxed(1 - picture(9, 3), LETTERBOX)
    video = torch.cat([first, second])
    depth = BrightIsNear(normalized=whole_frames)
    made = depth.estimate(video)
    streamed = converted(video, depth, foreground_dilation=0)["inverse_depth"]
    inside = LETTERBOX.crop(made)
    assert torch.allclose(inside, LETTERBOX.crop(streamed), atol=1e-5)
    assert torch.equal(made[:, :, :12], inside[:, :, :1].expand_as(made[:, :, :12]))
    assert torch.equal(made[:, :, -12:], inside[:, :, -1:].expand_as(made[:, :, -12:]))
    if not whole_frames:  # the bars' black is not the far end of the range
        alone = depth.estimate(torch.cat([picture(12), 1 - picture(9, 3)]))
        assert torch.allclose(inside, alone, atol=1e-5)


def test_bars_in_another_size():
    frames, depth = torch.zeros(1, 3, 64, 96), torch.zeros(1, 1, 16, 48)
    bars = Bars(12, 8, 20, 6)
    assert bars.scaled(frames, depth) == Bars(3, 2, 10, 3)
    assert bars.crop_scaled(depth, frames).shape == (1, 1, 11, 35)
