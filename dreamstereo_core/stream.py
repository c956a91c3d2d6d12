"""Frames on their way through the stages, and the one queue between a stage and its frames.

A stage is `stream(frames)`: it yields one result per frame, in order, perhaps late, since it may
look ahead. `beside` brings each result back to its frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor

from .types import NO_BARS, UNIT_SCALE, Bars, Caption, InverseDepth, ShotScale

T = TypeVar("T")
Result = TypeVar("Result")

LARGE_PIXELS = 4_000_000
"""From which on a frame counts as large: it waits without its pixels."""
_UNKNOWN = torch.empty(1, 1, 0, 0)


@dataclass(frozen=True)
class Notes:
    """What each stage knows just before a frame, so that another run can go on from there.

    Example:
        >>> first = Notes()
        >>> first.keep("counter", 3)
        3
        >>> Notes(read=first.written).keep("counter", 0)
        3
    """

    written: dict[str, Any] = field(default_factory=dict)
    """By stage; a state that stays as it is."""
    read: Mapping[str, Any] = field(default_factory=dict)
    """What another run wrote at this frame."""

    def keep(self, stage: str, state: T) -> T:
        """Write a stage's state down, and return what it goes on with: the other run's, if any."""
        self.written[stage] = self.read.get(stage, state)
        return self.written[stage]


@dataclass(frozen=True)
class Frame:
    """One picture of a film; each stage adds what it has found.

    Example:
        >>> import torch
        >>> Frame(torch.zeros(3, 4, 6)).new_shot
        False
    """

    pixels: Tensor
    """``[3, H, W]`` float32 RGB in [0, 1], bars and all."""
    time: Fraction = Fraction(0)
    """Presentation time in seconds, in the source's own clock."""
    new_shot: bool = False
    """Whether it starts a shot; it does where the bars change, too."""
    bars: Bars = NO_BARS
    inverse_depth: InverseDepth = _UNKNOWN
    """``[1, 1, h, w]`` of what the bars enclose, in the estimator's resolution."""
    scale: ShotScale = UNIT_SCALE
    convergence: float = 0.5
    """The inverse depth that lies on the screen."""
    wanted_convergence: float | None = None
    """What a plan says of it; None = it is found."""
    strength: float = 1.0
    """What the depth of the film's options is multiplied with."""
    captions: tuple[Caption, ...] = ()
    """What is to be drawn into both eyes."""
    again: Callable[[], Tensor] | None = None
    """Makes the same pixels once more from what the decoder gave, which is an eighth of them."""
    notes: Notes | None = None
    """Where the stages write down what they know before this frame."""
    warm_up: bool = False
    """Whether another run has made its result, so that it only leads the stages up to the next."""

    def at_rest(self) -> Frame:
        """Return the frame as it is to wait: if it is large, without pixels that can be remade."""
        if self.again is None or self.pixels[0].numel() < LARGE_PIXELS:
            return self
        return replace(self, pixels=torch.empty_like(self.pixels, device="meta"))

    def awake(self) -> Frame:
        """Return the frame with its pixels."""
        if self.again is None or not self.pixels.is_meta:
            return self
        return replace(self, pixels=self.again())

    @property
    def picture(self) -> Tensor:
        """``[1, 3, h, w]``: what the bars enclose, a view."""
        return self.bars.crop(self.pixels[None])


def beside(
    frames: Iterable[T],
    stage: Callable[[Iterator[T]], Iterable[Result]],
    rest: Callable[[T], T] = lambda frame: frame,
) -> Iterator[tuple[T, Result]]:
    """Yield each frame with what `stage` yields for it; frames wait here until it does.

    `rest` makes of a frame what waits, and comes out.

    Raises:
        RuntimeError: the stage ended before it gave each frame its result.

    Example:
        >>> list(beside([1, 2], lambda numbers: (10 * n for n in numbers)))
        [(1, 10), (2, 20)]
    """
    waiting: deque[T] = deque()

    def handed_over() -> Iterator[T]:
        for frame in frames:
            waiting.append(rest(frame))
            yield frame
            del frame  # what is named here would stay while the next one is made

    for result in stage(handed_over()):
        yield waiting.popleft(), result
        del result
    if waiting:
        raise RuntimeError(f"stage: expected a result for each frame, {len(waiting)} got none")


def by_shot(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """Yield the frames of each shot, to be taken one shot after the other."""
    number = 0

    def shot_of(frame: Frame) -> int:
        nonlocal number
        number += frame.new_shot
        return number

    return (shot for _, shot in groupby(frames, shot_of))
