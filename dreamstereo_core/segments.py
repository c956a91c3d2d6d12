"""A film's frames in order, cut into parts of one shot that have the same bars."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from .shots import BarDetector, Bars, CutDetector
from .types import Video

_NONE = Bars()


@dataclass(frozen=True)
class Part:
    """Frames of one shot."""

    video: Video
    """``[n, 3, H, W]``, bars and all."""
    new_shot: bool
    """Whether the first frame starts a shot; it does where the bars change, too."""
    bars: Bars


def split_film(
    frames: Iterable[Tensor], detector: CutDetector, bars: BarDetector | None, size: int
) -> Iterator[Part]:
    """Yield parts of at most `size` frames; memory holds the detectors' look-ahead.

    Args:
        frames: ``[3, H, W]``.
        detector: finds the cuts.
        bars: finds the bars; None: there are none.
        size: of a part.

    Raises:
        TypeError: a frame is no floating point tensor.
        ValueError: a frame's shape differs from the first one's.
    """
    part: list[Tensor] = []
    new_shot, around = False, _NONE
    for frame, cut, now in _with_bars(_with_cuts(frames, detector, size), bars):
        if part and (cut or now != around or len(part) == size):
            yield Part(torch.stack(part), new_shot, around)
            part, new_shot = [], False
        new_shot |= cut or now != around
        around = now
        part.append(frame)
    if part:
        yield Part(torch.stack(part), new_shot, around)


def _with_bars(
    frames: Iterable[tuple[Tensor, bool]], detector: BarDetector | None
) -> Iterator[tuple[Tensor, bool, Bars]]:
    waiting: deque[tuple[Tensor, bool]] = deque()
    for frame, cut in frames:
        waiting.append((frame, cut))
        for bars in [_NONE] if detector is None else detector.push(frame, cut):
            yield *waiting.popleft(), bars
    for bars in [] if detector is None else detector.flush():
        yield *waiting.popleft(), bars


def _with_cuts(
    frames: Iterable[Tensor], detector: CutDetector, size: int
) -> Iterator[tuple[Tensor, bool]]:
    """Give each frame whether it starts a shot."""
    waiting: deque[Tensor] = deque()
    state = None
    for video in _batches(frames, size):
        waiting.extend(video)
        cuts, state = detector.cuts(video, state)
        del video
        for cut in cuts.tolist():
            yield waiting.popleft(), cut
    for cut in detector.flush(state).tolist():
        yield waiting.popleft(), cut
    if waiting:
        raise RuntimeError(f"shots: {len(waiting)} frames were left undecided")


def _batches(frames: Iterable[Tensor], size: int) -> Iterator[Video]:
    """Stack frames ``[3, H, W]`` to ``[n, 3, H, W]``."""
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        return
    iterator = chain([first], iterator)
    while batch := list(islice(iterator, size)):
        for frame in batch:
            if frame.shape != first.shape:
                raise ValueError(
                    f"frames: expected the first frame's shape {list(first.shape)}, "
                    f"got {list(frame.shape)}"
                )
        video = torch.stack(batch)
        batch.clear()
        yield video
        del video
