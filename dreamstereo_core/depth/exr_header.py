"""Which channel of an EXR is the depth, and a header that makes FFmpeg read that one.

FFmpeg knows R, G, B, A and Y only, but decodes each compression and skips what it does not know.
So the depth channel is called Y and every other one something else, by names as long as before:
nothing in the file moves. (The layout of the header: openexr.com, "OpenEXR File Layout".)
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)

_MAGIC = b"\x76\x2f\x31\x01"
_DEEP, _MULTIPART = 0x800, 0x1000
_MOST_ATTRIBUTES, _MOST_PARTS = 10_000, 1000
_PREFERRED = ("z", "depth", "v", "y")
_VECTORS = {"z": "x", "y": "x", "v": "u"}
"""A channel that belongs to a position, a normal or a motion where the layer has the other one."""


@dataclass(frozen=True)
class _Channel:
    name: str
    part: int
    at: int
    """Where the name begins in the file."""

    @property
    def layer(self) -> tuple[int, str]:
        return self.part, self.name.rpartition(".")[0]

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2].lower()


def select_depth(data: bytes, name: str) -> tuple[bytes, dict[str, str]]:
    """Return the file's bytes, channels renamed, and the options with which FFmpeg reads its depth.

    The depth is a channel whose last part is Z, depth, V or Y; where there is none, nothing is
    changed, and FFmpeg reads R, G and B.

    Raises:
        ValueError: no EXR, a damaged header, or deep data.
    """
    channels = _channels(data)
    layers: dict[tuple[int, str], set[str]] = {}
    for channel in channels:
        layers.setdefault(channel.layer, set()).add(channel.last)
    found = [
        channel
        for wanted in _PREFERRED
        for channel in channels
        if channel.last == wanted and _VECTORS.get(wanted) not in layers[channel.layer]
    ]
    if not found:
        return data, {}
    depth = found[0]
    if rivals := [c.name for c in found if c.last == depth.last and c is not depth]:
        _log.warning("%s: has several depths (%s, %s); the first one is used",
                     name, depth.name, ", ".join(rivals))  # fmt: skip
    renamed = bytearray(data)
    for channel in channels:
        length = len(channel.name.encode("latin-1"))
        renamed[channel.at : channel.at + length] = b"q" * length
    length = len(depth.name.encode("latin-1"))
    renamed[depth.at + length - 1] = ord("Y")
    options = {}
    if length > 1:
        layer = "d" * max(1, length - 2)
        head = f"{layer}.Y" if length > 2 else "dY"
        renamed[depth.at : depth.at + length] = head.encode()
        options["layer"] = layer
    if depth.part:
        options["part"] = str(depth.part)
    return bytes(renamed), options


def _channels(data: bytes) -> list[_Channel]:
    """Return all channels of all parts."""
    if data[:4] != _MAGIC:
        raise ValueError("is no EXR")
    flags = int.from_bytes(data[4:8], "little")
    if flags & _DEEP:
        raise ValueError("has deep data, which is not supported; save it as flat EXR")
    at, channels = 8, []
    for part in range(_MOST_PARTS):
        if data[at : at + 1] in (b"", b"\0"):
            break
        at = _read_part(data, at, part, channels)
        if not flags & _MULTIPART:
            break
    return channels


def _read_part(data: bytes, at: int, part: int, channels: list[_Channel]) -> int:
    """Read the attributes of one header; return where the next one begins."""
    for _ in range(_MOST_ATTRIBUTES):
        name, at = _text(data, at)
        if not name:
            return at
        kind, at = _text(data, at)
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + size > len(data):
            break
        if (name, kind) == ("channels", "chlist"):
            place = at
            while place < at + size:
                channel, end = _text(data, place)
                if not channel:
                    break
                channels.append(_Channel(channel, part, place))
                place = end + 16  # type, linearity, sampling
        at += size
    raise ValueError("has a damaged header")


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Return a text that ends with 0, and what follows it."""
    end = data.find(b"\0", at, at + 256)
    if end < 0:
        raise ValueError("has a damaged header")
    return data[at:end].decode("latin-1"), end + 1
