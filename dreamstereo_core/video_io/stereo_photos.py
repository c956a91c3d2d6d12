"""Write a pair of views as a photograph that viewers know: MPO, JPS, or a wigglegram."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .encode import VideoWriter
from .encode_options import EncodeOptions
from .exif import CameraData, with_exif
from .info import VideoInfo
from .mark import NAME, mark_image

_QUALITY = 95
_STEP_S = Fraction(1, 10)  # of a wigglegram, between two views
_ROUNDS = 6  # of a wigglegram as video, which does not repeat by itself
_JPS, _LEFT_FIRST, _SIDE_BY_SIDE, _STEREO = b"_JPSJPS_", 0x04, 2, 1
"""JPS's segment: its name, and of its descriptor a flag, the layout and the kind of picture."""
_LARGEST_ICC = 0xFFFF - 16


def write_mpo(path: Path, left: Tensor, right: Tensor, camera: CameraData) -> None:
    """Write two JPEGs in one file, the left view first (CIPA DC-007).

    Args:
        path: to write to.
        left: `[3, H, W]` in [0, 1].
        right: likewise.
        camera: what the source's camera wrote.
    """
    first, second = (as_image(view) for view in (left, right))
    with BytesIO() as file:
        first.save(file, "MPO", save_all=True, append_images=[second], quality=_QUALITY,
                   subsampling=0)  # fmt: skip
        data = _disparity_types(file.getvalue())
    # The index counts from itself on, so that what stands before it moves nothing.
    path.write_bytes(_described(data, camera))


def _disparity_types(data: bytes) -> bytes:
    """Say in an MPO's index that its pictures are views of one scene (DC-007, 5.2.3.3).

    Pillow writes the type "undefined" for both; a television looks for "disparity".
    """
    begin = data.index(b"MPF\0") + 4
    order = "little" if data[begin : begin + 2] == b"II" else "big"
    changed = bytearray(data)
    at = begin + int.from_bytes(data[begin + 4 : begin + 8], order)
    for entry in range(int.from_bytes(data[at : at + 2], order)):
        field = at + 2 + 12 * entry
        if int.from_bytes(data[field : field + 2], order) == 0xB002:
            table = begin + int.from_bytes(data[field + 8 : field + 12], order)
            for picture, first in enumerate((0x20000000, 0)):  # the first one represents both
                place = table + 16 * picture
                changed[place : place + 4] = (first | 0x020002).to_bytes(4, order)
    return bytes(changed)


def write_jps(path: Path, left: Tensor, right: Tensor, camera: CameraData) -> None:
    """Write both views side by side as JPEG, with JPS's segment that says so; see `write_mpo`.

    Most of the files of this kind are for crossed eyes, so the segment says which view is where.
    """
    both = as_image(torch.cat([left, right], dim=-1))
    with BytesIO() as file:
        both.save(file, "JPEG", quality=_QUALITY, subsampling=0)
        data = file.getvalue()
    segment = _JPS + struct.pack(">H4B", 4, 0, _LEFT_FIRST, _SIDE_BY_SIDE, _STEREO)
    head = data[:2] + b"\xff\xe3" + struct.pack(">H", len(segment) + 2) + segment
    path.write_bytes(_described(head + data[2:], camera))


def _described(data: bytes, camera: CameraData) -> bytes:
    """Put EXIF, colour profile and our mark into a JPEG."""
    if camera.icc and len(camera.icc) < _LARGEST_ICC:  # a larger one would need several segments
        segment = b"ICC_PROFILE\0\1\1" + camera.icc
        size = struct.pack(">H", len(segment) + 2)
        data = data[:2] + b"\xff\xe2" + size + segment + data[2:]
    return mark_image(with_exif(data, ".jpg", camera.exif), ".jpg")


def write_wigglegram(path: Path, views: Sequence[Tensor], layout: str) -> None:
    """Write views `[3, H, W]` that follow one another, there and back again, without an end.

    Args:
        path: to write to.
        views: from the left one to the right one.
        layout: "wiggle_gif" or "wiggle_webp".
    """
    first, *others = (as_image(view) for view in _round_trip(views))
    kind = "GIF" if layout == "wiggle_gif" else "WEBP"
    how = {"quality": 90} if kind == "WEBP" else {}
    with BytesIO() as file:
        first.save(file, kind, save_all=True, append_images=others, loop=0,
                   duration=round(1000 * _STEP_S), **how)  # fmt: skip
        data = file.getvalue()
    if kind == "GIF":  # a comment before the last byte
        comment = NAME.encode()
        data = data[:-1] + b"\x21\xfe" + bytes([len(comment)]) + comment + b"\0" + data[-1:]
    else:
        data = mark_image(data, ".webp")
    path.write_bytes(data)


def write_wiggle_video(
    target: Path, views: Sequence[Tensor], info: VideoInfo, encode: EncodeOptions, overwrite: bool
) -> None:
    """Write such views as a video, six times there and back.

    Raises:
        VideoError: the target cannot be written.
    """
    height, width = views[0].shape[-2:]
    with VideoWriter(target, info, width, height, encode, overwrite=overwrite) as writer:
        for number, view in enumerate(_round_trip(views) * _ROUNDS):
            writer.write(view[None], [number * _STEP_S])


def _round_trip(views: Sequence[Tensor]) -> list[Tensor]:
    return [*views, *views[-2:0:-1]]


def as_image(view: Tensor) -> Image.Image:
    """Return `[3, H, W]` in [0, 1] as Pillow's image of 8 bits."""
    levels = view.detach().to("cpu", torch.float32).clamp(0, 1).mul(255).round()
    return Image.fromarray(np.ascontiguousarray(levels.byte().movedim(0, -1).numpy()))
