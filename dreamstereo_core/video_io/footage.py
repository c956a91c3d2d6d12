"""The moving or still picture of a source, whatever kind of file holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import NamedTuple, cast

from av import VideoFrame
from av.container import InputContainer
from av.video.stream import VideoStream

from .alpha import alpha_decoder, decode_with_alpha
from .animation import is_animated_webp, read_webp, webp_times
from .boxes import Boxes, ImageFile, alpha_track, read_image_file
from .decode_options import DecodeOptions
from .deinterlace import deinterlace
from .heif import decode_picture, read_picture
from .info import SEQUENCE_RATE, decode_frames, is_still, stream_rate, video_stream
from .orientation import Orientation
from .source import Source, VideoError, open_bytes, open_input, source_name
from .stamps import may_jump

_TICK = Fraction(1, 90000)
_MAYBE_ANIMATED = ("apng", "gif")


class Picture(NamedTuple):
    """A decoded frame, and its alpha channel if that is stored as a picture of its own."""

    frame: VideoFrame
    alpha: VideoFrame | None = None


@dataclass
class Footage:
    """The picture of an open source; `pictures` may be called once."""

    name: str
    pictures: Callable[[], Iterator[Picture]]
    """Decodes the pictures; raises VideoError if there is not a single one."""
    stream: VideoStream | None = None
    """None if the frames do not come from a stream of FFmpeg's."""
    rate: Fraction = SEQUENCE_RATE
    count: int | None = None
    """Number of frames; None if the container does not say."""
    duration: float | None = None
    """Length in seconds, if known."""
    still: bool = False
    """Whether it is a single picture, without a rate."""
    has_audio: bool = False
    time_base: Fraction = _TICK
    orientation: Orientation | None = None
    """None if the frames' display matrix says it."""
    metadata: dict[str, str] = field(default_factory=dict)
    may_jump: bool = False
    """Whether the clock may start anew in the middle of this kind of file, see `stamps`."""


@contextmanager
def open_footage(source: Source, options: DecodeOptions | None = None) -> Iterator[Footage]:
    """Open a single video or image, not a folder or a pattern.

    Raises:
        VideoError: it is missing, unreadable, or has no video.
    """
    options = options or DecodeOptions()
    name = source_name(source)
    if is_animated_webp(source):
        yield _webp(source, name)
        return
    with open_input(source) as container:
        images = _image_file(source, container)
        if images is not None and images.moov is None and images.meta is not None:
            yield _heif(source, images, container, name)
            return
        stream = video_stream(container, name)
        alpha = _alpha_stream(container, stream, images)
        yield _film(source, container, stream, alpha, options, name)


def _film(
    source: Source,
    container: InputContainer,
    stream: VideoStream,
    alpha: VideoStream | None,
    options: DecodeOptions,
    name: str,
) -> Footage:
    def pictures() -> Iterator[Picture]:
        stream.thread_type = "AUTO"
        if alpha is not None:
            yield from (Picture(*pair) for pair in decode_with_alpha(container, stream, alpha))
            return
        decoder = alpha_decoder(stream)
        frames = decode_frames(container, stream, name, decoder)
        for frame in deinterlace(frames, options.deinterlace, name):
            yield Picture(frame)

    duration = None
    if stream.duration and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    elif container.duration:
        duration = container.duration / 1_000_000
    still = is_still(container) or _is_alone(source, container)
    return Footage(
        name,
        pictures,
        stream,
        stream_rate(stream),
        1 if still else stream.frames or None,
        None if still else duration,
        still,
        bool(container.streams.audio),
        stream.time_base or _TICK,
        metadata=stream.metadata,
        may_jump=may_jump(container),
    )


def _is_alone(source: Source, container: InputContainer) -> bool:
    """Tell whether a file of a kind that may be animated has one picture only."""
    if container.format.name not in _MAYBE_ANIMATED:
        return False
    with open_input(source) as again:
        stream = video_stream(again, source_name(source))
        return len(list(islice(decode_frames(again, stream, source_name(source)), 2))) == 1


def _heif(source: Source, images: ImageFile, container: InputContainer, name: str) -> Footage:
    try:
        with open_bytes(source) as file:
            picture = read_picture(cast(Boxes, images.meta), file)
    except ValueError as error:
        raise VideoError(f"{name}: {error}") from error

    def pictures() -> Iterator[Picture]:
        yield Picture(*decode_picture(container, picture, name))

    items = (s for s in container.streams.video if s.id in picture.items)
    return Footage(name, pictures, next(items, None), count=1, still=True,
                   orientation=picture.orientation)  # fmt: skip


def _webp(source: Source, name: str) -> Footage:
    with open_bytes(source) as file:
        times = webp_times(file, name)

    def pictures() -> Iterator[Picture]:
        with open_bytes(source) as file:
            yield from map(Picture, read_webp(file, times, name))

    frames, seconds = len(times) - 1, times[-1]
    rate = Fraction(frames) / seconds if seconds else SEQUENCE_RATE
    return Footage(name, pictures, rate=rate, count=frames, still=frames == 1,
                   duration=None if frames == 1 else float(seconds),
                   time_base=Fraction(1, 1000), orientation=Orientation())  # fmt: skip


def _image_file(source: Source, container: InputContainer) -> ImageFile | None:
    """Return the boxes of a HEIF or AVIF file, or None for any other file."""
    if not container.format.name.startswith("mov,"):
        return None
    with open_bytes(source) as file:
        return read_image_file(file)


def _alpha_stream(
    container: InputContainer, stream: VideoStream, images: ImageFile | None
) -> VideoStream | None:
    """Return the track of an animation's alpha channel, or None."""
    if images is None or images.moov is None:
        return None
    try:
        track = alpha_track(images.moov, stream.id)
    except ValueError:  # FFmpeg reads the file, so only a box that matters here is damaged
        return None
    tracks = [s for s in container.streams.video if s.id == track and s.frames > 1]
    return next((s for s in tracks if s.codec_context is not None), None)
