"""What a camera wrote about a photograph: date, place, camera, colour space."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from .source import Source

_ORIENTATION = 0x0112
_LONGEST = 0xFFFF - 8  # of a JPEG segment


class CameraData(NamedTuple):
    """EXIF without the orientation, since pictures are upright here, and the ICC profile."""

    exif: bytes = b""
    """As TIFF, without a head of its own."""
    icc: bytes = b""


def read_camera_data(source: Source) -> CameraData:
    """Return what Pillow finds in a file: JPEG, PNG, WebP, TIFF and AVIF; else nothing."""
    if not isinstance(source, str | Path) or os.path.isdir(source):
        return CameraData()
    try:
        with Image.open(source) as image:
            exif, icc = image.getexif(), image.info.get("icc_profile") or b""
            exif.pop(_ORIENTATION, None)
            for tag in [tag for tag in exif if tag > 0xFFFF or tag in _OF_THE_PIXELS]:
                del exif[tag]
            data = exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b""
            return CameraData(data, icc)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError,
            KeyError, TypeError, struct.error):  # fmt: skip
        return CameraData()  # damaged EXIF ends no conversion


# Of a TIFF's own pixels: sizes, strips, tiles, sample formats.
_OF_THE_PIXELS = {*range(0x00FE, 0x0104), 0x0106, 0x0111, *range(0x0115, 0x011A), 0x011C,
                  0x013D, *range(0x0140, 0x0146), *range(0x0152, 0x0156), 0x015B, 0x0211, 0x0212,
                  0x0213, 0x0214, 0x8773}  # fmt: skip


def with_exif(data: bytes, suffix: str, exif: bytes) -> bytes:
    """Return an encoded JPEG or PNG with EXIF in it; anything else comes back as it is."""
    if not exif or len(exif) > _LONGEST:
        return data
    if suffix in (".jpg", ".jpeg", ".jps"):
        segment = b"Exif\0\0" + exif
        head = data[:2]
        return head + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    if suffix == ".png":  # behind IHDR, which has 25 bytes
        chunk = b"eXIf" + exif
        framed = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return data[:33] + framed + data[33:]
    return data
