"""Carry tracks over from the source: packets as they are, or sound encoded as AAC."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import cast

import numpy as np
from av import AudioFrame, AudioResampler, Packet
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.stream import Stream

_log = logging.getLogger(__name__)

AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Layouts for one to eight channels; AAC's own arrangements where it has one."""

_AAC_BIT_RATE = 96_000  # per channel

LONGEST_SUBTITLE = 30  # s; a subtitle that begins earlier before the start is not looked for

TimedPacket = tuple[Fraction, Packet]
"""The seconds at which a packet of the output begins, and the packet."""


class CopiedTrack:
    """A stream whose packets are copied unchanged."""

    def __init__(self, source: Stream, output: OutputContainer) -> None:
        self.stream = output.add_stream_from_template(source)
        # A decoder needs the packets just before the start. MP4 can hold them, since an edit list
        # lets playback begin after them. Matroska has no negative time, so there they are left out.
        container = output.format.name
        self._text = source.type == "subtitle"
        early = LONGEST_SUBTITLE if self._text else Fraction(container in ("mp4", "mov"), 20)
        self.lead_in = Fraction(early)
        self._step = 0 if self._text and container == "matroska" else 1  # ticks between stamps
        self._start = Fraction(0)
        self._stop: Fraction | None = None
        self._last: int | None = None

    def start(self, start: Fraction, stop: Fraction | None) -> None:
        """Begin at `start` seconds of the source's clock; a subtitle is gone at `stop`."""
        self._start, self._stop = start, stop

    def convert(self, packet: Packet, begin: Fraction) -> Iterator[TimedPacket]:
        """Yield the packet at its time in the output; time stamps always grow."""
        base = cast(Fraction, packet.time_base)
        if self._text and begin < self._start:
            left = (packet.duration or 0) - round((self._start - begin) / base)
            if left <= 0:
                return
            packet.duration = left
            begin = self._start
        if self._text and self._stop is not None:
            packet.duration = min(packet.duration or 0, round((self._stop - begin) / base))
        stamp = round((begin - self._start) / base)
        if self._last is not None:
            stamp = max(stamp, self._last + self._step)
        self._last = packet.pts = packet.dts = stamp
        packet.stream = self.stream
        yield begin - self._start, packet

    def flush(self) -> Iterator[TimedPacket]:
        """Yield nothing, since no packet waits."""
        return iter(())


class AacTrack:
    """A stream encoded anew as AAC, cut exactly at a sample, with silence in its gaps."""

    lead_in = Fraction(2)  # s; a packet may be a second long and hold the wanted sound at its end

    def __init__(self, source: AudioStream, output: OutputContainer) -> None:
        self._decoder = source.codec_context
        self._name = f"audio stream {source.index}"
        self._damaged = False
        rate, channels = self._decoder.sample_rate, self._decoder.channels
        self._rate = rate if rate in (Codec("aac", "w").audio_rates or ()) else 48_000
        self._layout = AAC_LAYOUTS[channels - 1]
        self.stream = output.add_stream("aac", rate=self._rate, layout=self._layout)
        self.stream.codec_context.bit_rate = _AAC_BIT_RATE * channels
        self._resampler = AudioResampler("fltp", self._layout, self._rate)
        self._form: tuple[str, str, int] | None = None
        self._start = Fraction(0)
        self._end: int | None = None
        self._next = 0
        """Number of samples in the output so far."""

    def start(self, start: Fraction, stop: Fraction | None) -> None:
        """Begin at `start` seconds of the source's clock and end at `stop`."""
        self._start = start
        self._end = None if stop is None else round((stop - start) * self._rate)

    def convert(self, packet: Packet, begin: Fraction) -> Iterator[TimedPacket]:
        """Yield the sound of a packet as AAC."""
        packet.pts = packet.dts = round(begin / cast(Fraction, packet.time_base))
        yield from self._decode(packet)

    def flush(self) -> Iterator[TimedPacket]:
        """Yield what is left in the decoder, the resampler and the encoder."""
        yield from self._decode(None)
        yield from self._encode(self._resampler.resample(None))
        yield from _timed(self.stream.encode(None))

    def _decode(self, packet: Packet | None) -> Iterator[TimedPacket]:
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError as error:
            if not self._damaged and not isinstance(error, EndOfFile):
                self._damaged = True
                _log.warning("%s: damaged parts of it become silence", self._name)
            return
        for frame in frames:
            form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if form != self._form:
                self._form = form
                self._resampler = AudioResampler("fltp", self._layout, self._rate)
            yield from self._encode(self._resampler.resample(frame))

    def _encode(self, frames: Sequence[AudioFrame | None]) -> Iterator[TimedPacket]:
        for frame in frames:
            for sound in () if frame is None else self._place(frame):
                ready = AudioFrame.from_ndarray(sound, "fltp", self._layout)
                ready.sample_rate, ready.time_base = self._rate, Fraction(1, self._rate)
                ready.pts = self._next
                self._next += sound.shape[1]
                yield from _timed(self.stream.encode(ready))

    def _place(self, frame: AudioFrame) -> Iterator[np.ndarray]:
        """Yield the output's next samples [channels, n]: silence up to the frame, then its sound.

        Sound that lies before the output's end so far, or after the stop, is cut off.
        """
        begin = self._next
        if frame.pts is not None:
            time = frame.pts * cast(Fraction, frame.time_base) - self._start
            begin = round(time * self._rate)
        # Rounded time stamps (Matroska's are milliseconds) must not tear continuous sound apart.
        if self._next and abs(begin - self._next) < self._rate // 200:
            begin = self._next
        sound = frame.to_ndarray()
        while (gap := (begin if self._end is None else min(begin, self._end)) - self._next) > 0:
            yield np.zeros((len(sound), min(gap, self._rate)), np.float32)
        stop = None if self._end is None else max(0, self._end - begin)
        sound = sound[:, max(0, self._next - begin) : stop]
        if sound.size:
            yield np.ascontiguousarray(sound)


def _timed(packets: list[Packet]) -> Iterator[TimedPacket]:
    for packet in packets:
        if packet.pts is not None:
            yield packet.pts * packet.time_base, packet
