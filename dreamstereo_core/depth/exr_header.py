"""Find the depth channel of an EXR, and rewrite the header so that FFmpeg reads that channel.

FFmpeg knows the channels R, G, B, A and Y only, but decodes nearly every compression and skips the
channels that it does not know. So the depth channel is renamed to Y and every other one to
something else. The new names are as long as the old ones, so that nothing in the file moves. (The
layout of the header: openexr.com, "OpenEXR File Layout".)
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)

_MAGIC = b"\x76\x2f\x31\x01"
_DEEP, _MULTIPART = 0x800, 0x1000
_DWAA = 8  # DWAB is 9; both compress a channel by its name, so it must not be renamed
_MOST_ATTRIBUTES, _MOST_PARTS = 10_000, 1000
_PREFERRED = ("z", "depth", "v", "y")
_VECTORS = {"z": "x", "y": "x", "v": "u"}
"""Channel -> its companion; together in a layer they are a position, a normal or a motion."""


@dataclass(frozen=True)
class DepthChannel:
    """The channel that is the depth."""

    name: str
    part: int
    at: int
    """Where the name begins in the file."""
    others: tuple[tuple[int, int], ...]
    """Where the names of all channels begin, and their lengths."""
    plain: bool
    """Whether FFmpeg decodes it: it is in the first part, and no compression depends on names."""

    def alone(self, data: bytes) -> tuple[bytes, dict[str, str]]:
        """Return the file's bytes, channels renamed, and the options for FFmpeg's decoder."""
        renamed = bytearray(data)
        for at, length in self.others:
            renamed[at : at + length] = b"q" * length
        length = len(self.name.encode("latin-1"))
        layer = "d" * max(1, length - 2)  # FFmpeg accepts the name with a dot before Y, or without
        new = "Y" if length == 1 else "dY" if length == 2 else f"{layer}.Y"
        renamed[self.at : self.at + length] = new.encode()
        return bytes(renamed), {} if length == 1 else {"layer": layer}


@dataclass(frozen=True)
class _Channel:
    name: str
    part: int
    at: int

    @property
    def layer(self) -> tuple[int, str]:
        return self.part, self.name.rpartition(".")[0]

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2].lower()


def find_depth(data: bytes, name: str) -> DepthChannel | None:
    """Return the channel whose name ends in Z, depth, V or Y; None if there is none.

    Raises:
        ValueError: the file is no EXR, has a damaged header, or holds deep data.
    """
    channels, plain = _channels(data)
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
        return None
    depth = found[0]
    if rivals := [c.name for c in found if c.last == depth.last and c is not depth]:
        _log.warning("%s: has several depths (%s, %s); the first one is used",
                     name, depth.name, ", ".join(rivals))  # fmt: skip
    names = tuple((c.at, len(c.name.encode("latin-1"))) for c in channels)
    return DepthChannel(depth.name, depth.part, depth.at, names, plain and depth.part == 0)


def _channels(data: bytes) -> tuple[list[_Channel], bool]:
    """Return the channels of all parts, and whether no compression depends on their names."""
    if data[:4] != _MAGIC:
        raise ValueError("is no EXR")
    flags = int.from_bytes(data[4:8], "little")
    if flags & _DEEP:
        raise ValueError("has deep data, which is not supported; save it as flat EXR")
    at, channels, plain = 8, [], True
    for part in range(_MOST_PARTS):
        if data[at : at + 1] in (b"", b"\0"):
            break
        at, compression = _read_part(data, at, part, channels)
        plain = plain and compression < _DWAA
        if not flags & _MULTIPART:
            break
    return channels, plain


def _read_part(data: bytes, at: int, part: int, channels: list[_Channel]) -> tuple[int, int]:
    """Read the attributes of one header; return where the next one begins, and the compression."""
    compression = 0
    for _ in range(_MOST_ATTRIBUTES):
        name, at = _text(data, at)
        if not name:
            return at, compression
        kind, at = _text(data, at)
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if at + size > len(data):
            break
        if name == "compression":
            compression = data[at]
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
