"""Writing one picture as PNG, JPEG or WebP."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av import VideoFrame
from av.codec import CodecContext
from torch import Tensor

from .color import FULL, rgb_to_frame
from .source import VideoError

_ENCODERS = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg", ".webp": "libwebp"}


class ImageSink:
    """Takes exactly one frame and writes it as an image."""

    def __init__(self, path: Path, target: Path, bit_depth: int) -> None:
        """Set the encoder up; `path` is written, `target` is what errors name."""
        self._path = path
        self._target = target
        self._encoder = _ENCODERS[target.suffix.lower()]
        self._deep = bit_depth > 8
        self._data: bytes | None = None

    def put(self, pixels: Tensor, time: Fraction) -> None:
        """Encode the picture [3, H, W].

        Raises:
            VideoError: it is the second one.
        """
        if self._data is not None:
            raise VideoError(f"{self._target}: an image holds one frame, more came")
        if self._encoder == "png":
            frame = _packed(pixels, 16 if self._deep else 8)
        elif self._encoder == "libwebp":
            frame = _packed(pixels, 8).reformat(format="bgra")
        else:
            frame = _jpeg_frame(pixels)
        self._data = _encode(self._encoder, frame)

    def finish(self) -> None:
        """Write the file."""
        self._path.write_bytes(self._data or b"")

    def close(self) -> None:
        """Nothing is open."""
