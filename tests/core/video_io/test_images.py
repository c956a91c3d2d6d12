"""Still images, folders and numbered files as sources."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from dreamstereo_core.video_io import VideoError, probe, read_frames


def save_image(path, array, layout, encoder="png"):
    frame = av.VideoFrame.from_ndarray(array, format=layout)
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = frame.width, frame.height, layout
    context.time_base = Fraction(1, 25)
    packets = [*context.encode(frame), *context.encode(None)]
    path.write_bytes(b"".join(bytes(p) for p in packets))
    return path


@pytest.mark.parametrize(
    ("layout", "channels", "dtype"),
    [
        ("rgb24", 3, np.uint8),
        ("rgba", 4, np.uint8),
        ("gray", 0, np.uint8),
        ("rgb48be", 3, np.uint16),
        ("gray16be", 0, np.uint16),
    ],
)
def test_png_is_read_exactly(tmp_path, layout, channels, dtype):
    top = np.iinfo(dtype).max
    shape = (7, 9, channels) if channels else (7, 9)
    values = np.random.default_rng(0).integers(0, top, shape, endpoint=True).astype(dtype)
    if channels == 4:
        values[..., 3] = top
    path = save_image(tmp_path / "still.png", values, layout)

    (read,) = read_frames(path)
    colors = values[..., :3] if channels else np.repeat(values[..., None], 3, 2)
    expected = torch.from_numpy(colors.astype(np.float64) / top).permute(2, 0, 1).float()
    torch.testing.assert_close(read.pixels, expected, atol=1e-6, rtol=0)
    info = probe(path)
    assert info.is_image and info.frame_count == 1 and info.duration is None
    assert info.bit_depth == (8 if dtype == np.uint8 else 10)
    assert read.time == 0


def numbered(folder, numbers, pattern="frame_{:05d}.png"):
    for number in numbers:
        values = np.full((6, 8, 3), number, np.uint8)
        save_image(folder / pattern.format(number), values, "rgb24")


def test_pattern_and_folder_in_numeric_order(tmp_path):
    numbered(tmp_path, [8, 9, 10, 12])
    (tmp_path / "notes.txt").write_text("not a picture")
    for source in (tmp_path, tmp_path / "frame_%05d.png", str(tmp_path / "frame_%d.png")):
        frames = list(read_frames(source))
        assert [round(float(f.pixels[0, 0, 0]) * 255) for f in frames] == [8, 9, 10, 12]
        assert [f.time for f in frames] == [Fraction(i, 24) for i in range(4)]
        info = probe(source)
        assert (info.frame_rate, info.frame_count, info.is_image) == (24, 4, False)
    assert [round(float(f.pixels[0, 0, 0]) * 255) for f in read_frames(tmp_path, 1, 3)] == [9, 10]


def test_a_folder_sorts_numbers_naturally(tmp_path):
    numbered(tmp_path, [2, 10, 1], "shot {}.png")
    values = [round(float(f.pixels[0, 0, 0]) * 255) for f in read_frames(tmp_path)]
    assert values == [1, 2, 10]


def test_a_literal_percent_or_colon_in_a_name(tmp_path):
    for name in ("50%d off.png", "a:b.png"):
        path = save_image(tmp_path / name, np.full((4, 4, 3), 7, np.uint8), "rgb24")
        (read,) = read_frames(path)
        assert round(float(read.pixels.mean()) * 255) == 7


def test_pictures_of_a_folder_get_one_size(tmp_path):
    """A portrait that is stored lying, and one of another size, become like the first."""
    for name, width, height in (("1.png", 8, 6), ("2.png", 6, 8), ("3.png", 16, 12)):
        save_image(tmp_path / name, np.full((height, width, 3), 90, np.uint8), "rgb24")
    assert {tuple(f.pixels.shape) for f in read_frames(tmp_path)} == {(3, 6, 8)}


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(VideoError, match="expected a folder of images"):
        probe(tmp_path)
