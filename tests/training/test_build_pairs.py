"""Pairs: holes where they belong, every kind of source, bad input, interrupted runs."""

import argparse
import errno
from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

import build_pairs
from build_pairs import PairOptions, build, main, write_sheet
from data import files
from data.files import DataError
from data.films import encode_film
from data.pair_shards import LOSSLESS, Pair, PairWriter, list_pairs
from dreamstereo_core import EncodeOptions, build_pair
from dreamstereo_core.video_io import VideoWriter, probe
from engine.pictures import write_png
from making.clips import find_sources, longest_shot, read_windows, there_and_back
from making.forward_warp import forward_holes, forward_warp
from making.photo_clip import photo_clip
from making.relief import parallax_depth, segment_planes

HEIGHT, WIDTH = 48, 80
OPTIONS = PairOptions(
    frames=5, height=HEIGHT, width=WIDTH, clips=2, photo_clips=1, depth="embedded"
)


def texture(seed, height=HEIGHT, width=2 * WIDTH):
    generator = torch.Generator().manual_seed(seed)
    return F.interpolate(
        torch.rand(1, 3, height // 6, width // 6, generator=generator),
        (height, width),
        mode="bicubic",
    )[0].clamp(0, 1)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A folder with a photo, two clips (one of 3 frames), a broken video, and an eval folder."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "eval").mkdir()
    write_png(folder / "photo.png", texture(1))
    write_png(folder / "other.png", texture(2))
    write_png(folder / "eval" / "photo.png", texture(3))
    info = probe(folder / "photo.png")
    for name, count in (("clip.mp4", 12), ("short.mp4", 3)):
        with VideoWriter(folder / name, info, WIDTH, HEIGHT, EncodeOptions(crf=5)) as writer:
            for t in range(count):
                frame = texture(4)[:, :, 2 * t : 2 * t + WIDTH].clone()
                frame[:, 14:34, 20 + 2 * t : 40 + 2 * t] = torch.tensor([0.9, 0.1, 0.1]).view(
                    3, 1, 1
                )
                writer.write(frame[None], [Fraction(t, 24)])
    whole = (folder / "clip.mp4").read_bytes()
    (folder / "broken.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "notes.txt").write_text("no media")
    return folder


def brute_force_holes(disparity):
    """The holes of right -> left -> right, pixel by pixel, `disparity` [H, W] of whole pixels.

    A pixel of the right view is a hole if no pixel of the left view lands on it; the left view
    shows, at each of its pixels, the nearest right pixel that lands there.
    """
    height, width = disparity.shape
    holes = torch.ones(height, width, dtype=torch.bool)
    for y in range(height):
        left = {}
        for x in range(width):
            d = int(disparity[y, x])
            target = x + d
            if 0 <= target < width and (target not in left or left[target] < d):
                left[target] = d
        for target, d in left.items():
            holes[y, target - d] = False
    return holes


@pytest.mark.parametrize("seed", range(4))
def test_the_mask_equals_the_brute_force_oracle(seed):
    """On a scene of layered boxes the holes are right of the near ones, as wide as the jump."""
    generator = torch.Generator().manual_seed(seed)
    disparity = torch.zeros(12, 64)
    for near in (3, 6):
        x = int(torch.randint(6, 40, (), generator=generator))
        y = int(torch.randint(0, 6, (), generator=generator))
        disparity[y : y + 5, x : x + 12] = near
    pair = build_pair(torch.rand(1, 3, 12, 64, generator=generator), disparity[None, None])
    mask = pair.occlusion_mask[0, 0] > 0
    expected = brute_force_holes(disparity)
    # The sheet draws a hole between two pixels: its ends may differ by the pixel they lie on.
    assert (mask ^ expected).sum() <= 0.12 * expected.sum()
    assert not (mask & (disparity == 6)).any()
    for y in range(12):
        for x in range(1, 63):
            if expected[y, x] and expected[y, x - 1] == 0:
                assert disparity[y, x - 1] > disparity[y, x]  # right of something nearer


@pytest.mark.parametrize("seed", range(4))
def test_forward_holes_of_whole_pixels_are_the_oracles(seed):
    generator = torch.Generator().manual_seed(seed)
    disparity = torch.randint(-5, 9, (2, 1, 12, 64), generator=generator).float()
    expected = torch.stack([brute_force_holes(d[0]) for d in disparity])
    assert torch.equal(forward_holes(disparity)[:, 0] > 0, expected)


def test_a_point_lands_on_two_pixels_and_the_nearest_is_seen():
    """Against one point after the other, at fractions of pixels and without some points."""
    generator = torch.Generator().manual_seed(0)
    disparity = torch.rand(1, 1, 6, 40, generator=generator) * 12 - 4
    disparity[torch.rand(disparity.shape, generator=generator) < 0.2] = -torch.inf
    for toward, sign in (("left", 1), ("right", -1)):
        expected = torch.full_like(disparity, -torch.inf)
        for y in range(6):
            for x in range(40):
                d = disparity[0, 0, y, x]
                if d.isfinite():
                    for target in {int((x + sign * d).floor()), int((x + sign * d).ceil())}:
                        if 0 <= target < 40:
                            expected[0, 0, y, target] = max(expected[0, 0, y, target], d)
        assert torch.equal(forward_warp(disparity, toward=toward), expected)


def test_points_are_not_connected():
    """Where a surface widens to more than two pixels a point, it is seen through."""
    steep = (1.6 * torch.arange(24.0)).expand(1, 1, 1, 24)  # to the left: 2.6 pixels a point
    assert not forward_warp(steep[..., :5], toward="left").isfinite().all()
    gentle = (0.9 * torch.arange(24.0)).expand(1, 1, 1, 24)
    assert forward_warp(gentle, toward="left").isfinite().all()


def test_strategies_open_other_holes_in_the_same_clips(media, tmp_path):
    """What differs between the three folders is the holes alone, as in the paper's Table 3."""
    base = ["--size", f"{WIDTH}x{HEIGHT}", "--frames", "5", "--photo-clips", "2"]
    base += ["--depth", "cues", "--quality", "0", "--max-disparity", "8", "12"]
    found = {}
    for warp in ("gapw", "forward", "random"):
        out = tmp_path / warp
        words = [media / "photo.png", "--out", out, *base, "--warp", warp]
        assert main([*map(str, words)]) == 0
        found[warp] = [entry.read() for entry in list_pairs(out)]
    assert len(found["gapw"]) == len(found["forward"]) == len(found["random"]) == 2
    for pair, *others in zip(*found.values(), strict=True):
        for other in others:
            assert torch.equal(pair.frames, other.frames)
            assert pair.info["max_disparity"] == other.info["max_disparity"]
            assert not torch.equal(pair.mask, other.mask)
    with pytest.raises(DataError, match="made with other settings"):
        build([media], tmp_path / "random", OPTIONS, quality=LOSSLESS)
    with pytest.raises(ValueError, match="warp: expected one of gapw, forward, random"):
        PairOptions(warp="backward")
    with pytest.raises(ValueError, match="fill: expected warp=gapw"):
        PairOptions(warp="forward", fill=True)


def test_every_source_becomes_pairs_and_the_broken_one_is_named(media, tmp_path, capsys):
    command = [str(media), "--out", str(tmp_path), "--size", f"{WIDTH}x{HEIGHT}", "--frames", "5"]
    command += ["--clips", "2", "--photo-clips", "1", "--composites", "2", "--depth", "embedded"]
    assert main([*command, "--exclude", str(media / "eval")]) == 0
    out = capsys.readouterr().out
    assert "broken.mp4" in out
    assert "1 sources skipped" in out
    entries = list_pairs(tmp_path)
    assert {e.info["kind"] for e in entries} == {"video", "photo", "composite"}
    assert not any("eval" in e.info["source"].removeprefix(str(media)) for e in entries)
    for entry in entries:
        pair = entry.read()
        assert pair.frames.shape == (5, 3, HEIGHT, WIDTH)
        assert pair.mask.shape == (5, HEIGHT, WIDTH)
        assert 0 < pair.mask.float().mean() < 0.6
        assert 3 <= entry.info["max_disparity"] <= 8
    assert (tmp_path / "contact_sheet.png").stat().st_size > 1000


def test_holes_of_a_composite_lie_right_of_the_near_layer():
    options = PairOptions(frames=1, height=64, width=128, composites=1, depth="embedded")
    builder = build_pairs.PairBuilder(options)
    video, disparity = torch.rand(1, 3, 64, 128), torch.zeros(1, 1, 64, 128)
    disparity[..., 20:40, 50:80] = 6.0
    (pair,) = builder._finish(video, disparity, {}, torch.Generator())
    inner = pair.mask[0][:, 10:-10]
    columns = inner.any(0).nonzero().flatten() + 10
    assert columns.min() >= 79
    assert columns.max() <= 86
    assert inner[20:40].any(1).all()
    assert not inner[:20].any()


def test_a_run_goes_on_where_it_was(media, tmp_path, monkeypatch):
    build([media], tmp_path / "whole", OPTIONS, quality=LOSSLESS)
    made = []

    def interrupted(self, path, name):
        if made:
            raise KeyboardInterrupt
        made.append(path)
        return original(self, path, name)

    original = build_pairs.PairBuilder.photo_pairs
    with monkeypatch.context() as patch:
        patch.setattr(build_pairs.PairBuilder, "photo_pairs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build([media], tmp_path / "again", OPTIONS, quality=LOSSLESS)
    first = list_pairs(tmp_path / "again")
    report = build([media], tmp_path / "again", OPTIONS, quality=LOSSLESS)
    assert 0 < len(first) < report.pairs
    key = lambda e: (e.info["source"], e.info.get("start", 0))  # noqa: E731
    whole, again = (sorted(list_pairs(tmp_path / n), key=key) for n in ("whole", "again"))
    assert [key(e) for e in whole] == [key(e) for e in again]
    for a, b in zip(whole, again, strict=True):
        assert torch.equal(a.read().frames, b.read().frames)
        assert torch.equal(a.read().mask, b.read().mask)
    with pytest.raises(DataError, match="made with other settings"):
        build([media], tmp_path / "again", PairOptions(frames=9, height=48, width=80))


def test_shards_of_the_work_share_a_folder(media, tmp_path):
    """Three runs, one after the other, make what one run makes; a fourth has nothing to do."""
    build([media], tmp_path / "whole", OPTIONS, quality=LOSSLESS)
    for i in (3, 1, 2):
        build([media], tmp_path / "parts", OPTIONS, quality=LOSSLESS, shard=(i, 3))
    assert build([media], tmp_path / "parts", OPTIONS, quality=LOSSLESS).sources == 0
    key = lambda e: (e.info["source"], e.info.get("start", 0))  # noqa: E731
    whole, parts = (sorted(list_pairs(tmp_path / n), key=key) for n in ("whole", "parts"))
    assert [key(e) for e in whole] == [key(e) for e in parts]
    assert len({e.path for e in parts}) > 1
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a.read().frames, b.read().frames)
        assert torch.equal(a.read().mask, b.read().mask)
    for text in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected i/n"):
            build_pairs.read_shard(text)


def test_a_missing_depth_is_an_error_before_any_work(media, tmp_path, capsys):
    (tmp_path / "depths").mkdir()
    command = [str(media), "--out", str(tmp_path / "o"), "--depths", str(tmp_path / "depths")]
    assert main([*command, "--exclude", str(media / "eval")]) == 1
    assert "found none for broken.mp4" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_films_in_shards_are_near_the_truth_and_cut_to_the_frame(tmp_path):
    frames = torch.stack([texture(4)[:, :, 2 * t : 2 * t + WIDTH] for t in range(9)])
    frames = (frames * 255).round().to(torch.uint8)
    writer = PairWriter(tmp_path, {}, None)
    writer.add("a", [Pair(frames, torch.rand(9, HEIGHT, WIDTH) > 0.9, {})])
    writer.flush()
    (entry,) = list_pairs(tmp_path)
    read = entry.read().frames
    assert read.shape == frames.shape
    assert (
        read.float() - frames.float()
    ).square().mean().sqrt() < 6  # loud colours: the worst case
    assert torch.equal(entry.read_frames(4, 7), read[4:7])
    assert (encode_film(frames) == encode_film(frames)).all()  # no names drawn by chance in it
    with pytest.raises(DataError, match="fewer frames"):
        entry.read_frames(4, 12)


def test_a_full_disk_leaves_no_half_shard(tmp_path, monkeypatch, media, capsys):
    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    command = [str(media / "photo.png"), "--out", str(tmp_path), "--size", "80x48", "--frames", "5"]
    assert main([*command, "--depth", "embedded"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_media_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert "expected videos or photos, found none" in capsys.readouterr().err
    assert main([str(tmp_path / "no"), "--out", str(tmp_path / "o")]) == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--frames", "6"], "frames: expected 4n + 1"),
        (["--size", "100x48"], "expected multiples of 16"),
        (["--max-disparity", "5", "2"], "max_disparity: expected"),
    ],
)
def test_options_out_of_range_are_errors(extra, message, media, tmp_path, capsys):
    assert main([str(media), "--out", str(tmp_path), *extra]) == 1
    assert message in capsys.readouterr().err


def test_excluded_folders_are_left_out_even_through_links(media, tmp_path):
    (tmp_path / "link").symlink_to(media / "eval")
    found = find_sources([media, tmp_path / "link"], [media / "eval"])
    assert {p.name for p in found} == {
        "photo.png",
        "other.png",
        "clip.mp4",
        "short.mp4",
        "broken.mp4",
    }
    assert all("eval" not in p.resolve().parts for p in found)


def test_windows_do_not_overlap_and_short_clips_play_to_and_fro(media):
    windows = list(read_windows(media / "clip.mp4", OPTIONS, torch.Generator().manual_seed(0)))
    assert [len(video) for _, video, _ in windows] == [5, 5]
    assert windows[1][0] - windows[0][0] >= 5
    (_, short, _), *rest = read_windows(
        media / "short.mp4", OPTIONS, torch.Generator().manual_seed(0)
    )
    assert len(short) == 3
    assert not rest
    assert there_and_back(3, 8) == [0, 1, 2, 1, 0, 1, 2, 1]
    assert there_and_back(1, 3) == [0, 0, 0]


def test_no_pair_crosses_a_cut():
    a, b = texture(5)[:, :, :WIDTH], 1 - texture(6)[:, :, :WIDTH]
    assert longest_shot(torch.stack([a] * 3 + [b] * 6)) == (3, 9)


def test_a_photo_clip_moves_near_things_more():
    generator = torch.Generator().manual_seed(1)
    photo = texture(7, 120, 200)
    depth = torch.zeros(1, 120, 200)
    depth[:, 40:80, 70:130] = 1
    size = {"frames": 9, "height": 48, "width": 80, "generator": generator}
    video, inverse_depth = photo_clip(photo, depth, **size)
    assert video.shape == (9, 3, 48, 80)
    assert inverse_depth.shape == (9, 1, 48, 80)
    assert float(video.min()) >= 0 and float(video.max()) <= 1
    assert (video[0] - video[-1]).abs().mean() > 1e-3


def test_segments_put_depth_borders_on_the_picture():
    """Depth that misses a border by 4 pixels comes to lie on it."""
    video = torch.zeros(2, 3, 64, 96)
    video += 0.15 * texture(8, 64, 96)
    video[:, 0, 20:44, 30:60] += 0.8
    depth = torch.full((2, 1, 64, 96), 0.2)
    depth[..., 24:48, 34:64] = 0.9
    snapped = segment_planes(depth, video)[0, 0]
    inside = snapped > 0.45
    truth = torch.zeros(64, 96, dtype=torch.bool)
    truth[20:44, 30:60] = True
    error = (inside ^ truth).float().mean()
    assert error < 0.3 * ((depth[0, 0] > 0.45) ^ truth).float().mean()


def test_parallax_gives_fast_things_near_and_nothing_for_a_still():
    frames = []
    for t in range(4):
        frame = texture(9)[:, :, :WIDTH].clone()
        frame[:, 12:36, 20 + 3 * t : 44 + 3 * t] = texture(10)[:, 12:36, :24]
        frames.append(frame)
    depth = parallax_depth(torch.stack(frames))
    assert depth[1, 0, 18:30, 28:40].mean() > depth[1, 0, :, 60:].mean() + 0.4
    assert parallax_depth(torch.stack(frames[:1] * 4)) is None


def test_shards_keep_what_they_are_given(tmp_path):
    writer = PairWriter(tmp_path, {"a": 1}, LOSSLESS, shard_bytes=1)
    pairs = [
        Pair(
            torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8),
            torch.rand(2, 16, 16) > 0.5,
            {"kind": "photo"},
        )
        for _ in range(3)
    ]
    for i, pair in enumerate(pairs):
        writer.add(f"source {i}", [pair])
    entries = list_pairs(tmp_path)
    assert len({e.path for e in entries}) == 3
    for entry, pair in zip(entries, pairs, strict=True):
        assert torch.equal(entry.read().frames, pair.frames)
        assert torch.equal(entry.read().mask, pair.mask)
    assert PairWriter(tmp_path, {"a": 1}).done == {"source 0", "source 1", "source 2"}
    assert write_sheet(tmp_path).exists()


def test_a_damaged_shard_is_named(tmp_path):
    (tmp_path / "pairs-00000.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"pairs-00000\.safetensors: expected a shard"):
        list_pairs(tmp_path)
