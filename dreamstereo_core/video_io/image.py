"""Write a picture, or numbered pictures, as PNG, JPEG or WebP."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import torch
from av import VideoFrame
from av.codec import CodecContext
from av.video.codeccontext import VideoCodecContext
from torch import Tensor

from .color import FULL, raw_view
from .exif import with_exif
from .mark import mark_image
from .source import NUMBER_PATTERN, VideoError

_ENCODERS = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg", ".webp": "libwebp"}
_FORMATS = {"mjpeg": "yuvj444p", "libwebp": "bgra"}
_OPTIONS = {
    "png": {},
    "mjpeg": {"flags": "+qscale", "global_quality": str(2 * 118)},  # 2 is the second finest step
    "libwebp": {"quality": "95"},
}


class ImageSink:
    """Takes exactly one frame and writes it as an image."""

    def __init__(self, path: Path, target: Path, bit_depth: int, exif: bytes = b"") -> None:
        """Prepare to write to `path`; errors name `target`."""
        self._exif = exif
        self._path = path
        self._target = target
        self._deep = bit_depth > 8
        self._data: bytes | None = None

    def put(self, pixels: Tensor, time: Fraction, *, cut: bool = False) -> None:
        """Encode the picture [3, H, W].

        Raises:
            VideoError: there was a picture before.
        """
        if self._data is not None:
            raise VideoError(
                f"{self._target}: an image holds one frame, but more came; numbered images have "
                "a name like frame_%05d.png"
            )
        self._data = _encode(pixels, self._target.suffix, self._deep, self._exif)

    def finish(self) -> None:
        """Write the file."""
        self._path.write_bytes(self._data or b"")

    def close(self) -> None:
        """Do nothing, since no file is open."""


class SequenceSink:
    """Writes each frame as an image of its own, numbered from 1."""

    def __init__(self, folder: Path, target: Path, bit_depth: int) -> None:
        """Prepare to write to `folder`; `target` is the pattern of the names."""
        self._folder = folder
        self._target = target
        self._deep = bit_depth > 8
        self._number = 0

    def put(self, pixels: Tensor, time: Fraction, *, cut: bool = False) -> None:
        """Write the picture [3, H, W]."""
        self._number += 1
        path = self._folder / numbered_name(self._target.name, self._number)
        path.write_bytes(_encode(pixels, self._target.suffix, self._deep))

    def finish(self) -> None:
        """Do nothing, since everything is written already."""

    def close(self) -> None:
        """Do nothing, since no file is open."""


def numbered_name(pattern: str, number: int) -> str:
    """Return the name of an image of a printf pattern: f_%03d.png and 7 give f_007.png."""
    return NUMBER_PATTERN.sub(lambda m: f"{number:0{int(m[1] or 0)}d}", pattern, count=1)


def _packed(pixels: Tensor, bits: int) -> VideoFrame:
    """Convert RGB [3, H, W] in [0, 1] to a packed rgb24 or rgb48be frame."""
    top = (1 << bits) - 1
    array = np.empty((*pixels.shape[1:], len(pixels)), np.uint8 if bits == 8 else ">u2")
    for channel, plane in enumerate(pixels.detach()):  # one at a time: memory
        levels = plane.to("cpu", torch.float32).clamp(0, 1).mul_(top).round_()
        array[..., channel] = levels.numpy()
    frame = VideoFrame(array.shape[1], array.shape[0], "rgb24" if bits == 8 else "rgb48be")
    plane = frame.planes[0]
    lines = raw_view(plane, np.uint8).reshape(plane.height, -1)
    packed = array.reshape(array.shape[0], -1).view(np.uint8)
    lines[:, : packed.shape[1]] = packed
    return frame


def _encode(pixels: Tensor, suffix: str, deep: bool, exif: bytes = b"") -> bytes:
    encoder = _ENCODERS[suffix.lower()]
    frame = _packed(pixels, 16 if deep and encoder == "png" else 8)
    if encoder != "png":
        frame = frame.reformat(format=_FORMATS[encoder], dst_color_range=FULL)
    context = cast(VideoCodecContext, CodecContext.create(encoder, "w"))
    context.width, context.height = frame.width, frame.height
    context.pix_fmt = frame.format.name
    context.time_base = Fraction(1, 25)
    context.options = _OPTIONS[encoder]
    packets = [*context.encode(frame), *context.encode(None)]
    data = b"".join(bytes(packet) for packet in packets)
    return mark_image(with_exif(data, suffix.lower(), exif), suffix.lower())
