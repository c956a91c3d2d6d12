"""EXR depth: floats as the file has them, also outside of [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import av
import numpy as np
import torch
from av.codec import CodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from torch import Tensor

from ..video_io import VideoError
from ..video_io.color import raw_view
from ..video_io.source import Source, image_paths, open_bytes, reason
from .colored import check_grey
from .exr_header import DepthChannel, find_depth

SUFFIX = ".exr"
_FORMATS = {"grayf": (0,), "gbrpf": (2, 0, 1), "gbrapf": (2, 0, 1)}
"""Start of a pixel format's name -> the planes of R, G and B, or of the only channel."""
_TYPES = {"16le": np.float16, "32le": np.float32}


def is_float(source: Source) -> bool:
    """Tell whether a file, or the first one of a folder or pattern, is an EXR."""
    images = image_paths(source) or [source]
    return isinstance(images[0], str | Path) and Path(images[0]).suffix.lower() == SUFFIX


def read_floats(source: str | Path, start: int = 0) -> Iterator[Tensor]:
    """Read ``[1, H, W]`` of each image from `start` on: its depth channel, else its grey R, G, B.

    Raises:
        VideoError: an image cannot be read, or has none of these channels.
        DepthError: R, G and B are a picture or a colour map.
    """
    for path in (image_paths(source) or [Path(source)])[start:]:
        planes = _decode(path)
        if len(planes) == 3:
            top = max(float(np.nanmax(np.abs(np.nan_to_num(planes, posinf=0, neginf=0)))), 1e-9)
            check_grey(torch.from_numpy(np.nan_to_num(planes / top)), str(path))
        yield torch.from_numpy(planes[:1].copy())


def _decode(path: Path) -> np.ndarray:
    """Return the depth channel ``[1, H, W]``, or R, G and B ``[3, H, W]``."""
    with open_bytes(path) as file:
        data = file.read()
    options: dict[str, str] = {}
    try:
        if (depth := find_depth(data, str(path))) is not None:
            if not depth.plain:
                return _by_openexr(path, depth)
            data, options = depth.alone(data)
        frame = _by_ffmpeg(data, options)
    except VideoError:
        raise
    except (FFmpegError, ValueError) as error:
        raise VideoError(f"{path}: cannot be read as EXR ({reason(error)})") from error
    name = frame.format.name
    start, dtype = name[:-4], _TYPES.get(name[-4:])
    if dtype is None or start not in _FORMATS:
        raise VideoError(f"{path}: expected a float image, got {name}")
    planes = []
    for index in _FORMATS[start]:
        plane = frame.planes[index]
        lines = raw_view(plane, dtype).reshape(plane.height, -1)
        planes.append(lines[:, : plane.width].astype(np.float32))
    return np.stack(planes)


def _by_ffmpeg(data: bytes, options: dict[str, str]) -> av.VideoFrame:
    decoder = cast(VideoCodecContext, CodecContext.create("exr", "r"))
    decoder.options = options
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    if not frames:
        raise ValueError("no picture in it")
    return frames[0]


def _by_openexr(path: Path, depth: DepthChannel) -> np.ndarray:
    """Read EXR of several parts or with DWA compression, which FFmpeg cannot."""
    try:
        import OpenEXR  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise VideoError(
            f"{path}: its depth {depth.name!r} lies in several parts or in DWA compression; "
            "pip install openexr, or save it with ZIP compression in one part"
        ) from error
    try:
        parts = OpenEXR.File(str(path), separate_channels=True).parts
        pixels = parts[depth.part].channels[depth.name].pixels
    except (RuntimeError, KeyError, IndexError) as error:
        raise VideoError(f"{path}: cannot be read as EXR ({error})") from error
    return pixels.astype(np.float32)[None]
