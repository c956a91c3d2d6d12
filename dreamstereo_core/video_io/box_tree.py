"""Boxes of ISO base media files (ISO/IEC 14496-12, 4.2): make them, take a movie box apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_HEADS = {
    **dict.fromkeys((b"moov", b"trak", b"mdia", b"minf", b"stbl"), 0),
    b"stsd": 8,
    **dict.fromkeys((b"avc1", b"avc3", b"hvc1", b"hev1", b"av01"), 78),
}
"""Boxes that are taken apart, and how many bytes of their own stand before the boxes in them."""
SAMPLE_ENTRIES = (b"avc1", b"avc3", b"hvc1", b"hev1", b"av01")


def box(kind: str, *content: bytes) -> bytes:
    """Return a box (4.2): its size, its type, its content.

    Example:
        >>> list(box("free", b"ab"))
        [0, 0, 0, 10, 102, 114, 101, 101, 97, 98]
    """
    data = b"".join(content)
    return (8 + len(data)).to_bytes(4, "big") + kind.encode() + data


def full_box(kind: str, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return a box with a version and flags (4.2)."""
    return box(kind, bytes([version]), flags.to_bytes(3, "big"), *content)


def number(value: int, size: int) -> bytes:
    """Return a big-endian number of `size` bytes; a negative one as its complement."""
    return value.to_bytes(size, "big", signed=value < 0)


@dataclass
class Box:
    """A box that may be changed; only those that lead to a track's description have children."""

    kind: bytes
    head: bytes
    """What stands before the boxes in it; of a box that is not taken apart, all."""
    children: list[Box] = field(default_factory=list)

    def pack(self) -> bytes:
        """Return its bytes."""
        return box(self.kind.decode("latin-1"), self.head, *(c.pack() for c in self.children))

    def child(self, *kinds: bytes) -> Box | None:
        """Return the first box below of the given types, one for each level, or None."""
        found: Box | None = self
        for kind in kinds:
            found = next((c for c in found.children if c.kind == kind), None)
            if found is None:
                return None
        return found

    def replace(self, kind: bytes, *data: bytes) -> None:
        """Put boxes in the place of those of a type, or at the end."""
        places = [i for i, child in enumerate(self.children) if child.kind == kind]
        place = places[0] if places else len(self.children)
        kept = [child for child in self.children if child.kind != kind]
        kept[place:place] = [made for one in data for made in parse(one)]
        self.children = kept


def parse(data: bytes) -> Iterator[Box]:
    """Yield the boxes in `data`.

    Raises:
        ValueError: a box ends too early.
    """
    at = 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size < 8 or at + size > len(data):
            raise ValueError(f"box {kind!r}: expected at most {len(data) - at} bytes, got {size}")
        content = data[at + 8 : at + size]
        own = _HEADS.get(kind, len(content))
        yield Box(kind, content[:own], list(parse(content[own:])))
        at += size
