"""EXR depth: floats as the file has them, beyond [0, 1] and all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..video_io import VideoError
from ..video_io.color import raw_view
from ..video_io.info import decode_frames, video_stream
from ..video_io.source import Source, image_paths, open_input

SUFFIX = ".exr"
_FORMATS = {"grayf32le": 0, "gbrpf32le": 2, "gbrapf32le": 2}  # name: the plane of the first channel


def is_float(source: Source) -> bool:
    """Tell whether a file, or the first one of a folder or pattern, is an EXR."""
    images = image_paths(source) or [source]
    return isinstance(images[0], str | Path) and Path(images[0]).suffix.lower() == SUFFIX


def read_floats(source: str | Path, start: int = 0) -> Iterator[Tensor]:
    """Read the first channel ``[1, H, W]`` of each image from `start` on.

    Raises:
        VideoError: an image cannot be read, or has channels that are no R, G, B or Y.
    """
    for path in (image_paths(source) or [Path(source)])[start:]:
        with open_input(path) as container:
            stream = video_stream(container, str(path))
            frame = next(decode_frames(container, stream, str(path)))
        if frame.format.name not in _FORMATS:
            raise VideoError(f"{path}: expected a float image, got {frame.format.name}")
        plane = frame.planes[_FORMATS[frame.format.name]]
        lines = raw_view(plane, np.float32).reshape(plane.height, -1)
        yield torch.from_numpy(lines[None, :, : plane.width].copy())
