"""The source's sound, chapters and titles, carried over without re-encoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, cast

from av import Packet
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError

from .containers import audio_codec, holds_audio
from .source import Source, VideoError, open_input, source_name

_NOT_METADATA = {"major_brand", "minor_version", "compatible_brands", "encoder"}


class AudioCopy:
    """Copies all audio packets of a source into an output, shifted and trimmed."""

    def __init__(self, source: Source, output: OutputContainer, target: str) -> None:
        """Add the source's audio streams to `output`, before its header is written.

        Raises:
            VideoError: the source is unreadable, or the container does not take its audio.
        """
        self._name = source_name(source)
        self._output = output
        self._stack = ExitStack()
        self._input = self._stack.enter_context(open_input(source))
        try:
            self._streams = {
                stream.index: self._add(stream, target) for stream in self._input.streams.audio
            }
        except BaseException:
            self.close()
            raise
        self._packets: Iterator[tuple[Fraction, Packet]] = iter(())
        self._next: tuple[Fraction, Packet] | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The source's own titles and dates."""
        items = self._input.metadata.items()
        return {key: value for key, value in items if key.lower() not in _NOT_METADATA}

    def start(self, start: Fraction, stop: Fraction | None) -> None:
        """Begin at `start` seconds of the source's clock, which becomes 0, and end at `stop`."""
        self._packets = self._read(start, stop)
        self._next = next(self._packets, None)

    def mux_until(self, time: Fraction | None) -> None:
        """Write the packets that begin at or before `time` seconds of the output, None: all."""
        while self._next is not None and (time is None or self._next[0] <= time):
            self._output.mux(self._next[1])
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._stack.close()

    def _add(self, stream: AudioStream, target: str) -> AudioStream:
        codec = audio_codec(stream)
        container = self._output.format.name
        try:
            if not holds_audio(container, codec):
                raise ValueError(codec)
            copy = self._output.add_stream_from_template(stream)
        except ValueError as error:
            raise VideoError(
                f"{target}: this container cannot hold the source's {codec} audio; "
                "choose a name ending in .mkv"
            ) from error
        copy.metadata.update(stream.metadata)
        cast(Any, copy).disposition = stream.disposition.value
        return copy

    def _read(self, start: Fraction, stop: Fraction | None) -> Iterator[tuple[Fraction, Packet]]:
        # A decoder needs what lies just before the start. MP4 can hold it: an edit list begins the
        # playback after it. Matroska knows no negative time, so there it is left out.
        lead_in = Fraction(1, 20) if self._output.format.name in ("mp4", "mov") else Fraction(0)
        for packet in self._demux():
            if packet.pts is None:
                continue
            base = packet.time_base
            begin = packet.pts * base
            if begin < start - lead_in or (stop is not None and begin >= stop):
                continue
            shift = round(start / base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._streams[packet.stream_index]
            yield begin - start, packet

    def _demux(self) -> Iterator[Packet]:
        """Yield the audio packets in file order; a damaged end ends them early."""
        if not self._streams:
            return
        packets = self._input.demux(*self._input.streams.audio)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:
                return
            if packet is None:
                return
            yield packet
