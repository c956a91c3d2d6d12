"""The source's sound and titles, carried over: packets as they are, or as AAC on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, Protocol, cast

import numpy as np
from av import AudioFrame, AudioResampler, Packet
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.error import FFmpegError

from .containers import audio_codec, holds_audio
from .source import Source, VideoError, open_input, source_name

_NOT_METADATA = {"major_brand", "minor_version", "compatible_brands", "encoder"}


_AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
"""By number of channels, up to eight: the arrangements of AAC itself, where it has one."""

_AAC_BIT_RATE = 96_000  # per channel

_TimedPacket = tuple[Fraction, Packet]
"""A packet of the output and the seconds at which it begins there."""


class _Track(Protocol):
    """One audio stream on its way into the output."""

    stream: AudioStream
    lead_in: Fraction
    """Seconds before the start from which on packets are wanted."""

    def start(self, start: Fraction, stop: Fraction | None) -> None: ...

    def convert(self, packet: Packet) -> Iterator[_TimedPacket]: ...

    def flush(self) -> Iterator[_TimedPacket]: ...


class SourceAudio:
    """Carries all audio streams of a source into an output, shifted and trimmed."""

    def __init__(
        self, source: Source, output: OutputContainer, target: str, *, encode: bool = False
    ) -> None:
        """Add the source's audio streams to `output`, before its header is written.

        `encode`: streams that the container does not take become AAC, where it takes that.

        Raises:
            VideoError: the source is unreadable, or the container does not take its audio.
        """
        self._name = source_name(source)
        self._output = output
        self._stack = ExitStack()
        self._input = self._stack.enter_context(open_input(source))
        try:
            self._tracks = {
                stream.index: self._add(stream, target, encode)
                for stream in self._input.streams.audio
            }
        except BaseException:
            self.close()
            raise
        self._packets: Iterator[_TimedPacket] = iter(())
        self._next: _TimedPacket | None = None

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

    def mux_until(self, time: Fraction | None) -> None:
        """Write the packets that begin at or before `time` seconds of the output, None: all."""
        while self._next is not None and (time is None or self._next[0] <= time):
            self._output.mux(self._next[1])
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._stack.close()

    def _add(self, stream: AudioStream, target: str, encode: bool) -> _Track:
        codec = audio_codec(stream)
        container = self._output.format.name
        try:
            if holds_audio(container, codec):
                track = _Copy(stream, self._output)
            elif encode and holds_audio(container, "aac") and stream.channels <= len(_AAC_LAYOUTS):
                track = _Aac(stream, self._output)
            else:
                raise ValueError(codec)
        except ValueError as error:
            raise VideoError(
                f"{target}: this container cannot hold the source's {codec} audio; "
                "choose a name ending in .mkv"
            ) from error
        track.stream.metadata.update(stream.metadata)
        cast(Any, track.stream).disposition = stream.disposition.value
        return track

    def _read(self, start: Fraction, stop: Fraction | None) -> Iterator[_TimedPacket]:
        for packet in self._demux():
            if packet.pts is None:
                continue
            begin = packet.pts * packet.time_base
            track = self._tracks[packet.stream_index]
            if begin >= start - track.lead_in and (stop is None or begin < stop):
                yield from track.convert(packet)
        for track in self._tracks.values():
            yield from track.flush()

    def _demux(self) -> Iterator[Packet]:
        """Yield the audio packets in file order; a damaged end ends them early."""
        if not self._tracks:
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


class _Copy:
    """A stream whose packets stay as they are."""

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        self.stream = output.add_stream_from_template(source)
        # A decoder needs what lies just before the start. MP4 can hold it: an edit list begins the
        # playback after it. Matroska knows no negative time, so there it is left out.
        self.lead_in = Fraction(1, 20) if output.format.name in ("mp4", "mov") else Fraction(0)
        self._start = Fraction(0)

    def start(self, start: Fraction, stop: Fraction | None) -> None:
        self._start = start

    def convert(self, packet: Packet) -> Iterator[_TimedPacket]:
        base = packet.time_base
        time = cast(int, packet.pts) * base - self._start
        shift = round(self._start / base)
        packet.pts = cast(int, packet.pts) - shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        packet.stream = self.stream
        yield time, packet

    def flush(self) -> Iterator[_TimedPacket]:
        return iter(())


class _Aac:
    """A stream that is decoded and encoded as AAC, cut at the sample, silent where it has gaps."""

    lead_in = Fraction(2)  # some packets are a second long: the wanted sound may lie at the end

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        self._decoder = source.codec_context
        rate, channels = self._decoder.sample_rate, self._decoder.channels
        self._rate = rate if rate in (Codec("aac", "w").audio_rates or ()) else 48_000
        self._layout = _AAC_LAYOUTS[channels - 1]
        self.stream = output.add_stream("aac", rate=self._rate, layout=self._layout)
        self.stream.codec_context.bit_rate = _AAC_BIT_RATE * channels
        self._resampler = AudioResampler("fltp", self._layout, self._rate)
        self._form: tuple[str, str, int] | None = None
        self._start = Fraction(0)
        self._end: int | None = None
        self._next = 0
        """Samples of the output so far."""

    def start(self, start: Fraction, stop: Fraction | None) -> None:
        self._start = start
        self._end = None if stop is None else round((stop - start) * self._rate)

    def convert(self, packet: Packet | None) -> Iterator[_TimedPacket]:
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError:
            return  # a damaged packet is a gap
        for frame in frames:
            form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if form != self._form:
                self._form = form
                self._resampler = AudioResampler("fltp", self._layout, self._rate)
            yield from self._encode(self._resampler.resample(frame))

    def flush(self) -> Iterator[_TimedPacket]:
        yield from self.convert(None)
        yield from self._encode(self._resampler.resample(None))
        yield from _timed(self.stream.encode(None))

    def _encode(self, frames: Sequence[AudioFrame | None]) -> Iterator[_TimedPacket]:
        for frame in frames:
            for sound in () if frame is None else self._place(frame):
                ready = AudioFrame.from_ndarray(sound, "fltp", self._layout)
                ready.sample_rate, ready.time_base = self._rate, Fraction(1, self._rate)
                ready.pts = self._next
                self._next += sound.shape[1]
                yield from _timed(self.stream.encode(ready))

    def _place(self, frame: AudioFrame) -> Iterator[np.ndarray]:
        """Yield what continues the output [channels, samples]: silence up to the frame, its sound.

        What lies before the output's end so far or after the stop is cut off.
        """
        begin = self._next
        if frame.pts is not None:
            time = frame.pts * cast(Fraction, frame.time_base) - self._start
            begin = round(time * self._rate)
        # Sound that runs on is not torn by rounded time stamps: Matroska's are milliseconds.
        if self._next and abs(begin - self._next) < self._rate // 200:
            begin = self._next
        sound = frame.to_ndarray()
        while (gap := (begin if self._end is None else min(begin, self._end)) - self._next) > 0:
            yield np.zeros((len(sound), min(gap, self._rate)), np.float32)
        stop = None if self._end is None else max(0, self._end - begin)
        sound = sound[:, max(0, self._next - begin) : stop]
        if sound.size:
            yield np.ascontiguousarray(sound)


def _timed(packets: list[Packet]) -> Iterator[_TimedPacket]:
    for packet in packets:
        if packet.pts is not None:
            yield packet.pts * packet.time_base, packet
