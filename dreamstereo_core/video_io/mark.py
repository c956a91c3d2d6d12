"""Mark files as made by DreamStereo, in a container's track or an image's comment."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from .source import IMAGE_SUFFIXES, VideoError, open_input

NAME = "DreamStereo"
TRACK = {"handler_name": NAME}
"""Metadata of a video track."""

_STEREO_SUFFIXES = (".mpo", ".jps", ".gif")
_COMMENT = NAME.encode()
_HEAD, _TAIL = 64, 64  # bytes at an image's ends in which the mark lies


def mark_image(data: bytes, suffix: str) -> bytes:
    """Return an encoded PNG, JPEG or WebP with the mark in a comment of its format."""
    if suffix == ".png":  # a tEXt chunk before the last one, IEND
        chunk = b"tEXtSoftware\0" + _COMMENT
        framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return data[:-12] + framed + data[-12:]
    if suffix == ".webp":  # an unknown chunk at the end, which readers ignore
        data += b"DSTR" + struct.pack("<I", len(_COMMENT)) + _COMMENT + bytes(len(_COMMENT) % 2)
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(_COMMENT) + 2) + _COMMENT + data[2:]


def is_own(path: Path) -> bool:
    """Tell whether a file bears the mark."""
    try:
        if path.suffix.lower() in (*IMAGE_SUFFIXES, *_STEREO_SUFFIXES):
            data = path.read_bytes()
            return _COMMENT in data[:_HEAD] or _COMMENT in data[-_TAIL:]
        with open_input(path) as container:
            tags = [stream.metadata for stream in container.streams.video]
            return any(
                key.lower() == "handler_name" and value == NAME
                for tag in tags
                for key, value in tag.items()
            )
    except (OSError, VideoError):
        return False
