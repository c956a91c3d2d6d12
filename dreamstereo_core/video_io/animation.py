"""Read animated WebP by Pillow, since FFmpeg does not decode it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from av import VideoFrame
from PIL import Image, UnidentifiedImageError

from .color import raw_view
from .source import Source, VideoError, image_paths, open_bytes

_SHORTEST, _INSTEAD = 11, 100
"""Milliseconds: a frame shown for less than the first gets the second, as in browsers."""
_HEAD, _ANIMATED = 21, 2


def is_animated_webp(source: Source) -> bool:
    """Tell whether a file is a WebP whose flags say that it is animated."""
    if image_paths(source) is not None:
        return False
    with open_bytes(source) as file:
        head = file.read(_HEAD)
    is_webp = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X"
    return is_webp and len(head) == _HEAD and bool(head[20] & _ANIMATED)


def webp_times(file: BinaryIO, name: str) -> list[Fraction]:
    """Return when each frame of a WebP begins, and when the last one ends, in seconds.

    Raises:
        VideoError: the file is damaged.
    """
    # The chunks are read here, since Pillow knows a frame's duration only after decoding it.
    file.seek(12)
    elapsed, times = 0, [Fraction(0)]
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], "little")
        start = file.tell()
        if head[:4] == b"ANMF":
            content = file.read(16)
            duration = int.from_bytes(content[12:15], "little")
            elapsed += duration if duration >= _SHORTEST else _INSTEAD
            times.append(Fraction(elapsed, 1000))
        file.seek(start + size + size % 2)
    if len(times) == 1:
        raise VideoError(f"{name}: its animation has no frame")
    return times


def read_webp(file: BinaryIO, times: list[Fraction], name: str) -> Iterator[VideoFrame]:
    """Yield the composed frames of a WebP as RGBA, with time stamps in milliseconds.

    Raises:
        VideoError: a frame cannot be decoded.
    """
    try:
        with Image.open(file, formats=["WEBP"]) as image:
            for index, time in enumerate(times[:-1]):
                try:
                    image.seek(index)
                except EOFError:  # a truncated file ends early
                    return
                yield _frame(image, time)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise VideoError(f"{name}: cannot be decoded ({error})") from error


def _frame(image: Image.Image, time: Fraction) -> VideoFrame:
    pixels = np.asarray(image.convert("RGBA"))
    frame = VideoFrame(pixels.shape[1], pixels.shape[0], "rgba")
    plane = frame.planes[0]
    lines = raw_view(plane, np.uint8).reshape(plane.height, -1)
    lines[:, : 4 * frame.width] = pixels.reshape(frame.height, -1)
    frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
    return frame
