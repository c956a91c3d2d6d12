"""Run layers on a part of the picture, with the same result as on the whole.

A `Step` knows which input pixels an output region depends on. Going backwards through the steps
from a region finds the crop that each step needs. Going forwards, each crop loses the margin that
zero padding has spoilt at its inner sides. So a tile equals the same pixels of the whole, and tiles
need no blending.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from torch import Tensor

Memory = Any
"""What a step keeps from one chunk of frames to the next: nested tuples of tensors, or None."""


class Region(NamedTuple):
    """Pixels [top, bottom) x [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    def crop(self, x: Tensor, top: int = 0, left: int = 0) -> Tensor:
        """Return this region of `x`, whose first pixel lies at (top, left)."""
        return x[..., self.top - top : self.bottom - top, self.left - left : self.right - left]


@dataclass(frozen=True)
class Step:
    """One layer: ``run(x, memory) -> (y, memory)``, with height and width as the last two axes."""

    run: Callable[..., tuple[Tensor, Memory]]
    """With a `beside`, that is the third argument."""
    radius: int = 0
    """How far an output pixel sees, in pixels of the finer of input and output."""
    up: int = 1
    down: int = 1
    past: int = 0
    """How many frames before its own a frame of the output depends on, in frames of the input."""
    grow: int = 1
    """How many frames one frame becomes."""
    beside: Tensor | None = None
    """A second input, of the first one's height and width, cropped as that is."""

    def __call__(
        self, x: Tensor, memory: Memory, region: Region | None = None
    ) -> tuple[Tensor, Memory]:
        """Run the layer; `region` is where `x` lies in the whole picture."""
        if self.beside is None:
            return self.run(x, memory)
        return self.run(x, memory, self.beside if region is None else region.crop(self.beside))

    def source(self, start: int, stop: int) -> tuple[int, int]:
        """Return the span of the input, unclipped, that the output span [start, stop) needs."""
        if self.down > 1:
            # A crop must start at a multiple of the stride.
            margin = -(-self.radius // self.down) * self.down
            return start * self.down - margin, stop * self.down + self.radius
        return (start - self.radius) // self.up, -((-stop - self.radius) // self.up)

    def size(self, n: int) -> int:
        """Return the place in the output of the input's pixel n (or of its end n)."""
        return n * self.up // self.down


def run_steps(steps: Sequence[Step], x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Run the steps on the whole picture."""
    after = []
    for step, past in zip(steps, memory or (None,) * len(steps), strict=True):
        x, past = step(x, past)
        after.append(past)
    return x, tuple(after)


def plan(steps: Sequence[Step], height: int, width: int, region: Region) -> list[Region]:
    """Return the crop at each step's input, then `region`; height and width are the input's."""
    sizes = [(height, width)]
    for step in steps:
        sizes.append((step.size(sizes[-1][0]), step.size(sizes[-1][1])))
    crops = [region]
    for step, (h, w) in zip(reversed(steps), reversed(sizes[:-1]), strict=True):
        (top, bottom), (left, right) = step.source(*crops[0][:2]), step.source(*crops[0][2:])
        crops.insert(0, Region(max(top, 0), min(bottom, h), max(left, 0), min(right, w)))
    return crops


def run_region(
    steps: Sequence[Step], x: Tensor, memory: Memory, crops: Sequence[Region]
) -> tuple[Tensor, Memory]:
    """Run the steps for one region of their output, with the crops of `plan`."""
    after = []
    x = crops[0].crop(x)
    for i, (step, past) in enumerate(zip(steps, memory or (None,) * len(steps), strict=True)):
        x, past = step(x, past, crops[i])
        x = crops[i + 1].crop(x, step.size(crops[i].top), step.size(crops[i].left))
        after.append(past)
    return x, tuple(after)


def run_regions(
    steps: Sequence[Step], x: Tensor, memory: Memory, regions: Sequence[Region]
) -> tuple[Tensor, Memory]:
    """Run the steps for some regions of their output; the rest of the output is zero."""
    height, width = x.shape[-2:]
    out_height, out_width = height, width
    for step in steps:
        out_height, out_width = step.size(out_height), step.size(out_width)
    canvas, after = None, []
    for region, past in zip(regions, memory or (None,) * len(regions), strict=True):
        crops = plan(steps, height, width, region)
        tile, past = run_region(steps, x, past, crops)
        if canvas is None:
            canvas = tile.new_zeros(*tile.shape[:-2], out_height, out_width)
        region.crop(canvas).copy_(tile)
        after.append(past)
    if canvas is None:
        raise ValueError("regions: expected at least one, got none")
    return canvas, tuple(after)


def first_growing(steps: Sequence[Step]) -> int:
    """Return the number of the first layer that makes the picture larger."""
    return next(i for i, step in enumerate(steps) if step.up > 1)


def lookback(steps: Sequence[Step]) -> int:
    """Return how many frames before its own an output depends on, in frames of the first input."""
    total, rate = Fraction(0), 1
    for step in steps:
        total += Fraction(step.past, rate)
        rate *= step.grow
    return math.ceil(total)


def grid(height: int, width: int, tile: int) -> tuple[Region, ...]:
    """Cut a picture into tiles of at most `tile` x `tile` pixels that do not overlap."""
    return tuple(
        Region(top, min(top + tile, height), left, min(left + tile, width))
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    )
