"""Read those boxes of ISO base media files that pictures need (ISO/IEC 14496-12, 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_IMAGE_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"}
_IMAGE_BRANDS |= {b"avif", b"avis", b"heif", b"jpeg", b"j2ki", b"vvic", b"evbi", b"unif"}
_MOST_BOXES, _LARGEST = 1000, 1 << 25


class Boxes:
    """The content of a box, read field by field from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def number(self, size: int) -> int:
        """Read a big-endian number of `size` bytes.

        Raises:
            ValueError: the box ends before it.
        """
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        """Read `size` bytes; ValueError where there are fewer."""
        if size > len(self.data) - self._at:
            raise ValueError("a box ends too early")
        self._at += size
        return self.data[self._at - size : self._at]

    def full(self) -> tuple[int, int]:
        """Read the version and the flags of a full box."""
        head = self.number(4)
        return head >> 24, head & 0xFFFFFF

    def children(self) -> Iterator[tuple[bytes, Boxes]]:
        """Yield the type and content of each box from here on, up to the end or to damage."""
        while self._at + 8 <= len(self.data):
            size, kind = struct.unpack_from(">I4s", self.data, self._at)
            size = size or len(self.data) - self._at
            if size < 8 or self._at + size > len(self.data):
                return
            yield kind, Boxes(self.data[self._at + 8 : self._at + size])
            self._at += size

    def child(self, *kinds: bytes) -> Boxes | None:
        """Return the first box below of the given types, one for each level, or None."""
        found: Boxes | None = self
        for kind in kinds:
            found = next((box for name, box in found.children() if name == kind), None)
            if found is None:
                return None
        return found


class ImageFile(NamedTuple):
    """The two boxes that describe the pictures of a HEIF or AVIF file."""

    meta: Boxes | None
    """Of still pictures: items, their properties and references, after the box's version."""
    moov: bytes | None
    """Of an animation: its tracks."""


def read_image_file(file: BinaryIO) -> ImageFile | None:
    """Return the boxes of a HEIF or AVIF file, or None for any other kind of file."""
    head = file.read(16)
    if len(head) < 16 or head[4:8] != b"ftyp":
        return None
    size = int.from_bytes(head[:4], "big")
    brands = head[8:12] + file.read(max(0, min(size, 256) - 16))
    if not {brands[i : i + 4] for i in range(0, len(brands), 4)} & _IMAGE_BRANDS:
        return None
    contents: dict[bytes, bytes] = {}
    at = size
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        size, start = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, start = int.from_bytes(head[8:], "big"), 16
        if head[4:8] in (b"meta", b"moov") and start <= size <= _LARGEST:
            file.seek(at + start)
            contents.setdefault(head[4:8], file.read(size - start))
        if size < start:  # 0: to the end of the file
            break
        at += size
    meta = contents.get(b"meta", b"")
    return ImageFile(Boxes(meta[4:]) if len(meta) > 4 else None, contents.get(b"moov"))


def alpha_track(moov: bytes, track: int) -> int | None:
    """Return the number of the track that holds the alpha channel of `track`, or None.

    Raises:
        ValueError: a box is damaged.
    """
    for kind, trak in Boxes(moov).children():
        if kind != b"trak":
            continue
        header, handler = Boxes(trak.data).child(b"tkhd"), Boxes(trak.data).child(b"mdia", b"hdlr")
        of = Boxes(trak.data).child(b"tref", b"auxl")
        if header is None or handler is None or of is None:
            continue
        version, _ = header.full()
        header.take(16 if version else 8)
        if handler.data[8:12] == b"auxv" and of.number(4) == track:
            return header.number(4)
    return None
