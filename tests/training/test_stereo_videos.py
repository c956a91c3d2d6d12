"""Stereo videos in their layouts, and the depth of a made pair."""

import gzip
import json
import math

import cv2
import numpy as np
import pytest
import torch

import evaluate
from data.files import DataError
from dreamstereo_core import gapw_warp
from evaluation.clips import Selection
from evaluation.exchange import write_lossless
from evaluation.geometry import geometry_scores
from evaluation.stereo_videos import find_scenes, stereo_video_clips

from .scene import scene

SIZE = Selection(size=(128, 64), frames=3)


def views():
    """Two views `[3, 3, 64, 128]`, the left one's disparity, and the right one's holes."""
    left, _ = scene(3, 64, 128)
    noise = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(2))
    left = (left * 0.6 + 0.4 * noise).mul(255).round() / 255
    disparity = torch.full((3, 1, 64, 128), 4.0)
    disparity[..., 16:48, 50:90] = 12
    warp = gapw_warp(left, disparity)
    return left, warp.video.mul(255).round() / 255, disparity, warp.occlusion_mask


@pytest.fixture
def pair():
    return views()


def assert_is(clip, pair):
    left, right, _, _ = pair
    assert torch.allclose(clip.left, left, atol=1e-6)
    assert torch.allclose(clip.truth, right, atol=1e-6)
    known = (clip.mask == 0).expand_as(right)
    assert (clip.warped - right)[known].abs().max() < 1.5 / 255
    assert 0 < clip.measured.mean() < 0.1


def test_a_folder_of_two_videos_and_disparities(pair, tmp_path):
    place = tmp_path / "set" / "one"
    (place / "disparity").mkdir(parents=True)
    write_lossless(place / "left.mkv", pair[0])
    write_lossless(place / "right.mkv", pair[1])
    for t, frame in enumerate(pair[2][:, 0]):
        np.save(place / "disparity" / f"{t:03d}.npy", frame.numpy())
    (clip,) = stereo_video_clips(tmp_path / "set", SIZE)
    assert clip.name == "one" and clip.kind == "stereo videos of set"
    assert_is(clip, pair)
    (same,) = stereo_video_clips(place, SIZE)
    assert torch.equal(same.warped, clip.warped)
    (half,) = stereo_video_clips(place, Selection(size=(64, 32), frames=2))
    assert half.truth.shape == (2, 3, 32, 64)
    assert half.disparity.max() == pytest.approx(6)  # pixels of its own width
    with pytest.raises(DataError, match="one: expected 9 frames up to the first cut, got 3"):
        list(stereo_video_clips(place, Selection(size=(128, 64), frames=9, exact=True)))
    (short,) = stereo_video_clips(place, Selection(size=(128, 64), frames=9))
    assert short.name == "one (3 of 9 frames)"


def test_folders_of_frames_as_dynamic_replica_has_them(pair, tmp_path):
    for side, view in (("left", pair[0]), ("right", pair[1])):
        images = tmp_path / f"room_{side}" / "images"
        images.mkdir(parents=True)
        for t, frame in enumerate(view):
            picture = (frame.permute(1, 2, 0) * 255).round().byte().numpy()[..., ::-1]
            cv2.imwrite(str(images / f"{t:04d}.png"), picture)
    np.save(tmp_path / "room_left" / "disp.npy", pair[2][:, 0].numpy())
    (tmp_path / "room_left" / "disp.npy").rename(tmp_path / "room_left" / "disparity")
    scenes = find_scenes(tmp_path)
    assert [s.name for s in scenes] == ["room"]
    (tmp_path / "room_left" / "disparity").unlink()
    with pytest.raises(DataError, match=r"expected a disparity beside it, .* or --match"):
        list(stereo_video_clips(tmp_path, SIZE))
    (clip,) = stereo_video_clips(tmp_path, SIZE, matched=True)
    assert torch.allclose(clip.truth, pair[1], atol=1e-6)

    # Its depths as the bits of float16, with a focal length of 96 px and a baseline of 1/8.
    depths = tmp_path / "room_left" / "depths"
    depths.mkdir()
    for t, frame in enumerate(pair[2][:, 0]):
        bits = (96 / 8 / frame.numpy()).astype(np.float16).view(np.uint16)
        bits[0, :3] = 0  # unknown
        cv2.imwrite(str(depths / f"{t:04d}.geometric.png"), bits)
    with pytest.raises(DataError, match=r"expected frame_annotations_SPLIT\.jgz with its cameras"):
        list(stereo_video_clips(tmp_path, SIZE))
    view = {"focal_length": [3.0, 3.0], "intrinsics_format": "ndc_isotropic"}
    cameras = {"left": [0.25, 0, 0], "right": [0.375, 0, 0]}
    frames = [
        {
            "image": {"path": f"room_{side}/images/0000.png", "size": [64, 128]},
            "viewpoint": {**view, "T": place},
        }
        for side, place in cameras.items()
    ]
    with gzip.open(tmp_path / "frame_annotations_valid.jgz", "wt") as file:
        json.dump(frames, file)
    (clip,) = stereo_video_clips(tmp_path, SIZE)
    assert torch.allclose(clip.left_disparity[..., 1:, :], pair[2][..., 1:, :], rtol=1e-3)
    assert (clip.left_disparity[:, 0, 0, :3] == 0).all()
    assert_is(clip, pair)


def test_a_file_side_by_side(pair, tmp_path):
    write_lossless(tmp_path / "film.mkv", torch.cat(pair[:2], dim=-1))
    np.save(tmp_path / "film_disparity.npy", pair[2][:, 0].numpy())
    (clip,) = stereo_video_clips(tmp_path, SIZE, layout="sbs")
    assert clip.name == "film"
    assert_is(clip, pair)
    with pytest.raises(DataError, match="it has none; name it with source_layout"):
        list(stereo_video_clips(tmp_path, SIZE))


def test_nothing_to_measure_is_named(tmp_path):
    with pytest.raises(DataError, match="expected a folder, there is none"):
        find_scenes(tmp_path / "no")
    with pytest.raises(DataError, match="expected scenes"):
        find_scenes(tmp_path)


def test_a_right_pair_has_the_right_depth(pair):
    left, right, disparity, _ = pair
    good = geometry_scores(left, right, disparity)
    assert good["abs_rel"] < 0.02 and good["delta_105"] > 0.95 and good["matched"] > 0.5
    # Scale and shift do not count: a pair of half the disparity is as good.
    weak = gapw_warp(left, disparity / 2).video
    assert geometry_scores(left, weak, disparity)["delta_105"] > 0.9
    flat = gapw_warp(left, torch.full_like(disparity, 6.0)).video
    bad = geometry_scores(left, flat, disparity)
    assert bad["abs_rel"] > 5 * good["abs_rel"] and bad["delta_105"] < good["delta_105"]
    none = geometry_scores(left, torch.zeros_like(left), disparity)
    assert math.isnan(none["abs_rel"]) and none["matched"] == 0


def test_the_command_measures_stereo_videos(pair, tmp_path):
    (tmp_path / "set" / "one").mkdir(parents=True)
    for name, view in zip(("left", "right"), pair[:2], strict=True):
        write_lossless(tmp_path / "set" / "one" / f"{name}.mkv", view)
    options = ["--stereo-videos", tmp_path / "set", "--match", "--size", "128x64", "--frames", 3]
    options += ["--fill", "classic", "--perceptual-frames", 0, "--output", tmp_path / "out"]
    assert evaluate.main([*map(str, options)]) == 0
    means = json.loads((tmp_path / "out" / "evaluation.json").read_text())["means"]
    assert list(means) == ["stereo videos of set"]
    assert means["stereo videos of set"]["classic"]["psnr_full"] > 15
