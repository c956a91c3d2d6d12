"""Shot detectors against sequences whose cuts are known."""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import evaluate_shots
from data.random_streams import random_stream
from dreamstereo_core import EncodeOptions, probe
from dreamstereo_core.shots import ShotDetector
from dreamstereo_core.video_io import VideoWriter
from evaluate_shots import Counts, detect, read_truth, score
from evaluation.shot_sequences import KINDS, compose

DEMO = Path(__file__).parents[2] / "docs" / "demo.mp4"


def textures(count, frames=30):
    noise = torch.rand(count, 3, 5, 9, generator=torch.Generator().manual_seed(1))
    stills = F.interpolate(noise, (72, 128), mode="bicubic").clamp(0.02, 1)
    return [still.expand(frames, -1, -1, -1) for still in stills]


def test_scores_match_one_to_one():
    truth = [(10, 10), (20, 30), (50, 50)]
    assert score([11, 19, 25, 60], truth) == Counts(found=2, false=2, missed=1)
    counts = Counts(2, 2, 1)
    assert (counts.precision, counts.recall) == (0.5, pytest.approx(2 / 3))
    assert counts.f1 == pytest.approx(4 / 7)
    assert score([], []).f1 == 1
    assert score([12], truth).found == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequences_truth_is_where_its_shots_end(kind):
    video, truth = compose(kind, textures(4), 4, random_stream(0, kind))
    assert video.shape[1:] == (3, 72, 128)
    assert len(truth) == 3
    assert all(0 < first <= last < len(video) for first, last in truth)
    assert all(a[1] < b[0] for a, b in pairwise(truth))
    still = (video[1:] - video[:-1]).abs().amax((1, 2, 3)) == 0
    for first, last in truth:
        assert not still[first - 1]
        assert not still[last - 1]
    if kind in ("cuts", "fades", "dissolves"):  # nothing else moves
        changes = [t + 1 for t in range(len(still)) if not still[t]]
        assert all(any(a <= t <= b for a, b in truth) for t in changes)


@pytest.mark.parametrize("kind", KINDS)
def test_the_built_in_detector_finds_the_plain_ones(kind):
    video, truth = compose(kind, textures(6), 6, random_stream(1, kind))
    counts = score(detect(ShotDetector(), video), truth)
    assert counts.false == 0
    assert counts.found >= (4 if kind == "dissolves" else 5)


def test_the_command_prints_a_table(tmp_path, capsys):
    films = tmp_path / "films"
    films.mkdir()
    video = torch.cat([shot[:20] for shot in textures(2)])
    with VideoWriter(
        films / "a.mp4", probe(DEMO), 128, 72, EncodeOptions(preset="ultrafast")
    ) as writer:
        writer.write(video, [Fraction(t, 24) for t in range(len(video))])
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"a.mp4": {"frames": 40, "transitions": [[20, 20]]}}))
    arguments = ["--films", str(films), "--truth", str(truth), "--detectors", "histogram"]
    assert evaluate_shots.main([*arguments, "--sequences", "1"]) == 0
    table = capsys.readouterr().out
    assert "| a.mp4 | histogram | 1 | 0 | 0 | 1.00 | 1.00 | 1.00 |" in table
    assert all(f"| {kind} | histogram |" in table for kind in KINDS)
    assert evaluate_shots.main(["--films", str(tmp_path / "no")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_wrong_truth_is_named():
    with pytest.raises(ValueError, match=r"a\.mp4: expected frames and transitions"):
        read_truth("a.mp4", {"a.mp4": [3]})
