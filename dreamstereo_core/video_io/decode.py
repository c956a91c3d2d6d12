"""Read frames lazily, in order, upright, as RGB, each with its exact time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..stream import Frame
from .alpha import picture_of_alpha, read_alpha
from .color import frame_to_rgb
from .decode_options import DecodeOptions
from .footage import Picture, open_footage
from .info import SEQUENCE_RATE
from .orientation import Orientation, orientation
from .source import Source, VideoError, image_paths, source_name
from .stamps import PictureClock
from .stereo_source import Packing, chosen_packing, tagged_packing, take_eye, warn_of_stereo

_log = logging.getLogger(__name__)


def read_frames(
    source: Source,
    start: int = 0,
    stop: int | None = None,
    options: DecodeOptions | None = None,
) -> Iterator[Frame]:
    """Read the frames start <= index < stop, rotated upright, in bounded memory.

    A frame of another size than the first one is rescaled to it. A time stamp that is missing or
    does not grow is replaced by the previous one plus one frame duration. A time stamp that is off
    a constant rate by no more than the container's tick is moved onto the rate.

    Raises:
        VideoError: the source is missing, unreadable or ends before `start`.
        ValueError: the range is empty.

    Example:
        >>> for frame in read_frames("film.mp4"):
        ...     print(list(frame.pixels.shape), float(frame.time))
        [3, 48, 64] 0.0
        [3, 48, 64] 0.04
        [3, 48, 64] 0.08
    """
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"frames: expected 0 <= start < stop, got start {start}, stop {stop}")
    options = options or DecodeOptions()
    images = image_paths(source)
    if images is None:
        return _read_one(source, start, stop, options)
    if start >= len(images):
        raise VideoError(f"{source}: has {len(images)} images, so none from index {start} on")
    return _read_images(images[start:stop], start, options)


def _read_images(images: list[Path], start: int, options: DecodeOptions) -> Iterator[Frame]:
    upright = _Upright(options)
    for index, path in enumerate(images, start):
        with open_footage(path, options) as footage:
            picture = next(footage.pictures())
            turned = footage.orientation or orientation(picture.frame)
            pixels = partial(upright.convert, picture, source_name(path), turned)
            yield Frame(pixels(), index / SEQUENCE_RATE, again=pixels)


def _read_one(
    source: Source, start: int, stop: int | None, options: DecodeOptions
) -> Iterator[Frame]:
    with open_footage(source, options) as footage:
        upright, turned = _Upright(options), Orientation()
        clock, steady = PictureClock(footage.may_jump), _Steady(footage.rate, footage.time_base)
        index = -1
        for index, picture in enumerate(footage.pictures()):
            stamp = None if picture.frame.pts is None else picture.frame.pts * footage.time_base
            time = steady.place(clock.move(stamp, 1 / footage.rate))
            if index == 0:
                turned = footage.orientation or orientation(picture.frame)
                tagged = tagged_packing(footage.metadata, picture.frame)
                warn_of_stereo(tagged, options, footage.name)
                upright.packing = chosen_packing(tagged, options, footage.name)
            if index >= start:
                pixels = partial(upright.convert, picture, footage.name, turned)
                yield Frame(pixels(), time, again=pixels)
            if stop is not None and index + 1 >= stop:
                return
        if index < start:
            raise VideoError(
                f"{footage.name}: has {index + 1} frames, so none from index {start} on"
            )


class _Steady:
    """Moves the stamps of a constant rate from the container's rounded ticks to exact times."""

    def __init__(self, rate: Fraction, tick: Fraction) -> None:
        self._step, self._tick = 1 / rate, tick
        # Only a rate whose steps are no whole ticks has uneven steps in the file.
        self._on = (self._step / tick).denominator != 1
        self._first: Fraction | None = None

    def place(self, time: Fraction) -> Fraction:
        """Return a picture's exact time; once one is off the rate, each keeps its own `time`."""
        if self._first is None:
            self._first = time
        even = self._first + round((time - self._first) / self._step) * self._step
        self._on = self._on and abs(even - time) <= self._tick
        return even if self._on else time


class _Upright:
    """Turns pictures upright and brings them to the size of the first one."""

    def __init__(self, options: DecodeOptions) -> None:
        self._eye = options.source_eye
        self._background = options.background_rgb
        self._size: tuple[int, int] | None = None
        self._warned = False
        self.packing: Packing | None = None
        """How the two eyes lie in the picture, if one of them is to be taken."""

    def convert(self, picture: Picture, name: str, turned: Orientation) -> Tensor:
        """Return RGB [3, H, W] on the background, mirrored and turned as `turned` says.

        The same arguments give the same pixels, however late.
        """
        frame = picture.frame
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
        if picture.alpha is None:
            alpha = read_alpha(frame, width, height)
        else:
            alpha = picture_of_alpha(picture.alpha, width, height)
        if alpha is not None and alpha.min() < 1:
            opacity, ground = torch.from_numpy(alpha), torch.tensor(self._background).view(3, 1, 1)
            rgb = rgb.mul_(opacity).add_((1 - opacity) * ground)
        if turned.mirrored:
            rgb = rgb.flip(2)
        if turned.quarters:
            rgb = torch.rot90(rgb, turned.quarters, (1, 2)).contiguous()
        return rgb if self.packing is None else take_eye(rgb, self.packing, self._eye)
