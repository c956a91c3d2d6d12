"""Carry over what a source has beside its pictures: sound, subtitles, chapters, covers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from io import BytesIO
from itertools import islice
from typing import Any, Protocol, cast

import av
from av import Packet
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from .audio import AAC_LAYOUTS, AacTrack, CopiedTrack, TimedPacket
from .containers import audio_codec, holds_audio
from .info import demux, video_stream
from .source import Source, VideoError, open_input, source_name
from .stamps import TrackClock
from .subtitles import TEXT_CODEC, TextSubtitle

_log = logging.getLogger(__name__)
_NOT_METADATA = {"major_brand", "minor_version", "compatible_brands", "encoder"}
TEXT_SUBTITLES = {
    "subrip",
    "srt",
    "ass",
    "ssa",
    "webvtt",
    "mov_text",
    "text",
    "microdvd",
    "subviewer",
}
_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
_ENOUGH = 64  # packets within which a cover must come
_LATE = 10  # s, the most by which tracks lie apart in a file


class _Track(Protocol):
    """One stream on its way into the output."""

    stream: Any
    lead_in: Fraction
    """Seconds before the start; packets from there on are needed."""

    def start(self, start: Fraction, stop: Fraction | None) -> None: ...

    def convert(self, packet: Packet, begin: Fraction) -> Iterator[TimedPacket]: ...

    def flush(self) -> Iterator[TimedPacket]: ...


class SourceTracks:
    """Copies the tracks beside a source's pictures into an output, shifted and trimmed.

    Tracks that cannot come along are left out and named in one warning. A damaged track never ends
    a conversion.
    """

    def __init__(
        self,
        source: Source,
        output: OutputContainer,
        target: str,
        *,
        encode: bool = False,
        start: Fraction | None = None,
        stop: Fraction | None = None,
        without: Collection[int] = (),
    ) -> None:
        """Add the source's tracks to `output`, before its header is written.

        With `encode`, sound that the container cannot hold becomes AAC, if it can hold that.
        `start` and `stop` are seconds of the source's clock. The streams with an index of `without`
        stay behind.

        Raises:
            VideoError: the source is unreadable, or the container cannot hold its sound.
        """
        self._source, self._target, self._output = source, target, output
        self._encode = encode
        self._range = (start, stop)
        self._without = without
        self._left_out: list[str] = []
        self._covers: list[Packet] = []
        self._stack = ExitStack()
        self._input = self._stack.enter_context(open_input(source))
        try:
            self._picture = _picture(self._input, source_name(source))
            self._tracks = self._add_all()
            self._add_chapters()
        except BaseException:
            self.close()
            raise
        if self._left_out:
            _log.warning("%s: left out: %s", target, ", ".join(self._left_out))
        streams = [s for s in self._input.streams if s.index in self._tracks]
        self._clock = TrackClock(self._input, self._picture, streams)
        self._packets: Iterator[TimedPacket] = iter(())
        self._next: TimedPacket | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The source's own titles and dates."""
        items = self._input.metadata.items()
        return {key: value for key, value in items if key.lower() not in _NOT_METADATA}

    def start(self, start: Fraction, stop: Fraction | None) -> None:
        """Begin at `start` seconds of the source's clock, which becomes 0, and end at `stop`."""
        for track in self._tracks.values():
            track.start(start, stop)
        self._packets = self._read(start, stop)
        self._next = next(self._packets, None)

    def packets_until(self, time: Fraction | None) -> Iterator[Packet]:
        """Yield the packets that begin at or before `time` seconds of the output; None for all."""
        while self._covers:
            yield self._covers.pop()
        while self._next is not None and (time is None or self._next[0] <= time):
            yield self._next[1]
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._stack.close()

    def _read(self, start: Fraction, stop: Fraction | None) -> Iterator[TimedPacket]:
        told = 0
        for packet, begin in self._clock.packets():
            track = self._tracks[packet.stream_index]
            if begin >= start - track.lead_in and (stop is None or begin < stop):
                yield from track.convert(packet, begin)
            for index in self._clock.repaired[told:]:
                told += 1
                kind = self._input.streams[index].type
                _log.warning(
                    "%s: %s stream %d: its time stamps break and are mended",
                    *(self._target, kind, index),
                )
        for track in self._tracks.values():
            yield from track.flush()

    def _add_all(self) -> dict[int, _Track]:
        tracks: dict[int, _Track] = {}
        silent = self._silent()
        for stream in self._input.streams:
            if stream is self._picture or stream.index in self._without:
                continue
            kind = f"{stream.type} stream {stream.index}"
            if stream.type in ("audio", "subtitle"):
                if stream.index in silent:
                    self._left_out.append(f"{kind} (empty)")
                elif (track := self._add(stream, kind)) is not None:
                    tracks[stream.index] = track
            elif cast(Any, stream).disposition & Disposition.attached_pic:
                self._add_cover(cast(VideoStream, stream))
            elif stream.type == "attachment":
                self._add_attachment(stream)
            elif not (stream.type == "data" and _chapters(self._input)):  # MP4's chapter track
                self._left_out.append(kind)
        return tracks

    def _add(self, stream: Stream, kind: str) -> _Track | None:
        track = None
        if stream.codec_context is None:
            self._left_out.append(f"{kind} (unknown codec)")
        elif isinstance(stream, AudioStream):
            track = self._add_audio(stream, kind)
        else:
            track = self._add_subtitle(stream, kind)
        if track is not None:
            track.stream.metadata.update(stream.metadata)
            track.stream.disposition = cast(Any, stream).disposition.value
        return track

    def _add_audio(self, stream: AudioStream, kind: str) -> _Track | None:
        codec, container = audio_codec(stream), self._output.format.name
        if not stream.sample_rate or not stream.channels:
            self._left_out.append(f"{kind} ({codec} without a sample rate)")
            return None
        if holds_audio(container, codec):
            if _fits(stream, container):
                return CopiedTrack(stream, self._output)
            if container == "matroska" and stream.channels <= len(AAC_LAYOUTS):
                _log.warning(
                    "%s: %s: Matroska has no name for %s, so it becomes AAC",
                    *(self._target, kind, codec),
                )
                return AacTrack(stream, self._output)
        elif self._encode and holds_audio(container, "aac") and stream.channels <= len(AAC_LAYOUTS):
            return AacTrack(stream, self._output)
        raise VideoError(
            f"{self._target}: this container cannot hold the source's {codec} audio; "
            "choose a name ending in .mkv"
        )

    def _add_subtitle(self, stream: Stream, kind: str) -> _Track | None:
        codec, container = stream.codec_context.codec.canonical_name, self._output.format.name
        if _fits(stream, container):
            return CopiedTrack(stream, self._output)
        if codec in TEXT_SUBTITLES and container in TEXT_CODEC:
            return TextSubtitle(stream, self._output)
        self._left_out.append(f"{kind} ({codec})")
        return None

    def _add_cover(self, stream: VideoStream) -> None:
        context = stream.codec_context
        codec = None if context is None else context.codec.canonical_name
        with open_input(self._source) as file:
            packets = islice(demux(file, file.streams[stream.index]), _ENOUGH)
            packet = next((packet for packet in packets if packet.size), None)
        if packet is not None and codec in _COVERS:
            if self._output.format.name in ("mp4", "mov"):
                cover = self._output.add_stream_from_template(stream, opaque=True)
                cast(Any, cover).disposition = Disposition.attached_pic.value
                packet.pts = packet.dts = 0
                packet.stream = cover
                self._covers.append(packet)
                return
            name, mimetype = _COVERS[codec]
            if self._attach(stream.metadata.get("filename", name), mimetype, bytes(packet)):
                return
        self._left_out.append(f"cover (stream {stream.index})")

    def _add_attachment(self, stream: Any) -> None:
        data = getattr(stream, "data", None)
        name = stream.name or f"attachment {stream.index}"
        if not data or not self._attach(name, stream.mimetype or "", bytes(data)):
            self._left_out.append(f"attachment {name}")

    def _attach(self, name: str, mimetype: str, data: bytes) -> bool:
        add = getattr(self._output, "add_attachment", None)  # newer versions of PyAV
        if add is None or self._output.format.name != "matroska":
            return False
        add(name, mimetype or "application/octet-stream", data)
        return True

    def _add_chapters(self) -> None:
        chapters = _chapters(self._input)
        if not chapters:
            return
        put = getattr(self._output, "set_chapters", None)  # newer versions of PyAV
        if put is None:
            self._left_out.append("chapters")
            return
        first, stop = self._range
        start = first or Fraction(0)
        kept = []
        for chapter in chapters:
            base = chapter["time_base"]
            begin, end = (max(chapter[key] * base, start) for key in ("start", "end"))
            end = end if stop is None else min(end, stop)
            if begin < end:
                ticks = {"start": round((begin - start) / base), "end": round((end - start) / base)}
                kept.append({**chapter, **ticks})
        put(kept)

    def _silent(self) -> set[int]:
        """Return the sound and subtitle streams without a packet in the range.

        Some muxers fail at the very end if a stream has none.
        """
        start, stop = self._range
        with open_input(self._source) as file:
            audio = [s for s in file.streams.audio if s.codec_context is not None]
            waiting = {stream.index for stream in audio}
            picture = _picture(file, source_name(self._source))
            for packet, begin in TrackClock(file, picture, list(audio)).packets():
                if (stop is None or begin < stop) and (start is None or begin >= start):
                    waiting.discard(packet.stream_index)
                if not waiting or (stop is not None and begin > stop + _LATE):
                    break
        return waiting


def _picture(container: InputContainer, name: str) -> VideoStream | None:
    try:
        return video_stream(container, name)
    except VideoError:
        return None


def _chapters(container: InputContainer) -> list[Any]:
    read = getattr(container, "chapters", None)  # newer versions of PyAV
    return read() if read is not None else []


def _fits(stream: Stream, container: str) -> bool:
    """Return whether a muxer accepts a stream as it is, by trying."""
    output = av.open(BytesIO(), "w", format=container)
    try:
        output.add_stream_from_template(stream)
        output.start_encoding()
    except (FFmpegError, ValueError):
        return False
    finally:
        with suppress(FFmpegError, ValueError):
            output.close()
    return True
