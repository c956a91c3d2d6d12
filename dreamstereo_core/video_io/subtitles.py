"""Rewrite text subtitles in the codec that a container can hold."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from io import BytesIO
from typing import Any, cast

import av
from av import Packet
from av.container import OutputContainer
from av.error import FFmpegError
from av.stream import Stream

from .audio import LONGEST_SUBTITLE, TimedPacket

TEXT_CODEC = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
"""Container -> the codec of the text subtitles that it holds."""

_TICK = Fraction(1, 1000)
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_AT_TOP = re.compile(rb"\{[^{}]*\\an[789]")


class TextSubtitle:
    """A stream whose events are decoded and written anew as plain text."""

    lead_in = Fraction(LONGEST_SUBTITLE)

    def __init__(self, source: Stream, output: OutputContainer) -> None:
        self._decoder: Any = source.codec_context
        codec = TEXT_CODEC[output.format.name]
        self._boxed = codec == "mov_text"
        with av.open(BytesIO(_EMPTY[codec])) as empty:
            self.stream = output.add_stream_from_template(empty.streams[0])
        self._start = Fraction(0)
        self._stop: Fraction | None = None
        self._held: tuple[int, int, str] | None = None
        """Begin and end in ticks, and the text; mov_text shows one at a time."""

    def start(self, start: Fraction, stop: Fraction | None) -> None:
        """Begin at `start` seconds of the source's clock and end at `stop`."""
        self._start, self._stop = start, stop

    def convert(self, packet: Packet, begin: Fraction) -> Iterator[TimedPacket]:
        """Yield the event, cut to the range."""
        length = (packet.duration or 0) * cast(Fraction, packet.time_base)
        end = begin + (length or 3)
        end = end if self._stop is None else min(end, self._stop)
        first, last = (round((max(t, self._start) - self._start) / _TICK) for t in (begin, end))
        text = event_text(self._decoder, packet)[0]
        if not text or last <= first:
            return
        if not self._boxed:
            yield self._packet(first, last, text)
            return
        held, self._held = self._held, (first, last, text)
        if held is not None and held[1] > first:  # two at the same time are shown together
            if held[2] != text:
                self._held = (max(first, held[0]), max(last, held[1]), f"{held[2]}\n{text}")
            held = (held[0], first, held[2]) if held[0] < first else None
        if held is not None:
            yield self._packet(*held)

    def flush(self) -> Iterator[TimedPacket]:
        """Yield the event that is still held."""
        if self._held is not None:
            yield self._packet(*self._held)

    def _packet(self, first: int, last: int, text: str) -> TimedPacket:
        data = text.encode()[:0xFFFF]
        packet = Packet(struct.pack(">H", len(data)) + data if self._boxed else data)
        packet.stream, packet.time_base = self.stream, _TICK
        packet.pts = packet.dts = first
        packet.duration = last - first
        return first * _TICK, packet


def event_text(decoder: Any, packet: Packet) -> tuple[str, bool]:
    """Return an event's lines without markup, and whether they belong at the frame's top."""
    decode = getattr(decoder, "decode2", decoder.decode)  # by PyAV's version
    try:
        decoded = cast(Iterable[Any], decode(packet) or ())
    except FFmpegError:
        return "", False  # a damaged event leaves a gap
    rects = [rect for item in decoded for rect in _rects(item)]
    text = "\n".join(map(_dialogue, rects))
    text = text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    top = any(_AT_TOP.search(getattr(rect, "ass", b"")) for rect in rects)
    return _MARKUP.sub("", text).strip(), top


def _rects(item: Any) -> Iterable[Any]:
    return (item,) if hasattr(item, "type") else item


def _dialogue(rect: Any) -> str:
    return getattr(rect, "dialogue", b"").decode("utf-8", "replace")


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def _empty_mov_text() -> bytes:
    """Return an MP4 with one empty track of 3GPP timed text (TS 26.245)."""
    none, matrix = bytes(4), struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    style = struct.pack(">HHHBB4B", 0, 0, 1, 0, 18, 255, 255, 255, 255)
    fonts = _box(b"ftab", struct.pack(">HHB5s", 1, 1, 5, b"Serif"))
    entry = bytes(6) + b"\0\1" + none + b"\1\xff" + bytes(4) + bytes(8) + style + fonts
    tables = [_box(kind, none, none) for kind in (b"stts", b"stsc", b"stco")]
    table = _box(
        b"stbl", _box(b"stsd", none, b"\0\0\0\1", _box(b"tx3g", entry)), *tables,
        _box(b"stsz", none, none, none),
    )  # fmt: skip
    media = _box(
        b"mdia",
        _box(b"mdhd", none, bytes(8), struct.pack(">IIHH", 1000, 0, 0x55C4, 0)),
        _box(b"hdlr", none, none, b"sbtl", bytes(12), b"\0"),
        _box(b"minf", _box(b"nmhd", none), table),
    )
    header = struct.pack(">IIHH", 1000, 0, 0, 0)
    track = _box(b"tkhd", b"\0\0\0\3", bytes(8), b"\0\0\0\1", bytes(24), matrix, bytes(8))
    movie = _box(
        b"mvhd", none, bytes(8), header, bytes(8), matrix, bytes(24), b"\0\0\0\2"
    )  # fmt: skip
    return _box(b"ftyp", b"isom", none) + _box(b"moov", movie, _box(b"trak", track, media))


_EMPTY = {
    "mov_text": _empty_mov_text(),
    "subrip": b"1\n00:00:00,000 --> 00:00:01,000\n.\n\n",
    "webvtt": b"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n.\n\n",
}
"""Codec -> a file with one stream of it."""
