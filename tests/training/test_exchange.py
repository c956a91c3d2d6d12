"""Clips go out lossless, and other systems' results come back into the tables."""

import json
import shutil

import pytest
import torch

import evaluate
from data.files import DataError
from dreamstereo_core import read_frames
from evaluation.clips import project_back
from evaluation.exchange import (
    PARTS,
    OutsideFill,
    clip_id,
    export_clip,
    outside_fill,
    write_lossless,
)

from .scene import scene


@pytest.fixture
def clip():
    return project_back("real clips, 7 %", "a film.mp4", *scene(frames=5))


def read(path):
    return torch.stack([frame.pixels for frame in read_frames(path)])


def test_a_clip_travels_without_loss(clip, tmp_path):
    export_clip(clip, tmp_path)
    for part in PARTS:
        video = getattr(clip, part)
        got = read(tmp_path / f"{part}.mkv")
        assert torch.allclose(got, (video * 255).round().expand_as(got) / 255, atol=1e-6), part
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["frames"] == 5 and (record["width"], record["height"]) == (96, 48)
    assert record["holes"] == pytest.approx(float(clip.mask.mean()), abs=1e-6)


def test_a_result_comes_back_at_any_size(clip, tmp_path):
    name = clip_id(clip)
    assert name == "real_clips_7_a_film.mp4"
    fill = OutsideFill(tmp_path)
    with pytest.raises(DataError, match=r"named real_clips_7_a_film\.mp4, got none"):
        fill.read(clip)
    write_lossless(tmp_path / f"{name}.mkv", clip.truth)
    assert torch.allclose(fill.read(clip), clip.truth, atol=0.5 / 255 + 1e-6)
    large = torch.nn.functional.interpolate(clip.truth, scale_factor=2.0)
    write_lossless(tmp_path / f"{name}.mkv", large)
    assert fill.read(clip).shape == clip.truth.shape
    assert (fill.read(clip) - clip.truth).abs().mean() < 0.02
    write_lossless(tmp_path / f"{name}.mkv", clip.truth[:4])
    with pytest.raises(DataError, match="expected 5 frames as the clip's, got 4"):
        fill.read(clip)
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"got real_clips_7_a_film\.mp4, real_clips_7_a_film"):
        fill.read(clip)


def test_a_row_of_results_is_named_by_its_user(tmp_path):
    assert outside_fill("classic") is None
    assert outside_fill(f"ProPainter={tmp_path}") == ("ProPainter", OutsideFill(tmp_path))
    with pytest.raises(DataError, match="expected NAME=FOLDER with a folder of results"):
        outside_fill("x=/no/folder")


def test_the_command_exports_and_takes_back(tmp_path, capsys):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    write_lossless(videos / "a.mkv", scene(frames=5)[0])
    sources = ["--videos", videos, "--start", 0, "--size", "96x48", "--frames", 5]
    assert evaluate.main([*map(str, sources), "--export", str(tmp_path / "clips")]) == 0
    assert f"1 clips in {tmp_path / 'clips'}" in capsys.readouterr().out
    (exported,) = (tmp_path / "clips").iterdir()
    results = tmp_path / "results"
    results.mkdir()
    shutil.copy(exported / "truth.mkv", results / f"{exported.name}.mkv")
    more = ["--fill", f"Copy={results}", "--perceptual-frames", 0, "--output", out]
    assert evaluate.main([*map(str, [*sources, *more])]) == 0
    ((_, rows),) = json.loads((out / "evaluation.json").read_text())["means"].items()
    assert list(rows)[:2] == ["Copy", "Telea"]
    assert rows["Copy"]["psnr_full"] == "inf"
    assert rows["Copy"]["known_exact"] == 1
