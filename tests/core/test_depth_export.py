"""The layout "depth": a file that `load_depth` reads back into the same film."""

from dataclasses import replace
from fractions import Fraction

import av
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    EncodeOptions,
    convert_file,
    load_depth,
    probe,
    read_frames,
)
from dreamstereo_core.depth import WrappedDepth
from dreamstereo_core.stream import Frame
from dreamstereo_core.video_io import VideoWriter

from .pictures import INFO

WIDTH, HEIGHT = 660, 96  # wide enough that near things grow
CLEAN = EncodeOptions(crf=1, preset="ultrafast")


@pytest.fixture
def clip(tmp_path):
    """Four frames of a textured wall with a box before it, between black bars."""
    return film(tmp_path / "clip.mp4", WIDTH, HEIGHT)


def film(path, width, height):
    generator = torch.Generator().manual_seed(0)
    wall = torch.rand(3, height // 4 + 1, width // 4 + 1, generator=generator)
    wall = wall.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :height, :width] * 0.6 + 0.2
    frames = wall.repeat(4, 1, 1, 1)
    for t, frame in enumerate(frames):
        frame[:, 30:80, 200 + 4 * t : 280 + 4 * t] = 0.9
        frame[:, :12], frame[:, height - 12 :] = 0, 0
    info = replace(INFO, width=width, height=height)
    with VideoWriter(path, info, width, height, CLEAN) as writer:
        writer.write(frames, [Fraction(t, 25) for t in range(4)])
    return path


def run(source, target, layout, depth, convergence=0.5):
    convert_file(
        source,
        target,
        depth=depth,
        inpainter=ClassicInpainter(reach=(1,)),
        encode=replace(CLEAN, layout=layout, crf=None if layout == "depth" else 1),
        options=ConvertOptions(max_disparity=6, convergence=convergence),
    )
    return target


def pictures(path):
    return torch.stack([frame.pixels for frame in read_frames(path)])


@pytest.mark.parametrize("target", ["depth.mp4", "depth.mkv", "depth_%05d.png"])
def test_the_film_made_of_it_is_the_same(clip, tmp_path, target):
    folder = tmp_path / "depth"
    folder.mkdir()
    written = run(clip, folder / target, "depth", load_depth("embedded"))
    again = load_depth(written)
    assert again.grown and not load_depth("embedded").grown
    first = run(clip, tmp_path / "first.mp4", "right", load_depth("embedded"))
    second = run(clip, tmp_path / "second.mp4", "right", again)
    difference = (pictures(first) - pictures(second)).abs()
    assert difference.mean() < 1.5 / 255
    assert (difference.amax(1) > 0.1).float().mean() < 0.01


def test_it_has_10_bits_in_all_codes_and_says_what_it_is(clip, tmp_path):
    path = run(clip, tmp_path / "depth.mp4", "depth", load_depth("embedded"))
    info = probe(path)
    assert (info.bit_depth, info.color.range, info.color.transfer) == (10, 2, 2)
    with av.open(str(path)) as file:
        assert "white is near" in file.metadata["comment"]
    values = pictures(path)
    assert (values.amax(1) - values.amin(1)).max() < 0.01  # grey
    whole = next(read_frames(run(clip, tmp_path / "d_%05d.png", "depth", load_depth("embedded"))))
    assert (whole.pixels - values[0]).abs().mean() < 1 / 255


def test_images_have_16_bits(clip, tmp_path):
    run(clip, tmp_path / "d_%05d.png", "depth", load_depth("embedded"))
    with av.open(str(tmp_path / "d_00001.png")) as file:
        assert file.streams.video[0].codec_context.pix_fmt == "rgb48be"


def test_what_lies_on_the_screen_is_found_anew(clip, tmp_path):
    """It is no part of a depth; the bars, which lie on the screen, show what it was."""
    path = run(clip, tmp_path / "depth.mkv", "depth", load_depth("embedded"), "auto")
    again = run(clip, tmp_path / "again.mkv", "depth", load_depth(path), "auto")
    first, second = (float(pictures(p)[..., :8, :].mean()) for p in (path, again))
    assert first == pytest.approx(second, abs=0.05)


def test_near_things_grow_once_only(clip, tmp_path):
    """What grew in the first run is not let grow in the second one."""
    path = run(clip, tmp_path / "depth.mkv", "depth", load_depth("embedded"))
    again = run(clip, tmp_path / "again.mkv", "depth", load_depth(path))
    assert (pictures(path) - pictures(again)).abs().mean() < 1 / 255


def test_odd_sizes_come_back(tmp_path):
    source = film(tmp_path / "clip.png.mkv", 661, 97)
    frames = pictures(source)[:1, :, :97, :661]
    info = replace(INFO, width=661, height=97)
    depth = torch.linspace(0, 1, 661).expand(1, 3, 97, 661)
    with VideoWriter(tmp_path / "depth.mkv", info, 661, 97, CLEAN, layout="depth") as writer:
        writer.write(depth, [Fraction(0)])
    (read,) = load_depth(tmp_path / "depth.mkv").stream([Frame(frames[0])])
    assert read.shape == (1, 1, 97, 661)
    assert (read - depth[:, :1]).abs().max() < 0.01


def test_wrappers_say_it_too(clip, tmp_path):
    path = run(clip, tmp_path / "depth.mp4", "depth", load_depth("embedded"))
    assert WrappedDepth(load_depth(path)).grown
