"""Writing: pixels, tags, times, containers, images, and a target that is whole or not there."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from dreamstereo_core.video_io import (
    ColorTags,
    EncodeOptions,
    HdrMetadata,
    VideoWriter,
    probe,
    read_frames,
)
from dreamstereo_core.video_io.color import rgb_to_frame
from dreamstereo_core.video_io.encoder import picture_format

from ..pictures import FAST, INFO, bars, ramp, save, times

LOSSLESS = EncodeOptions(codec="h264", crf=0, preset="ultrafast")


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("code_range", [1, 2])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_colours_and_tags_survive(tmp_path, matrix, code_range, bits):
    tags = ColorTags(primaries=9, transfer=16, matrix=matrix, range=code_range)
    info = replace(INFO, color=tags, bit_depth=bits)
    path = save(tmp_path / "bars.mp4", bars()[None], info, LOSSLESS)

    assert probe(path).color == tags
    assert probe(path).bit_depth == bits
    (read,) = read_frames(path)
    centres = (read.pixels - bars())[:, :, 8::16].abs()  # chroma is blurred at the bars' borders
    assert centres.max() < (2.6 if bits == 8 else 1.0) / 255


def test_an_independent_decoder_sees_the_same_colours(tmp_path):
    """The reference is swscale's own conversion, which reads the tags that were written."""
    info = replace(INFO, color=ColorTags(1, 1, 1, 1))
    path = save(tmp_path / "bars.mp4", bars()[None], info, LOSSLESS)
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        rgb = frame.to_ndarray(format="rgb24", src_colorspace="itu709", dst_colorspace="itu601")
    seen = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[:, :, 8::16] / 255
    assert (seen - bars()[:, :, 8::16]).abs().max() < 4 / 255


def test_chroma_is_sited_on_the_even_columns():
    """On a ramp of colour each sample of 4:2:0 is the colour of the pixel that it lies on."""
    ramp_of_red = torch.linspace(0.1, 0.9, 64).expand(8, 64)
    picture = torch.stack([ramp_of_red, torch.full((8, 64), 0.5), torch.full((8, 64), 0.5)])
    frame = rgb_to_frame(picture, matrix=1, full=True, bits=10)
    red_difference = np.frombuffer(frame.planes[2], np.uint16).reshape(4, -1)[:, :32]
    luma = 0.2126 * ramp_of_red + (1 - 0.2126) * 0.5
    expected = ((ramp_of_red - luma) / (2 - 2 * 0.2126) * 1023 + 512)[:4, ::2].numpy()
    assert np.abs(red_difference - expected)[:, 1:].max() <= 0.51


@pytest.mark.parametrize(("size", "matrix"), [((640, 480), 6), ((1280, 720), 1), ((720, 1280), 1)])
def test_an_unspecified_matrix_is_named_in_the_output(tmp_path, size, matrix):
    info = replace(INFO, width=size[0], height=size[1])
    path = save(tmp_path / "plain.mp4", bars()[None], info)
    assert probe(path).color == ColorTags(primaries=2, transfer=2, matrix=matrix, range=1)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "hevc.mov", "hevc.mkv", "av1.mp4"])
@pytest.mark.parametrize("bits", [8, 10])
def test_codecs_in_containers(tmp_path, name, bits):
    codec = name.split(".")[0]
    options = EncodeOptions(codec, preset="12" if codec == "av1" else "ultrafast", bit_depth=bits)
    path = save(tmp_path / name, ramp(6, 64, 96), encode=options)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.codec.canonical_name == codec
    info = probe(path)
    assert (info.width, info.height, info.bit_depth) == (96, 64, bits)
    frames = list(read_frames(path))
    assert len(frames) == 6
    for frame, value in zip(frames, torch.linspace(0.1, 0.9, 6), strict=True):
        assert abs(float(frame.pixels.mean()) - float(value)) < 0.015


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_hdr10_metadata_survives(tmp_path, codec):
    hdr = HdrMetadata(
        primaries=(13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450),
        luminance=(10000000, 50),
        content_light=(1000, 400),
    )
    info = replace(INFO, bit_depth=10, color=ColorTags(9, 16, 9, 1), hdr=hdr)
    options = EncodeOptions(codec, preset="12" if codec == "av1" else "ultrafast")
    found = probe(save(tmp_path / "hdr.mp4", ramp(3, 64, 96), info, options)).hdr
    assert found is not None
    # AV1 stores binary fractions of its own: a unit or two off.
    assert found.primaries == pytest.approx(hdr.primaries, abs=2)
    assert found.luminance == pytest.approx(hdr.luminance, abs=10)
    assert found.content_light == (1000, 400)
    assert probe(save(tmp_path / "plain.mp4", ramp(3, 64, 96), encode=options)).hdr is None


def test_av1_in_webm(tmp_path):
    path = save(tmp_path / "a.webm", ramp(3, 64, 64), encode=EncodeOptions("av1", preset="12"))
    assert len(list(read_frames(path))) == 3


def test_10_bit_gradient_is_finer_than_8_bit(tmp_path):
    gradient = torch.linspace(0.4, 0.6, 256).expand(1, 3, 16, 256)
    levels = {}
    for bits in (8, 10):
        options = replace(LOSSLESS, crf=1, bit_depth=bits)
        path = save(tmp_path / f"{bits}.mkv", gradient, encode=options)
        levels[bits] = next(read_frames(path)).pixels[1, 8].unique().numel()
    assert levels[10] > 3 * levels[8]


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_variable_times_are_exact_and_start_at_zero(tmp_path, suffix):
    ticks = [1000, 1100, 1777, 1778, 6000, 13801]
    at = [Fraction(n, 12800) for n in ticks]
    path = save(tmp_path / f"vfr{suffix}", ramp(6), at=at)
    assert [f.time for f in read_frames(path)] == [t - at[0] for t in at]
    # The last frame is shown for one frame at the average rate.
    assert probe(path).duration == pytest.approx(float(at[-1] - at[0]) + 0.04, abs=1e-3)


def test_times_closer_than_a_tick_stay_apart(tmp_path):
    at = [Fraction(0), Fraction(1, 10**6), Fraction(2, 10**6), Fraction(1, 25)]
    path = save(tmp_path / "dense.mp4", ramp(4), at=at)
    ticks = [frame.time * 12800 for frame in read_frames(path)]
    assert ticks == [0, 1, 2, 512]


def test_matroska_times_are_rounded_to_milliseconds(tmp_path):
    at = times(8, rate=Fraction(30000, 1001))
    path = save(tmp_path / "ntsc.mkv", ramp(8), at=at)
    for frame, time in zip(read_frames(path), at, strict=True):
        assert abs(frame.time - time) <= Fraction(1, 2000)


def test_chunks_equal_one_write(tmp_path):
    whole = save(tmp_path / "whole.mp4", ramp(7))
    with VideoWriter(tmp_path / "chunks.mp4", INFO, 64, 48, FAST) as writer:
        writer.write(ramp(7)[:3], times(7)[:3])
        writer.write(ramp(7)[3:], times(7)[3:])
    assert whole.read_bytes() == (tmp_path / "chunks.mp4").read_bytes()


@pytest.mark.parametrize(("height", "width"), [(47, 63), (1, 64), (48, 65), (1, 1)])
def test_odd_sizes_repeat_the_last_row_and_column(tmp_path, height, width):
    frames = torch.linspace(0.2, 0.8, width).expand(1, 3, height, width)
    path = save(tmp_path / "odd.mp4", frames, encode=replace(LOSSLESS, crf=1))
    info = probe(path)
    assert (info.height, info.width) == (height + height % 2, width + width % 2)
    (read,) = read_frames(path)
    assert (read.pixels[:, :height, :width] - frames[0]).abs().max() < 0.02
    assert (read.pixels[:, -1, -1] - frames[0, :, -1, -1]).abs().max() < 0.02


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pixel_aspect_is_kept(tmp_path, name):
    info = replace(INFO, pixel_aspect=Fraction(4, 3))
    path = save(tmp_path / name, ramp(2), info)
    assert probe(path).pixel_aspect == Fraction(4, 3)


@pytest.mark.parametrize(
    ("layout", "mode", "packing", "aspect"),
    [
        ("full_sbs", "left_right", 1, 1),
        ("half_sbs", "left_right", 1, 2),
        ("full_tb", "top_bottom", 2, 1),
        ("half_tb", "top_bottom", 2, Fraction(1, 2)),
        ("anaglyph", None, None, 1),
    ],
)
@pytest.mark.parametrize("source_aspect", [Fraction(1), Fraction(4, 3), Fraction(3, 4)])
def test_stereo_tags(tmp_path, layout, mode, packing, aspect, source_aspect):
    info = replace(INFO, pixel_aspect=source_aspect)
    for name in ("a.mkv", "a.mp4"):
        path = save(tmp_path / name, ramp(2, 480, 960), info, layout=layout)
        with av.open(str(path)) as file:
            if name == "a.mkv":
                assert file.streams.video[0].metadata.get("stereo_mode") == mode
            data = next(file.decode(video=0)).side_data.get("STEREO3D")
        # The frame-packing SEI: AVStereo3D begins with its type (1 side by side, 2 top-bottom).
        assert (None if data is None else bytes(data)[0]) == packing
    # In Matroska the display size is that of one eye; elsewhere the source's shape of pixels.
    assert float(probe(tmp_path / "a.mkv").pixel_aspect) == pytest.approx(
        float(aspect * source_aspect), rel=0.01
    )
    assert probe(tmp_path / "a.mp4").pixel_aspect == source_aspect


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_metadata_can_be_read_back(tmp_path, name):
    metadata = {"prompt": '{"3": {"class_type": "é"}}', "workflow": "{}", "title": "A walk"}
    path = save(tmp_path / name, ramp(2), metadata=metadata)
    with av.open(str(path)) as file:
        found = {key.lower(): value for key, value in file.metadata.items()}
    assert metadata.items() <= found.items()


def test_mp4_starts_with_its_index(tmp_path):
    data = save(tmp_path / "a.mp4", ramp(3)).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


@pytest.mark.parametrize("width", [34, 48])
def test_narrow_hevc_does_not_end_the_process(tmp_path, width):
    """x265's tree of blocks writes beyond its memory there."""
    noise = torch.rand(6, 3, 48, width, generator=torch.Generator().manual_seed(0))
    how = EncodeOptions("hevc", preset="ultrafast")
    for number in range(3):
        path = save(tmp_path / f"{number}.mp4", noise, encode=how)
    assert len(list(read_frames(path))) == 6


@pytest.mark.parametrize(
    ("size", "layout", "warned"),
    [
        ((7680, 4320), "full_sbs", False),
        ((15360, 4320), "full_sbs", True),
        ((15360, 4320), "mv_hevc", False),  # two pictures of half the width
        ((17000, 1000), "half_sbs", True),
    ],
)
def test_sizes_beyond_hevcs_highest_level_are_said(caplog, size, layout, warned):
    how = picture_format(INFO, size, EncodeOptions(layout=layout), layout, Path("a.mp4"))
    assert how.encode.codec == "hevc"
    assert ("more than HEVC's highest level" in caplog.text) == warned
