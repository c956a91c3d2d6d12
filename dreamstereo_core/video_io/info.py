"""Find a source's film, decode it, and describe it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

from av import Packet, VideoFrame
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from .color import FULL, ColorTags
from .hdr import HdrMetadata
from .source import Source, VideoError, reason

SEQUENCE_RATE = Fraction(24)
"""Frames per second of a folder or of numbered images, which have no rate."""

_ROUNDING = 3e-6  # relative error of 29.97 for 30000/1001
_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
_PICTURES = ("png", "bmp", "gif", "webp", "tiff")


@dataclass(frozen=True)
class VideoInfo:
    """The result of `probe`; sizes are as displayed, after rotation."""

    source: Source
    width: int
    height: int
    frame_rate: Fraction
    frame_count: int | None
    """An estimate if the container does not say; None if nothing is known."""
    duration: float | None
    """Length in seconds, if known."""
    bit_depth: int
    """8 or 10; deeper sources count as 10."""
    pixel_aspect: Fraction
    color: ColorTags
    has_audio: bool
    is_image: bool
    time_base: Fraction = Fraction(1, 90000)
    """The unit of the source's time stamps in seconds."""
    hdr: HdrMetadata | None = None


def as_data(info: VideoInfo) -> VideoInfo:
    """Return what describes a depth or a mask of a film: grey values in all codes, no HDR."""
    return replace(info, color=ColorTags(range=FULL), hdr=None)


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the film's stream: the default one, else the one with most pixels, never a cover.

    Raises:
        VideoError: there is none.
    """
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & _NO_FILM and stream.codec_context is not None
    ]
    if not streams:
        raise VideoError(f"{name}: has no video stream")
    # A cover or a thumbnail without its tag is a track of one picture.
    films = [s for s in streams if s.frames != 1 and s.codec_context.name not in _PICTURES]
    films = films or [s for s in streams if s.frames != 1] or streams
    default = [stream for stream in films if stream.disposition & Disposition.default]
    return max(default or films, key=lambda stream: stream.width * stream.height)


def decode_frames(
    container: InputContainer,
    stream: VideoStream,
    name: str,
    decoder: VideoCodecContext | None = None,
) -> Iterator[VideoFrame]:
    """Decode what can be decoded: damaged packets are left out, a truncated file ends early.

    `decoder` is used in place of the stream's own.

    Raises:
        VideoError: not a single frame can be decoded.
    """
    damage: FFmpegError | None = None
    count = 0
    decoder = decoder or stream.codec_context
    # AVI has no presentation times, so pictures are shown at the packets' times, in order.
    places: deque[int | None] | None = deque() if container.format.name == "avi" else None
    for packet in chain(demux(container, stream), [None]):
        try:
            if places is not None and packet is not None and packet.size:
                places.append(packet.dts)
            frames = decoder.decode(packet)
        except MemoryError:
            raise
        except EndOfFile:  # the decoder is flushed
            break
        except FFmpegError as error:
            damage = error
            if places:
                places.pop()
            if not decoder.is_open:
                break  # it will not open for the next packet either
            continue
        for frame in frames:
            count += 1
            if places:
                frame.pts = places.popleft()
            yield frame
    if not count:
        why = "no frame could be decoded" if damage is None else reason(damage)
        raise VideoError(f"{name}: its video cannot be decoded ({why})")


def demux(container: InputContainer, *streams: Stream) -> Iterator[Packet]:
    """Yield the packets of streams in file order, up to damage that FFmpeg cannot read past.

    A packet that claims gigabytes, for which FFmpeg reports too little memory, is such damage.
    PyAV's last packets are empty and flush the decoders.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, IndexError):  # PyAV stumbles over a stream that came up late
            return
        if packet is None:
            return
        yield packet


def is_still(container: InputContainer) -> bool:
    """Tell whether the container holds a single picture."""
    return container.format.name == "image2" or container.format.name.endswith("_pipe")


def stream_rate(stream: VideoStream) -> Fraction:
    """Return the average frame rate, or `SEQUENCE_RATE` if there is none of use.

    29.97 and other roundings of a rate over 1001 become that rate.
    """
    rate = stream.average_rate or stream.guessed_rate
    if not rate or not 0 < rate <= 1000:
        return SEQUENCE_RATE
    exact = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    return exact if abs(exact / rate - 1) < _ROUNDING else rate
