"""Reading frames: lazily, in order, upright, as RGB, each with its exact time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from av import VideoFrame
from torch import Tensor

from .color import frame_to_rgb
from .info import (
    SEQUENCE_RATE,
    Orientation,
    decode_frames,
    orientation,
    stream_rate,
    video_stream,
)
from .source import Source, VideoError, image_paths, open_input, source_name
from .stamps import PictureClock, may_jump

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One picture of a video and the moment it is shown."""

    pixels: Tensor
    """[3, H, W] float32 RGB in [0, 1]."""
    time: Fraction
    """Presentation time in seconds, in the source's own clock."""


def read_frames(source: Source, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
    """Read the frames start <= index < stop, rotated upright, in bounded memory.

    A frame whose size differs from the first one's is rescaled to it. A time stamp that is missing
    or does not grow is replaced by the previous one plus one frame duration.

    Raises:
        VideoError: the source is missing, unreadable or ends before `start`.
        ValueError: the range is empty.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"frames: expected 0 <= start < stop, got start {start}, stop {stop}")
    images = image_paths(source)
    if images is None:
        return _read_container(source, start, stop)
    if start >= len(images):
        raise VideoError(f"{source}: has {len(images)} images, so none from index {start} on")
    return _read_images(images[start:stop], start)


def _read_images(images: list[Path], start: int) -> Iterator[Frame]:
    upright = _Upright()
    for index, path in enumerate(images, start):
        with open_input(path) as container:
            name = source_name(path)
            frame = next(decode_frames(container, video_stream(container, name), name))
            yield Frame(upright.convert(frame, orientation(frame), name), index / SEQUENCE_RATE)


def _read_container(source: Source, start: int, stop: int | None) -> Iterator[Frame]:
    name = source_name(source)
    with open_input(source) as container:
        stream = video_stream(container, name)
        stream.thread_type = "AUTO"
        frame_duration = 1 / stream_rate(stream)
        upright = _Upright()
        turned: Orientation | None = None
        clock = PictureClock(may_jump(container))
        index = -1
        for index, frame in enumerate(decode_frames(container, stream, name)):
            stamp = None if frame.pts is None else frame.pts * (stream.time_base or 1)
            time = clock.move(None if stamp is None else Fraction(stamp), frame_duration)
            turned = turned or orientation(frame)
            if index >= start:
                yield Frame(upright.convert(frame, turned, name), time)
            if stop is not None and index + 1 >= stop:
                return
        if index < start:
            raise VideoError(f"{name}: has {index + 1} frames, so none from index {start} on")


class _Upright:
    """Makes upright pictures of one size, the first one's."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._warned = False

    def convert(self, frame: VideoFrame, turned: Orientation, name: str) -> Tensor:
        """Return RGB [3, H, W], mirrored and turned as the display matrix says."""
        lying = turned.quarters % 2 == 1
        shown = (frame.height, frame.width) if lying else (frame.width, frame.height)
        width, height = self._size = self._size or shown
        if shown != (width, height) and not self._warned:
            self._warned = True
            _log.warning(
                "%s: a picture of %dx%d is rescaled to the first one's %dx%d",
                *(name, *shown, width, height),
            )
        if lying:
            width, height = height, width
        try:
            rgb = frame_to_rgb(frame, width, height)
        except ValueError as error:
            raise VideoError(f"{name}: {error}") from error
        if turned.mirrored:
            rgb = rgb.flip(2)
        return torch.rot90(rgb, turned.quarters, (1, 2)).contiguous() if turned.quarters else rgb
