"""What a source is: size as displayed, rate, length, depth and colour tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

import av
import numpy as np
from av import Packet, VideoFrame
from av.container import InputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from .color import UNSPECIFIED, ColorTags, raw_view
from .hdr import HdrMetadata, hdr_metadata
from .source import Source, VideoError, image_paths, open_input, reason, source_name

SEQUENCE_RATE = Fraction(24)
"""Frames per second of a folder or numbered images, which carry no rate."""


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds; sizes are as displayed, after rotation."""

    source: Source
    width: int
    height: int
    frame_rate: Fraction
    frame_count: int | None
    """An estimate where the container does not count; None where nothing is known."""
    duration: float | None
    """Seconds."""
    bit_depth: int
    """8 or 10; deeper sources count as 10."""
    pixel_aspect: Fraction
    color: ColorTags
    has_audio: bool
    is_image: bool
    time_base: Fraction = Fraction(1, 90000)
    """The unit of the source's time stamps in seconds."""
    hdr: HdrMetadata | None = None


def probe(source: Source) -> VideoInfo:
    """Read what a video, image, folder of images or printf pattern is; decodes its first frame.

    Raises:
        VideoError: the source is missing, unreadable, or has no video.
    """
    images = image_paths(source)
    if images is None:
        return _probe_container(source)
    first = _probe_container(images[0])
    return replace(
        first,
        source=source,
        frame_rate=SEQUENCE_RATE,
        frame_count=len(images),
        duration=float(len(images) / SEQUENCE_RATE),
        is_image=False,
        time_base=1 / SEQUENCE_RATE,
    )


def _probe_container(source: Source) -> VideoInfo:
    with open_input(source) as container:
        name = source_name(source)
        stream = video_stream(container, name)
        frame = next(decode_frames(container, stream, name))
        is_image = is_still(container)
        rate = stream_rate(stream)
        duration = None if is_image else _duration(container, stream)
        count: int | None = 1 if is_image else stream.frames
        if not count:
            count = None if duration is None else max(1, round(duration * rate))
        width, height = frame.width, frame.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if orientation(frame).quarters % 2:
            width, height, aspect = height, width, 1 / aspect
        return VideoInfo(
            source=source,
            width=width,
            height=height,
            frame_rate=rate,
            frame_count=count,
            duration=duration,
            bit_depth=10 if frame.format.components[0].bits > 8 else 8,
            pixel_aspect=aspect,
            color=_color_tags(stream, frame, is_image),
            has_audio=bool(container.streams.audio),
            is_image=is_image,
            time_base=stream.time_base or Fraction(1, 90000),
            hdr=hdr_metadata(frame),
        )


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the first video stream that is no cover art.

    Raises:
        VideoError: there is none.
    """
    for stream in container.streams.video:
        attached = bool(stream.disposition & Disposition.attached_pic)
        if not attached and stream.codec_context is not None:
            return stream
    raise VideoError(f"{name}: has no video stream")


def decode_frames(
    container: InputContainer, stream: VideoStream, name: str
) -> Iterator[VideoFrame]:
    """Decode what can be decoded: a damaged packet is left out, a truncated file ends early.

    Raises:
        VideoError: not one frame came out.
    """
    damage: FFmpegError | None = None
    count = 0
    for packet in chain(demux(container, stream), [None]):
        try:
            frames = stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except EndOfFile:  # the decoder is flushed
            break
        except FFmpegError as error:
            damage = error
            if not stream.codec_context.is_open:
                break  # nor will it open for the next packet
            continue
        for frame in frames:
            count += 1
            yield frame
    if not count:
        why = "no frame could be decoded" if damage is None else reason(damage)
        raise VideoError(f"{name}: its video cannot be decoded ({why})")


def demux(container: InputContainer, *streams: Stream) -> Iterator[Packet]:
    """Yield the packets of streams in file order; damage ends them, FFmpeg reads past what it can.

    PyAV's last packets are empty: they flush the decoders.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except MemoryError:
            raise
        except (FFmpegError, IndexError):  # PyAV stumbles over a stream that came up late
            return
        if packet is None:
            return
        yield packet


def is_still(container: InputContainer) -> bool:
    """Tell whether the container holds a single picture."""
    return container.format.name == "image2" or container.format.name.endswith("_pipe")


def stream_rate(stream: VideoStream) -> Fraction:
    """Return the average frame rate; what says nothing of use counts as `SEQUENCE_RATE`."""
    rate = stream.average_rate or stream.guessed_rate
    return rate if rate and 0 < rate <= 1000 else SEQUENCE_RATE


class Orientation(NamedTuple):
    """How to show a stored picture."""

    quarters: int = 0
    """Counter-clockwise quarter turns, after the mirroring."""
    mirrored: bool = False
    """Left and right change sides."""


def orientation(frame: VideoFrame) -> Orientation:
    """Return what a frame's display matrix says.

    Ask once for a stream: PyAV's side data keeps a frame alive until the garbage collector comes.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know some newer kinds of side data
        return Orientation(round(frame.rotation / 90) % 4)
    if data is None:
        return Orientation()
    a, b, _, c, d = (int(v) for v in raw_view(data, np.int32)[:5])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if abs(a) >= abs(b):
        return Orientation(0 if a > 0 else 2, mirrored)
    return Orientation(3 if b > 0 else 1, mirrored)


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _color_tags(stream: VideoStream, frame: VideoFrame, is_image: bool) -> ColorTags:
    context = stream.codec_context
    primaries, transfer = int(context.color_primaries), int(context.color_trc)
    if is_image or frame.format.is_rgb or frame.format.has_palette:
        # Matrix and full range of a picture are its codec's own: a video made of it has the usual.
        return ColorTags(primaries, transfer)
    matrix = UNSPECIFIED if frame.colorspace in (0, 3) else int(frame.colorspace)
    return ColorTags(primaries, transfer, matrix, int(frame.color_range))
