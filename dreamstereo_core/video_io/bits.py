"""HEVC's units and their bits: find units in a stream, read and write the fields of one."""

from __future__ import annotations

import re

_START = b"\0\0\1"
_FORBIDDEN = re.compile(rb"\0\0(?=[\0-\3])")


def split_units(stream: bytes) -> list[bytes]:
    """Return the units of a byte stream with start codes (ITU-T H.265, annex B)."""
    return [unit.rstrip(b"\0") for unit in stream.split(_START)[1:]]


def join_units(units: list[bytes]) -> bytes:
    """Return units as a byte stream with start codes."""
    return b"".join(b"\0" + _START + unit for unit in units)


class BitReader:
    """Reads the fields of a unit, without the two bytes of its header."""

    def __init__(self, unit: bytes) -> None:
        data = unit[2:].replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        """Read u(count).

        Raises:
            ValueError: the unit ends before.
        """
        self._at += count
        if self._at > len(self._bits):
            raise ValueError("a unit of the video stream ends too early")
        return int(self._bits[self._at - count : self._at] or "0", 2)

    def exponential(self) -> int:
        """Read ue(v)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


class BitWriter:
    """Writes the fields of a unit."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def put(self, value: int, count: int = 1) -> BitWriter:
        """Write u(count)."""
        self._bits.append(f"{value:0{count}b}" if count else "")
        return self

    def exponential(self, *values: int) -> BitWriter:
        """Write each value as ue(v)."""
        for value in values:
            digits = f"{value + 1:b}"
            self._bits.append("0" * (len(digits) - 1) + digits)
        return self

    def align(self, bit: int) -> BitWriter:
        """Repeat a bit up to the next whole byte."""
        return self.put(bit * ((1 << self._missing) - 1), self._missing)

    def payload(self) -> bytes:
        """Return whole bytes: a 1 and zeros close the last one, if it is not full."""
        if self._missing:
            self.put(1).align(0)
        text = "".join(self._bits)
        return int(text, 2).to_bytes(len(text) // 8, "big")

    def unit(self, kind: int) -> bytes:
        """Return a unit of the base layer, closed, with its header and emulation prevention."""
        self.put(1).align(0)
        return bytes([kind << 1, 1]) + _FORBIDDEN.sub(b"\0\0\3", self.payload())

    @property
    def _missing(self) -> int:
        return -sum(map(len, self._bits)) % 8
