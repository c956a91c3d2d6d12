"""Convert decoded frames to RGB and RGB to 4:2:0, in floats, by the tags' matrix and range.

swscale only converts frames to a planar format of the same depth and enlarges the chroma. Its own
RGB conversion is off by one or two 8-bit levels, which would waste 10-bit sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from av import VideoFrame
from torch import Tensor

# NumPy does the arithmetic here, not torch: torch's threads would compete with the encoder's for
# the cores, which costs far more than one thread needs for a frame.
Array: TypeAlias = np.ndarray

UNSPECIFIED = 2
"""FFmpeg's number for unspecified primaries, transfer and matrix; for the range it is 0."""
LIMITED, FULL = 1, 2

BICUBIC = 4
_LUMA_WEIGHTS = {  # matrix: (Kr, Kb), ITU-T H.273 table 4
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}


@dataclass(frozen=True)
class ColorTags:
    """What the pixel values of a stream mean, in FFmpeg's (ITU-T H.273) numbers."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    range: int = 0


def resolve_matrix(matrix: int, width: int, height: int) -> int:
    """Return the matrix to use; if it is unspecified, it depends on the size, as in players.

    Raises:
        ValueError: no weights define the matrix (YCgCo, ICtCp, constant luminance).
    """
    if matrix in (0, UNSPECIFIED, 3):
        high_definition = max(width, height) >= 1280 or min(width, height) > 576
        return 1 if high_definition else 6
    if matrix not in _LUMA_WEIGHTS:
        raise ValueError(f"its colour matrix ({matrix} in ITU-T H.273) is not supported")
    return matrix


def frame_to_rgb(frame: VideoFrame, width: int, height: int) -> Tensor:
    """Convert one decoded frame to RGB [3, height, width] in [0, 1], without its alpha channel.

    A frame of another size is rescaled to `width` x `height` pixels.

    Raises:
        ValueError: the frame's colour matrix is not supported.
    """
    name = frame.format.name
    if "f32" in name or "f16" in name:
        raise ValueError(f"expected integer pixels, got floats ({name}); only depth may have them")
    bits = max(8, frame.format.components[0].bits)
    depth = "" if bits == 8 else f"{min(b for b in (10, 12, 16) if b >= bits)}le"
    size = {"width": width, "height": height, "interpolation": BICUBIC}
    if frame.format.is_rgb or frame.format.has_palette:
        return _rgb_to_tensor(frame.reformat(format=f"gbrp{depth}" if depth else "rgb24", **size))
    grey = name.startswith(("gray", "ya", "mono"))
    # An untagged grey frame counts as full range, as in FFmpeg and in grey image formats.
    full = frame.color_range == FULL or name.startswith("yuvj") or (grey and not frame.color_range)
    # The same range on both sides, since swscale must not change the levels.
    size |= {"src_color_range": LIMITED + full, "dst_color_range": LIMITED + full}
    bits = int(depth[:-2] or 8)
    if grey:
        (plane,) = plane_views(frame.reformat(format=f"gray{depth}", **size))
        span, offset, _ = code_range(bits, full)
        luma = (plane.astype(np.float32) - offset) * (1 / span)
        return torch.from_numpy(np.broadcast_to(luma.clip(0, 1), (3, *luma.shape)).copy())
    layout = "yuvj444p" if name.startswith("yuvj") else f"yuv444p{depth}"
    matrix = resolve_matrix(frame.colorspace, frame.width, frame.height)
    planes = plane_views(frame.reformat(format=layout, **size))
    return torch.from_numpy(_yuv_to_rgb(planes, matrix, full, bits))


def rgb_to_frame(
    rgb: Tensor, matrix: int, full: bool, bits: int, whole_chroma: bool = False
) -> VideoFrame:
    """Convert RGB [3, H, W] in [0, 1] to a frame of 8 or 10 bits, tagged with its meaning.

    The frame is 4:2:0, or 4:4:4 with `whole_chroma`. Odd sizes grow by one row or column, a copy of
    the last one, since 4:2:0 needs even sizes.
    """
    kr, kb = _LUMA_WEIGHTS[matrix]
    span, offset, chroma_span = code_range(bits, full)
    red, green, blue = pixels = rgb.detach().to("cpu", torch.float32).numpy().clip(0, 1)
    height, width = red.shape
    if height % 2 or width % 2:
        padding = ((0, 0), (0, height % 2), (0, width % 2))
        red, green, blue = pixels = np.pad(pixels, padding, mode="edge")
        height, width = red.shape
    luma = green * (1 - kr - kb)
    term = red * kr
    luma += term
    luma += np.multiply(blue, kb, out=term)
    frame = VideoFrame(width, height, pixel_format(bits, whole_chroma))
    frame.colorspace, frame.color_range = matrix, FULL if full else LIMITED
    y_plane, u_plane, v_plane = plane_views(frame)
    for plane, color, weight in ((u_plane, blue, kb), (v_plane, red, kr)):
        color -= luma
        chroma = color if whole_chroma else _halve_chroma(color)
        chroma *= chroma_span / (2 - 2 * weight)
        chroma += (1 << (bits - 1)) + 0.5  # 0.5: the conversion to integers truncates
        np.copyto(plane, chroma.clip(0, (1 << bits) - 1, out=chroma), casting="unsafe")
    luma *= span
    luma += offset + 0.5
    np.copyto(y_plane, luma, casting="unsafe")
    return frame


def repacked(frame: VideoFrame, pixels: str) -> VideoFrame:
    """Return a frame with the same samples in another format of pixels."""
    result = frame.reformat(format=pixels)
    result.colorspace, result.color_range = frame.colorspace, frame.color_range
    return result


def pixel_format(bits: int, whole_chroma: bool) -> str:
    """Return FFmpeg's name for planar YUV of 8 or 10 bits, 4:2:0 or 4:4:4."""
    return f"yuv{444 if whole_chroma else 420}p{'' if bits == 8 else '10le'}"


def _halve_chroma(chroma: Array) -> Array:
    """Filter [H, W] to [H/2, W/2], sited at the left and between rows, as in MPEG-2 and H.264."""
    rows = chroma[0::2] + chroma[1::2]
    half = rows[:, 0::2] * 2
    half += rows[:, 1::2]
    half[:, 1:] += rows[:, 1:-1:2]
    half[:, 0] += rows[:, 0]
    half *= 1 / 8
    return half


def _yuv_to_rgb(planes: list[Array], matrix: int, full: bool, bits: int) -> Array:
    """Convert full-size Y, U, V planes [H, W] of integers to RGB [3, H, W] in [0, 1]."""
    kr, kb = _LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    span, offset, chroma_span = code_range(bits, full)
    y, blue, red = (plane.astype(np.float32) for plane in planes)
    y -= offset
    y *= 1 / span
    for chroma, weight in ((blue, kb), (red, kr)):
        chroma -= 1 << (bits - 1)
        chroma *= (2 - 2 * weight) / chroma_span  # now B - Y and R - Y
    rgb = np.empty((3, *y.shape), np.float32)
    np.add(y, red, out=rgb[0])
    np.add(y, blue, out=rgb[2])
    blue *= kb / kg
    red *= kr / kg
    np.subtract(y, blue, out=rgb[1])
    rgb[1] -= red
    return rgb.clip(0, 1, out=rgb)


def code_range(bits: int, full: bool) -> tuple[int, int, int]:
    """Return the span and the offset of luma codes, and the span of chroma codes."""
    if full:
        return (1 << bits) - 1, 0, (1 << bits) - 1
    return 219 << (bits - 8), 16 << (bits - 8), 224 << (bits - 8)


def _rgb_to_tensor(frame: VideoFrame) -> Tensor:
    """Convert an rgb24 or planar GBR frame to RGB [3, H, W] in [0, 1], without loss."""
    bits = frame.format.components[0].bits
    rgb = np.empty((3, frame.height, frame.width), np.float32)
    if frame.format.name == "rgb24":
        packed = raw_view(frame.planes[0], np.uint8).reshape(frame.height, -1)
        pixels = packed[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)
        rgb[:] = pixels.transpose(2, 0, 1)
    else:
        for channel, plane in zip((1, 2, 0), plane_views(frame), strict=True):
            rgb[channel] = plane
    rgb *= 1 / ((1 << bits) - 1)
    return torch.from_numpy(rgb.clip(0, 1, out=rgb))


def plane_views(frame: VideoFrame) -> list[Array]:
    """Return a planar frame's planes as views [H, W] of its own memory."""
    dtype = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    views = []
    for plane in frame.planes:
        view = raw_view(plane, dtype).reshape(plane.height, -1)
        views.append(view[:, : plane.width])
    return views


def raw_view(buffer: object, dtype: type) -> Array:
    """Return PyAV's memory (a plane, side data) as a flat array, without a copy."""
    return np.frombuffer(cast(Any, buffer), dtype)
