"""Depth files beside the clips: names, archives, what part a clip shows, near things' growth."""

import numpy as np
import pytest
import torch

from data.files import DataError
from dreamstereo_core.depth import DepthError
from dreamstereo_core.masks import dilate
from engine.pictures import write_png
from making.clips import Place
from making.pair_builder import PairBuilder, PairOptions, as_at_inference
from making.supplied_depth import find_depths, supplied_depth

HEIGHT, WIDTH = 48, 80


def photo(path, height=HEIGHT, width=WIDTH):
    write_png(path, torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)))
    return path


def test_every_source_needs_a_depth_and_archives_come_first(tmp_path):
    depths = tmp_path / "depths"
    depths.mkdir()
    sources = [tmp_path / f"{name}.mp4" for name in ("a", "b", "c")]
    for name in ("a_depth.mp4", "a.npz", "a_vis.mp4", "a_input.mp4", "b.png", "c_depth.mp4"):
        (depths / name).touch()
    found = find_depths(depths, sources)
    assert [found[source].name for source in sources] == ["a.npz", "b.png", "c_depth.mp4"]
    with pytest.raises(DataError, match=r"found none for clip_7\.mp4"):
        find_depths(depths, [*sources, tmp_path / "clip_7.mp4"])
    with pytest.raises(DataError, match="of different names"):
        find_depths(depths, [*sources, tmp_path / "other" / "a.mp4"])
    with pytest.raises(DataError, match="expected a folder"):
        find_depths(tmp_path / "nowhere", sources)


def test_an_archive_is_read_and_must_have_a_depth_for_each_frame(tmp_path):
    source = photo(tmp_path / "a.png")
    depth = np.linspace(2, 6, 12 * 20, dtype=np.float16).reshape(1, 12, 20)
    np.savez_compressed(tmp_path / "a.npz", depth=depth)
    read = supplied_depth(tmp_path / "a.npz", source, 0, 1)
    expected = torch.from_numpy(depth.astype(np.float32))[None]
    assert torch.allclose(read, (expected - 2) / 4, atol=1e-3)
    for wrong, message in (({"depth": np.zeros((7, 12, 20))}, "expected 1 frames"),
                           ({"other": depth}, "an archive with `depth`"),
                           ({"depth": depth[0]}, r"expected finite \[T, h, w\]")):  # fmt: skip
        np.savez_compressed(tmp_path / "a.npz", **wrong)
        with pytest.raises(DepthError, match=message):
            supplied_depth(tmp_path / "a.npz", source, 0, 1)


@pytest.mark.parametrize("shrunk", [1, 2, 4])
def test_depth_is_cut_where_the_clip_is(shrunk):
    """A ramp of place, cut as the picture is, has the same values, however small it is stored."""
    height, width = 96, 192
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    ramps = torch.stack([x / width, y / height, x * 0])
    place = Place.of(ramps, 48, 64, 1.2, 0.7, 0.3)
    shown = place.cut(ramps)
    for channel in (0, 1):
        stored = torch.nn.functional.avg_pool2d(ramps[None, channel : channel + 1], shrunk)
        cut = place.cut_depth(stored)
        cut = torch.nn.functional.interpolate(cut, (48, 64), mode="bilinear")
        inner = slice(4, -4)
        error = (cut[0, 0] - shown[channel])[inner, inner].abs().max()
        assert error < 0.01, (channel, shrunk)


def test_near_things_grow_as_at_inference():
    video = torch.rand(2, 3, 64, 1280)
    depth = torch.zeros(2, 1, 64, 1280)
    depth[..., 400:500] = 1
    assert torch.equal(as_at_inference(depth, video), dilate(depth, 2))
    small = torch.nn.functional.avg_pool2d(depth, 4)
    grown = as_at_inference(small, video) > 0.5
    assert int(grown[0, 0, 32].sum()) >= 100
    assert not grown[..., 490 + 30 :].any()


def test_a_supplied_depth_makes_the_holes(tmp_path):
    source = photo(tmp_path / "a.png", 96, 160)
    depth = np.zeros((1, 96, 160), np.float32)
    depth[:, 30:70, 50:100] = 1
    np.savez_compressed(tmp_path / "a.npz", depth=depth)
    options = PairOptions(frames=1, height=48, width=80, photo_clips=1, depth="embedded")
    (pair,) = PairBuilder(options, {source: tmp_path / "a.npz"}).photo_pairs(source, "a")
    assert pair.mask.any()
