"""Clips of one size from any folder of videos and photos."""

from __future__ import annotations

from collections.abc import Iterator
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
) -> Iterator[tuple[int, Video]]:
    """Read windows spread over a video, in one pass.

    Yields:
        The first frame's number and `[T, 3, H, W]`; the last window may be shorter.

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
    window: list[Tensor] = []
    for index, frame in enumerate(read_frames(path, 0, starts[-1] + options.frames)):
        if index >= starts[0]:
            window.append(cover(frame.pixels, options.height, options.width, zoom, x, y))
        if len(window) == options.frames:
            yield starts.pop(0), torch.stack(window)
            window = []
            if not starts:
                return
    if window:
        yield starts[0], torch.stack(window)


def longest_shot(video: Video) -> Video:
    """Return the longest part of `[T, 3, H, W]` without a cut."""
    starts = ShotDetector().cuts(video)[0].nonzero().flatten().tolist()
    spans = list(zip(starts, [*starts[1:], len(video)], strict=True))
    start, stop = max(spans, key=lambda span: span[1] - span[0])
    return video[start:stop]


def there_and_back(length: int, count: int) -> list[int]:
    """Return `count` indices that run to and fro over 0 .. length - 1."""
    period = max(1, 2 * length - 2)
    return [min(i % period, period - i % period) if length > 1 else 0 for i in range(count)]


def cover(frame: Tensor, height: int, width: int, zoom: float, x: float, y: float) -> Tensor:
    """Scale `[3, h, w]` until it covers the size `zoom` times, and crop at (x, y) in [0, 1]."""
    h, w = frame.shape[-2:]
    scale = max(height / h, width / w)
    if scale < 1:
        scale = min(1.0, scale * zoom)
    size = (max(height, round(h * scale)), max(width, round(w * scale)))
    scaled = F.interpolate(frame[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    top, left = round(y * (size[0] - height)), round(x * (size[1] - width))
    return scaled[:, top : top + height, left : left + width]
