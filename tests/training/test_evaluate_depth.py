"""Measures of steadiness against figures computed by hand, and the script on a small film."""

import json
import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import evaluate_depth
from dreamstereo_core import EncodeOptions, VideoInfo
from dreamstereo_core.video_io import ColorTags, VideoWriter
from evaluate_depth import drift_of, load_estimators, stability, table
from evaluation.depth_stability import (
    NoisyDepth,
    PictureDepth,
    alignment_error,
    dis_flow,
    flicker,
    flow_and_trust,
    relative_scale,
    still_region,
    there_and_back,
)

ALL = torch.ones(1, 1, 4, 6, dtype=torch.bool)


def texture(height=72, width=128):
    noise = torch.rand(1, 3, 10, 17, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)


def test_alignment_error_follows_the_flow():
    before = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 1, 4, 6)
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = -1
    now = before - 1 + 0.25
    inside = ALL.clone()
    inside[..., 0] = False
    assert alignment_error(now, before, flow, inside) == pytest.approx(0.25, abs=1e-5)
    assert alignment_error(now, before, 0 * flow, inside) == pytest.approx(0.75)


def test_flicker_is_of_the_region_only():
    before, now = torch.zeros(1, 1, 4, 6), torch.zeros(1, 1, 4, 6)
    now[..., :3] = 0.5
    assert flicker(now, before, ALL) == pytest.approx(0.25)
    assert flicker(now, before, now == 0) == 0
    assert math.isnan(flicker(now, before, ~ALL))


def test_still_is_where_only_grain_changes():
    before = texture()
    grain = 0.01 * torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    now = before + grain
    now[..., 20:40, 20:40] += 0.2
    still = still_region(now, before)
    assert not still[..., 22:38, 22:38].any()
    assert still[..., 50:, :].float().mean() > 0.95


def test_dis_flow_finds_a_shift():
    picture = texture(72, 140)
    now, before = picture[..., 4:132], picture[..., :128]  # now(x) = before(x + 4)
    flow, trust = flow_and_trust(now, before)
    assert flow[0, 0, 10:-10, 10:-10].mean().item() == pytest.approx(4, abs=0.3)
    assert trust[..., 10:-10, 10:-10].float().mean() > 0.9
    assert not trust[..., -3:].any()
    assert dis_flow(now, now).abs().max() < 0.1


def test_scale_and_drift():
    depth = torch.rand(1, 1, 4, 6, generator=torch.Generator().manual_seed(2))
    assert relative_scale(0.8 * depth + 3, depth) == pytest.approx(0.8)
    frames = [
        depth * s for s in (1.0, 1.0, 1.3, 1.3, 1.1, 1.1, 9.0)
    ]  # the last period is not whole
    assert drift_of(frames, 2) == pytest.approx(10, abs=1e-3)
    with pytest.raises(ValueError, match="at least 9 frames, got 7"):
        drift_of(frames, 9)


def test_there_and_back():
    numbers = [torch.tensor(i) for i in range(3)]
    assert [int(x) for x in there_and_back(numbers, 8)] == [0, 1, 2, 1, 0, 1, 2, 1]
    assert [int(x) for x in there_and_back(numbers[:1], 3)] == [0, 0, 0]


def test_noise_belongs_to_the_frame_however_it_comes():
    video = texture().repeat(5, 1, 1, 1)
    noisy = NoisyDepth(PictureDepth())
    whole, _ = noisy.predict(video)
    first, state = noisy.predict(video[:2])
    second, _ = noisy.predict(video[2:], state)
    assert torch.equal(torch.cat((first, second)), whole)
    assert (whole[0] - whole[1]).abs().mean() > 0.01
    assert not torch.equal(NoisyDepth(PictureDepth(), seed=1).predict(video)[0], whole)


def test_stability_leaves_cuts_out():
    frame = texture()
    depth = torch.full((1, 1, 72, 128), 0.5)
    figures = stability([(frame, depth, True), (frame, depth + 0.01, False), (frame, depth, True)])
    assert figures["tae"] == pytest.approx(1, abs=1e-3)
    assert figures["flicker"] == pytest.approx(1, abs=1e-3)
    assert math.isnan(stability([(frame, depth, True)])["tae"])


def test_the_table_says_what_is_left():
    rows = {"noisy": {"tae": 4.0, "flicker": 2.0, "drift": 1.0},
            "noisy, steady": {"tae": 1.0, "flicker": math.nan, "drift": 0.5}}  # fmt: skip
    assert table({"a.mp4": rows}).splitlines()[2:] == [
        "| a.mp4 | noisy | 4.000 | 2.000 | 1.000 |",
        "| a.mp4 | noisy, steady | 1.000 (0.25) |  | 0.500 |",
    ]


def test_which_estimators_are_steadied():
    assert list(load_estimators(["noisy"])) == ["noisy", "noisy, steady"]
    assert list(load_estimators(["noisy:embedded"], raw=False)) == ["noisy:embedded, steady"]


@pytest.fixture
def film(tmp_path):
    """A still picture with grain, 12 frames."""
    info = VideoInfo(
        source="synthetic", width=128, height=72, frame_rate=Fraction(25), frame_count=None,
        duration=None, bit_depth=8, pixel_aspect=Fraction(1), color=ColorTags(), has_audio=False,
        is_image=False, time_base=Fraction(1, 12800),
    )  # fmt: skip
    frames = texture().repeat(12, 1, 1, 1)
    frames = frames + 0.01 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(3))
    target = tmp_path / "still.mp4"
    with VideoWriter(target, info, 128, 72, EncodeOptions(preset="ultrafast")) as writer:
        writer.write(frames.clamp(0, 1), [Fraction(i, 25) for i in range(12)])
    return target


def test_the_script_shows_that_steady_depth_flickers_less(film, tmp_path, capsys):
    output = tmp_path / "figures.json"
    slices = tmp_path / "slices.png"
    arguments = ["--videos", str(film), "--depth", "noisy", "--json", str(output)]
    arguments += ["--frames", "12", "--width", "64", "--slices", str(slices)]
    assert evaluate_depth.main(arguments) == 0
    assert "| still.mp4 | noisy, steady |" in capsys.readouterr().out
    rows = json.loads(output.read_text())["still.mp4"]
    assert rows["noisy, steady"]["flicker"] < rows["noisy"]["flicker"] / 4
    picture = cv2.imread(str(slices)).astype(float)
    assert picture.shape == (24, 3 * 128, 3)  # the film, then both estimators
    film_slice, noisy, steady = np.split(picture, 3, axis=1)
    restless = [np.abs(np.diff(x, axis=0)).mean() for x in (film_slice, noisy, steady)]
    assert restless[0] < restless[2] < restless[1]


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert evaluate_depth.main(["--videos", str(tmp_path / "no")]) == 1
    assert "no: no such folder" in capsys.readouterr().err
