"""Clips of one size from any folder of videos and photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from data.files import DataError
from dreamstereo_core import probe, read_frames
from dreamstereo_core.shots import ShotDetector
from dreamstereo_core.types import Video

VIDEOS = (".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".gif", ".wmv")
PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class ClipOptions(Protocol):
    """What the clips are like."""

    @property
    def frames(self) -> int:
        """T."""
        ...

    @property
    def height(self) -> int:
        """H."""
        ...

    @property
    def width(self) -> int:
        """W."""
        ...

    @property
    def clips(self) -> int:
        """Of each video at most."""
        ...


def find_sources(folders: list[Path], exclude: list[Path]) -> list[Path]:
    """Return the videos and photos under `folders` that are not under `exclude`, in order.

    Raises:
        DataError: a folder does not exist, or there is nothing in them.
    """
    excluded = [path.resolve() for path in exclude]
    found: dict[Path, Path] = {}
    for folder in [*folders, *exclude]:
        if not folder.exists():
            raise DataError(f"{folder}: no such folder")
    for folder in folders:
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
            real = path.resolve()
            known = path.suffix.lower() in (*VIDEOS, *PHOTOS) and path.is_file()
            if known and not any(real.is_relative_to(place) for place in excluded):
                found.setdefault(real, path)
    if not found:
        names = ", ".join(map(str, folders))
        raise DataError(f"{names}: expected videos or photos, found none")
    return list(found.values())


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """Draw one number."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def read_windows(
    path: Path, options: ClipOptions, generator: torch.Generator
) -> Iterator[tuple[int, Video, Place]]:
    """Read windows spread over a video, in one pass.

    Yields:
        The first frame's number, `[T, 3, H, W]`, and what part of the frames that is; the last
        window may be shorter.

    Raises:
        VideoError: the video cannot be read.
    """
    count = probe(path).frame_count or options.frames * options.clips
    free = max(0, count - options.frames)
    number = max(1, min(options.clips, count // options.frames))
    starts = [round(free * (i + uniform(generator, 0, 1)) / number) for i in range(number)]
    for i in range(1, number):  # none overlaps the one before
        starts[i] = max(starts[i], starts[i - 1] + options.frames)
    zoom, x, y = uniform(generator, 1.0, 1.4), *torch.rand(2, generator=generator).tolist()
    window, length = torch.empty(0), 0
    place = None
    first, stop = starts[0], starts[-1] + options.frames
    for index, frame in enumerate(read_frames(path, first, stop), first):
        if index >= starts[0]:
            size = options.height, options.width
            place = place or Place.of(frame.pixels, *size, zoom, x, y)
            if not length:  # one piece of memory, which is a gigabyte for a long clip
                window = torch.empty(options.frames, 3, *size)
            window[length] = place.cut(frame.pixels)
            length += 1
        if place and length == options.frames:
            yield starts.pop(0), window, place
            length = 0
            if not starts:
                return
    if place and length:
        yield starts[0], window[:length], place


def longest_shot(video: Video) -> tuple[int, int]:
    """Return where the longest part of `[T, 3, H, W]` without a cut starts and stops."""
    starts = ShotDetector().cuts(video)[0].nonzero().flatten().tolist()
    spans = list(zip(starts, [*starts[1:], len(video)], strict=True))
    return max(spans, key=lambda span: span[1] - span[0])


def there_and_back(length: int, count: int) -> list[int]:
    """Return `count` indices that run to and fro over 0 .. length - 1."""
    period = max(1, 2 * length - 2)
    return [min(i % period, period - i % period) if length > 1 else 0 for i in range(count)]


def cover(frame: Tensor, height: int, width: int, zoom: float, x: float, y: float) -> Tensor:
    """Scale `[3, h, w]` until it covers the size `zoom` times, and crop at (x, y) in [0, 1]."""
    return Place.of(frame, height, width, zoom, x, y).cut(frame)


@dataclass(frozen=True)
class Place:
    """What part of a source's frames a clip shows: scaled, then cropped."""

    scaled: tuple[int, int]
    """Height and width of the whole scaled frame."""
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, frame: Tensor, height: int, width: int, zoom: float, x: float, y: float) -> Place:
        """Return the place that `cover` takes in frames `[..., h, w]`."""
        h, w = frame.shape[-2:]
        scale = max(height / h, width / w)
        if scale < 1:
            scale = min(1.0, scale * zoom)
        size = (max(height, round(h * scale)), max(width, round(w * scale)))
        return cls(size, round(y * (size[0] - height)), round(x * (size[1] - width)), height, width)

    def cut(self, frame: Tensor) -> Tensor:
        """Return the part of a frame `[3, h, w]`."""
        scaled = frame
        if frame.shape[-2:] != self.scaled:
            scaled = F.interpolate(frame[None], self.scaled, mode="bilinear", antialias=True)[0]
            scaled = scaled.clamp(0, 1)
        return self._crop(scaled)

    def cut_depth(self, depth: Tensor) -> Tensor:
        """Return the part of `[T, 1, h, w]` of any size, with no more pixels than it has there."""
        if depth.shape[-2] >= self.scaled[0] and depth.shape[-1] >= self.scaled[1]:
            if depth.shape[-2:] != self.scaled:
                depth = F.interpolate(depth, self.scaled, mode="area")
            return self._crop(depth)
        size = [
            max(1, round(wanted * have / whole))
            for wanted, have, whole in zip(
                (self.height, self.width), depth.shape[-2:], self.scaled, strict=True
            )
        ]
        y = (self.top + self.height / 2, self.height, self.scaled[0])
        x = (self.left + self.width / 2, self.width, self.scaled[1])
        row_x, row_y = ([span / whole, 2 * middle / whole - 1] for middle, span, whole in (x, y))
        theta = depth.new_tensor([[row_x[0], 0, row_x[1]], [0, row_y[0], row_y[1]]])
        grid = F.affine_grid(theta[None], [1, 1, *size], align_corners=False)
        grid = grid.expand(len(depth), -1, -1, -1)
        return F.grid_sample(depth, grid, padding_mode="border", align_corners=False)

    def _crop(self, frames: Tensor) -> Tensor:
        rows = slice(self.top, self.top + self.height)
        return frames[..., rows, self.left : self.left + self.width]
