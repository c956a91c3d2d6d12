"""Text subtitles of a film's track or of a file, whatever its encoding."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import av
from av.error import FFmpegError
from av.stream import Disposition

from ..errors import VideoError
from ..video_io.info import demux, video_stream
from ..video_io.source import Source, check_file, open_input, reason, source_name
from ..video_io.stamps import TrackClock
from ..video_io.subtitles import event_text
from ..video_io.tracks import TEXT_SUBTITLES

_log = logging.getLogger(__name__)
_FORMATS = {".srt": "srt", ".ass": "ass", ".ssa": "ass", ".vtt": "webvtt"}
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_WESTERN, _CYRILLIC = "cp1252", "cp1251"
_DEFAULT_S = 3  # an event's length where the file says none
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Event:
    """A text and when it is shown, in seconds of the film's clock."""

    begin: Fraction
    end: Fraction
    text: str
    top: bool = False


class Subtitles:
    """Tells which texts are shown at a time.

    Example:
        >>> subtitles = Subtitles([Event(Fraction(1), Fraction(3), "Hello")])
        >>> subtitles.at(Fraction(2)), subtitles.at(Fraction(3))
        ((('Hello', False),), ())
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = sorted(events, key=lambda event: (event.begin, event.end))
        self._begins = [event.begin for event in self.events]
        self._longest = max((e.end - e.begin for e in self.events), default=Fraction(0))

    def at(self, time: Fraction) -> tuple[tuple[str, bool], ...]:
        """Return the texts shown at a time, at most one at the bottom and one at the top."""
        last = bisect_right(self._begins, time)
        first = bisect_right(self._begins, time - self._longest - 1)
        shown = [event for event in self.events[first:last] if event.end > time]
        places = []
        for top in (False, True):
            texts = dict.fromkeys(event.text for event in shown if event.top is top)
            if texts:
                places.append(("\n".join(texts), top))
        return tuple(places)

    @property
    def letters(self) -> set[str]:
        """All characters that must be drawn."""
        return {letter for event in self.events for letter in event.text if not letter.isspace()}


def read_subtitles(source: Source, track: int | None = None) -> tuple[Subtitles, int]:
    """Read a text track of a film, and return it with its stream's index.

    Args:
        source: the film.
        track: which one of its text tracks, from 0; None takes the default one, else the first.

    Raises:
        VideoError: the film has no such track.
    """
    name = source_name(source)
    with open_input(source) as container:
        streams = [s for s in container.streams.subtitles if _is_text(s)]
        if not streams:
            raise VideoError(f"{name}: expected a track of text subtitles, found none; name a file")
        if track is not None and not 0 <= track < len(streams):
            raise VideoError(f"{name}: has {len(streams)} tracks of text subtitles, no {track}")
        chosen = _default(streams) if track is None else streams[track]
        clock = TrackClock(container, video_stream(container, name), [chosen])
        events = []
        for packet, begin in clock.packets():
            length = (packet.duration or 0) * cast(Fraction, packet.time_base) or _DEFAULT_S
            text, top = event_text(chosen.codec_context, packet)
            if text:
                events.append(Event(begin, begin + length, text, top))
        return Subtitles(events), chosen.index


def read_subtitle_file(
    path: Path, encoding: str | None = None, begin: Fraction = Fraction(0)
) -> Subtitles:
    """Read a file of SubRip, ASS or WebVTT.

    Args:
        path: of the file.
        encoding: its encoding; None finds it out: a mark at its beginning, else UTF-8, else one of
            Windows' for Cyrillic or western letters.
        begin: the film's time that is 0 in the file.

    Raises:
        VideoError: it cannot be read, is no such file, has no text, or not this encoding.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise VideoError(f"{path}: expected a name ending in {', '.join(_FORMATS)}")
    check_file(path)
    try:
        data = path.read_bytes()[:_MOST_BYTES]
    except OSError as error:
        raise VideoError(f"{path}: cannot be read ({reason(error)})") from error
    text = decode_text(data, encoding, str(path))
    try:
        with av.open(BytesIO(text.encode()), format=kind) as container:
            stream = container.streams.subtitles[0]
            events = []
            for packet in demux(container, stream):
                if packet.pts is None or not packet.size:
                    continue
                base = cast(Fraction, packet.time_base)
                first = begin + packet.pts * base
                length = (packet.duration or 0) * base or _DEFAULT_S
                lines, top = event_text(stream.codec_context, packet)
                if lines:
                    events.append(Event(first, first + length, lines, top))
    except (FFmpegError, IndexError) as error:
        raise VideoError(f"{path}: cannot be read as subtitles ({reason(error)})") from error
    if not events:
        raise VideoError(f"{path}: has no text with a time")
    return Subtitles(events)


def decode_text(data: bytes, encoding: str | None, name: str) -> str:
    """Return a file's text; see `read_subtitle_file`.

    Raises:
        VideoError: it has not the encoding that was named, or there is none of that name.
    """
    if encoding is None:
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            encoding = _guess(data)
            _log.warning("%s: is not UTF-8; read as %s, but another may be named", name, encoding)
        return data.decode(encoding, "replace")
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise VideoError(f"subtitle_encoding: expected an encoding, got {encoding!r}") from error
    except UnicodeDecodeError as error:
        raise VideoError(f"{name}: is not {encoding} ({error.reason} at byte {error.start})"
                         ) from error  # fmt: skip


def _guess(data: bytes) -> str:
    """Tell Cyrillic from western text: it has hardly any letter below 128."""
    high = sum(byte >= 0xC0 for byte in data)
    low = sum(chr(byte).isalpha() for byte in data if byte < 0x80)
    return _CYRILLIC if high > low else _WESTERN


def _is_text(stream: Any) -> bool:
    context = stream.codec_context
    return context is not None and context.codec.canonical_name in TEXT_SUBTITLES


def _default(streams: list[Any]) -> Any:
    marked = [s for s in streams if s.disposition & Disposition.default]
    return (marked or streams)[0]
