"""EXR depth: floats as the file has them, beyond [0, 1] and all."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..video_io import VideoError
from ..video_io.color import raw_view
from ..video_io.info import decode_frames, video_stream
from ..video_io.source import Source, check_file, image_paths, open_input

SUFFIX = ".exr"
_FORMATS = {"grayf32le": 0, "gbrpf32le": 2, "gbrapf32le": 2}  # name: the plane of the first channel

_MAGIC = b"\x76\x2f\x31\x01"
_HEAD = 65536  # bytes of a file that hold its header
# A list of one channel: its length is 2 (the name) + 16 (its format) + 1 (the list's end).
_Z_ALONE, _Y_ALONE = (b"channels\0chlist\0\x13\0\0\0%c\0" % name for name in b"ZY")


def is_float(source: Source) -> bool:
    """Tell whether a file, or the first one of a folder or pattern, is an EXR."""
    images = image_paths(source) or [source]
    return isinstance(images[0], str | Path) and Path(images[0]).suffix.lower() == SUFFIX


def read_floats(source: str | Path, start: int = 0) -> Iterator[Tensor]:
    """Read ``[1, H, W]`` of each image from `start` on: R, Y, or a Z that is alone.

    Raises:
        VideoError: an image cannot be read, or has none of these channels.
    """
    for path in (image_paths(source) or [Path(source)])[start:]:
        with open_input(_with_luma(path)) as container:
            stream = video_stream(container, str(path))
            frame = next(decode_frames(container, stream, str(path)))
        if frame.format.name not in _FORMATS:
            raise VideoError(f"{path}: expected a float image, got {frame.format.name}")
        plane = frame.planes[_FORMATS[frame.format.name]]
        lines = raw_view(plane, np.float32).reshape(plane.height, -1)
        yield torch.from_numpy(lines[None, :, : plane.width].copy())


def _with_luma(path: Path) -> Source:
    """Return the file; one whose only channel is Z, which FFmpeg does not know, as one of Y."""
    check_file(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if not head.startswith(_MAGIC) or _Z_ALONE not in head:
            return path
        renamed = BytesIO(head.replace(_Z_ALONE, _Y_ALONE, 1) + file.read())
    renamed.name = str(path)
    return renamed
