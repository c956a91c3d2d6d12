"""Reading: pixels, tags, times, orientation, ranges, images, and every kind of bad input."""

import gc
import io
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from dreamstereo_core.video_io import VideoError, probe, read_frames

LUMA = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
BARS = torch.tensor(
    [
        *([0.75, 0.75, 0.75], [0.7, 0.7, 0.1], [0.1, 0.7, 0.7], [0.1, 0.6, 0.1]),
        *([0.6, 0.1, 0.6], [0.65, 0.1, 0.1], [0.1, 0.1, 0.65], [0.3, 0.5, 0.2]),
    ]
)


def yuv_bars(matrix, full, bits, height=32, bar=16):
    """Colour bars as exact integer planes of 4:4:4, from the definition of the matrix."""
    kr, kb = LUMA[matrix]
    r, g, b = BARS.double().T.numpy()
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    unit = 1 << (bits - 8)
    span, offset, chroma = (219 * unit, 16 * unit, 224 * unit)
    if full:
        span, offset, chroma = ((1 << bits) - 1, 0, (1 << bits) - 1)
    codes = [y * span + offset, u * chroma + 128 * unit, v * chroma + 128 * unit]
    dtype = np.uint8 if bits == 8 else np.uint16
    return [np.tile(np.repeat(np.rint(c), bar), (height, 1)).astype(dtype) for c in codes]


def fill(frame, planes):
    for plane, values in zip(frame.planes, planes, strict=True):
        view = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)
        view[:, : values.shape[1]] = values
    return frame


def grey_ramp(index, width=32, height=16):
    """A frame that names its own index: every pixel 20 + 8 * index."""
    planes = [np.full((height, width), 20 + 8 * index, np.uint8)]
    planes += [np.full((height // 2, width // 2), 128, np.uint8)] * 2
    return fill(av.VideoFrame(width, height, "yuv420p"), planes)


def write(path, frames, *, codec="libx264", times=None, base=Fraction(1, 12800), **context):
    """Encode frames without loss of count; `times` in seconds, default 25 per second."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, time_base=base)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        stream.options = {"crf": "1"} if codec == "libx264" else {}
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for index, frame in enumerate(frames):
            frame.time_base = base
            time = Fraction(index, 25) if times is None else times[index]
            frame.pts = round(time / base)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def indices(frames):
    """Read the index out of `grey_ramp` pictures."""
    return [round((float(f.pixels.mean()) * 219 + 16 - 20) / 8) for f in frames]


@pytest.fixture
def ramp(tmp_path):
    return write(tmp_path / "ramp.mp4", [grey_ramp(i) for i in range(20)])


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_colours_follow_matrix_and_range(tmp_path, matrix, full, bits):
    layout = "yuv444p" if bits == 8 else "yuv444p10le"
    planes = yuv_bars(matrix, full, bits)
    frame = fill(av.VideoFrame(128, 32, layout), planes)
    tags = {"colorspace": matrix, "color_range": 1 + full}
    path = write(tmp_path / "bars.mkv", [frame], codec="ffv1", **tags)

    info = probe(path)
    assert (info.color.matrix, info.color.range, info.bit_depth) == (matrix, 1 + full, bits)
    (read,) = read_frames(path)
    expected = BARS.T[:, None, :, None].expand(3, 32, 8, 16).reshape(3, 32, 128)
    # Half a code of luma and chroma each, nothing else.
    assert (read.pixels - expected).abs().max() < 1.7 / (1 << bits)
    assert read.pixels.dtype == torch.float32


@pytest.mark.parametrize(("width", "height", "matrix"), [(128, 32, 6), (1280, 32, 1)])
def test_unspecified_matrix_follows_the_size(tmp_path, width, height, matrix):
    planes = yuv_bars(matrix, False, 8, height, width // 8)
    frame = fill(av.VideoFrame(width, height, "yuv444p"), planes)
    path = write(tmp_path / "bars.mkv", [frame], codec="ffv1")

    (read,) = read_frames(path)
    sampled = read.pixels[:, 0, width // 16 :: width // 8]
    assert (sampled - BARS.T).abs().max() < 1.7 / 256
    assert probe(path).color.matrix == 2


def test_an_unsupported_matrix_is_named(tmp_path):
    frame = fill(av.VideoFrame(128, 32, "yuv444p"), yuv_bars(1, False, 8))
    path = write(tmp_path / "ycgco.mkv", [frame], codec="ffv1", colorspace=8)
    with pytest.raises(VideoError, match=r"ycgco.mkv: its colour matrix \(8 in"):
        list(read_frames(path))


def test_subsampled_10_bit_keeps_its_luma(tmp_path):
    luma = np.tile(np.arange(64, 64 + 4 * 128, 4, dtype=np.uint16), (32, 1)) + 1
    chroma = np.full((16, 64), 512, np.uint16)
    frame = fill(av.VideoFrame(128, 32, "yuv420p10le"), [luma, chroma, chroma])
    path = write(tmp_path / "ten.mkv", [frame], codec="ffv1", colorspace=1)
    (read,) = read_frames(path)
    expected = torch.from_numpy((luma.astype(np.float32) - 64) / 876).expand(3, -1, -1)
    torch.testing.assert_close(read.pixels, expected, atol=1e-6, rtol=0)


def test_frames_and_times_of_a_range(ramp):
    frames = list(read_frames(ramp, 5, 12))
    assert indices(frames) == list(range(5, 12))
    assert [f.time for f in frames] == [Fraction(i, 25) for i in range(5, 12)]
    info = probe(ramp)
    assert (info.width, info.height, info.frame_rate, info.frame_count) == (32, 16, 25, 20)
    assert info.duration == pytest.approx(0.8)
    assert not info.is_image and not info.has_audio


def test_variable_frame_times_are_exact(tmp_path):
    times = [Fraction(n, 12800) for n in (0, 100, 777, 778, 5000, 12801)]
    path = write(tmp_path / "vfr.mp4", [grey_ramp(i) for i in range(6)], times=times)
    frames = list(read_frames(path))
    assert [f.time for f in frames] == times
    assert indices(frames) == list(range(6))


def test_a_late_start_is_kept(tmp_path):
    times = [Fraction(i, 25) + 3 for i in range(4)]
    path = write(tmp_path / "late.mkv", [grey_ramp(i) for i in range(4)], times=times)
    assert [f.time for f in read_frames(path)] == times


def test_a_stream_without_times_counts_by_its_rate(tmp_path, ramp):
    path = tmp_path / "raw.h264"
    with av.open(str(ramp)) as source, av.open(str(path), "w", format="h264") as output:
        copy = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    frames = list(read_frames(path))
    assert indices(frames) == list(range(20))
    steps = {b.time - a.time for a, b in pairwise(frames)}
    assert steps == {Fraction(1, 25)}


def test_a_range_beyond_the_end(ramp):
    with pytest.raises(VideoError, match="has 20 frames, so none from index 20 on"):
        list(read_frames(ramp, 20))
    with pytest.raises(ValueError, match="0 <= start < stop"):
        read_frames(ramp, 3, 3)


def test_frames_are_freed_without_the_garbage_collector(tmp_path):
    def alive():
        return sum(type(o) is av.VideoFrame for o in gc.get_objects())

    path = write(tmp_path / "large.mp4", [grey_ramp(i % 20, 640, 480) for i in range(60)])
    gc.collect()  # what other tests have left
    before = alive()
    gc.disable()
    try:
        for _ in read_frames(path):
            pass
        more = alive() - before
    finally:
        gc.enable()
    assert more < 30


def test_pixels_can_be_made_again_to_the_bit(ramp):
    frames = list(read_frames(ramp))
    assert all(frame.again is not None for frame in frames)
    assert all(torch.equal(f.again(), f.pixels) for f in frames if f.again)


def test_frames_are_read_lazily(ramp):
    frames = read_frames(ramp)
    assert next(frames).time == 0
    frames.close()


def corners(height=24, width=40):
    """A picture whose corners tell how it lies: red, green / blue, white."""
    picture = torch.zeros(3, height, width)
    picture[0, : height // 2, : width // 2] = 1
    picture[1, : height // 2, width // 2 :] = 1
    picture[2, height // 2 :, : width // 2] = 1
    picture[:, height // 2 :, width // 2 :] = 1
    return picture


def write_oriented(path, matrix, **context):
    """Write `corners` with a display matrix (a b / c d) into the MP4 track header."""
    array = (corners().permute(1, 2, 0) * 255).byte().numpy()
    frame = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format="yuv444p")
    write(path, [frame], **context)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (int(v * 65536) for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 1, -1, 0), lambda x: torch.rot90(x, -1, (1, 2))),  # a phone held upright
        ((-1, 0, 0, -1), lambda x: torch.rot90(x, 2, (1, 2))),
        ((0, -1, 1, 0), lambda x: torch.rot90(x, 1, (1, 2))),
        ((-1, 0, 0, 1), lambda x: x.flip(2)),
        ((1, 0, 0, -1), lambda x: x.flip(1)),
        ((0, 1, 1, 0), lambda x: x.transpose(1, 2)),
    ],
)
def test_orientation_is_applied(tmp_path, matrix, expected):
    path = tmp_path / "turned.mp4"
    write_oriented(path, matrix)
    (read,) = read_frames(path)
    wanted = expected(corners())
    info = probe(path)
    assert (info.height, info.width) == wanted.shape[1:]
    assert read.pixels.shape == wanted.shape
    assert (read.pixels - wanted).abs().mean() < 0.05
    assert read.pixels.is_contiguous()


def test_pixel_aspect_turns_with_the_picture(tmp_path):
    path = tmp_path / "wide.mp4"
    write_oriented(path, (1, 0, 0, 1), sample_aspect_ratio=Fraction(4, 3))
    assert probe(path).pixel_aspect == Fraction(4, 3)
    write_oriented(path, (0, 1, -1, 0), sample_aspect_ratio=Fraction(4, 3))
    assert probe(path).pixel_aspect == Fraction(3, 4)


def test_odd_size_and_one_row(tmp_path):
    for width, height in ((33, 17), (64, 1), (1, 1)):
        values = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
        path = tmp_path / f"{width}x{height}.mov"
        write(path, [av.VideoFrame.from_ndarray(values, format="rgb24")], codec="png")
        (read,) = read_frames(path)
        torch.testing.assert_close(
            read.pixels, torch.from_numpy(values).permute(2, 0, 1) / 255, atol=1e-6, rtol=0
        )


def test_a_file_object_can_be_read_twice_at_once(ramp):
    source = io.BytesIO(ramp.read_bytes())
    source.seek(11)
    assert probe(source).frame_count == 20
    first, second = read_frames(source), read_frames(source, 10)
    assert indices([next(first), next(second), next(first), next(second)]) == [0, 10, 1, 11]
    with pytest.raises(VideoError, match="given file object"):
        probe(io.BytesIO(b"nonsense"))


def test_a_change_of_size_is_rescaled_to_the_first(tmp_path, caplog):
    parts = [grey_ramp(0), grey_ramp(1, 64, 48)]
    data = b""
    for index, frame in enumerate(parts):
        data += write(tmp_path / f"{index}.h264", [frame]).read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(data)
    frames = list(read_frames(path))
    assert [tuple(f.pixels.shape) for f in frames] == [(3, 16, 32)] * 2
    assert indices(frames) == [0, 1]
    assert "64x48 is rescaled" in caplog.text


def test_cover_art_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    cover = write(tmp_path / "cover.mov", [av.VideoFrame(8, 8, "rgb24")], codec="png")
    with av.open(str(path), "w") as output:
        audio = output.add_stream("mp3", rate=44100, layout="mono")
        with av.open(str(cover)) as source:
            art = output.add_stream_from_template(source.streams.video[0], opaque=True)
            art.disposition = 0x400
            packet = next(p for p in source.demux() if p.size)
            packet.stream = art
            sound = av.AudioFrame(format="fltp", layout="mono", samples=1152)
            sound.sample_rate = 44100
            output.mux(packet)
            output.mux(audio.encode(sound))
            output.mux(audio.encode(None))
    with pytest.raises(VideoError, match=r"song.mp3: has no video stream"):
        probe(path)


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\x00" * 5000])
def test_what_is_no_video_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    for action in (probe, lambda p: next(read_frames(p))):
        with pytest.raises(VideoError, match=r"broken.mp4: cannot be read") as caught:
            action(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.mp4", "absent_%03d.png", "no/such/folder_%d.png"])
def test_a_missing_source_is_named(tmp_path, name):
    for action in (probe, read_frames):
        with pytest.raises(VideoError, match=Path(name).name):
            action(tmp_path / name)


def many_keyframes(path):
    frames = [grey_ramp(i) for i in range(20)]
    return write(path, frames, gop_size=1, max_b_frames=0)


def test_a_damaged_frame_does_not_end_the_film(tmp_path):
    path = many_keyframes(tmp_path / "hurt.mkv")
    with av.open(str(path)) as source:
        packets = [(p.pos, p.size) for p in source.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    position, size = packets[10]
    data[position + 12 : position + size] = b"\xff" * (size - 12)
    path.write_bytes(data)
    seen = indices(read_frames(path))
    assert seen[:9] == list(range(9)) and seen[-1] == 19
    assert len(seen) >= 19


def test_a_truncated_file_yields_its_beginning(tmp_path):
    path = many_keyframes(tmp_path / "cut.mkv")
    data = path.read_bytes()
    with av.open(str(path)) as source:
        packets = [(p.pos, p.size) for p in source.demux(video=0) if p.size]
    path.write_bytes(data[: packets[12][0] + packets[12][1] // 2])
    seen = indices(read_frames(path))
    assert seen[:12] == list(range(12)) and len(seen) <= 13


def test_a_video_of_which_nothing_decodes(tmp_path):
    path = many_keyframes(tmp_path / "dead.mkv")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as source:
        packets = [(p.pos, p.size) for p in source.demux(video=0) if p.size]
    for position, size in packets:
        data[position + 8 : position + size] = b"\xff" * (size - 8)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"dead.mkv: "):
        list(read_frames(path))
