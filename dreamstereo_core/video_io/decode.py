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
    decode_frames,
    orientation,
    stream_rate,
    video_stream,
)
from .source import Source, VideoError, image_paths, open_input, source_name

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
    size = None
    for index, path in enumerate(images, start):
        with open_input(path) as container:
            name = source_name(path)
            frame = next(decode_frames(container, video_stream(container, name), name))
            size = _check_size(frame, size, name)
            yield Frame(_pixels(frame, size, name), index / SEQUENCE_RATE)


def _read_container(source: Source, start: int, stop: int | None) -> Iterator[Frame]:
    name = source_name(source)
    with open_input(source) as container:
        stream = video_stream(container, name)
        frame_duration = 1 / stream_rate(stream)
        time: Fraction | None = None
        size = None
        index = -1
        for index, frame in enumerate(decode_frames(container, stream, name)):
            stamp = None if frame.pts is None else frame.pts * (stream.time_base or 1)
            if time is not None and (stamp is None or stamp <= time):
                stamp = time + frame_duration
            time = Fraction(stamp or 0)
            size = _check_size(frame, size, name)
            if index >= start:
                yield Frame(_pixels(frame, size, name), time)
            if stop is not None and index + 1 >= stop:
                return
        if index < start:
            raise VideoError(f"{name}: has {index + 1} frames, so none from index {start} on")


def _check_size(frame: VideoFrame, size: tuple[int, int] | None, name: str) -> tuple[int, int]:
    """Return the size that all frames get, the first one's."""
    if size is not None and size != (frame.width, frame.height):
        _log.warning(
            "%s: a frame of %dx%d is rescaled to the first frame's %dx%d",
            *(name, frame.width, frame.height, *size),
        )
    return size or (frame.width, frame.height)


def _pixels(frame: VideoFrame, size: tuple[int, int], name: str) -> Tensor:
    try:
        rgb = frame_to_rgb(frame, *size)
    except ValueError as error:
        raise VideoError(f"{name}: {error}") from error
    turns, mirrored = orientation(frame)
    if mirrored:
        rgb = rgb.flip(2)
    return torch.rot90(rgb, turns, (1, 2)).contiguous() if turns else rgb
