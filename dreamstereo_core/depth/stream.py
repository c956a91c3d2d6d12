"""Inverse depth of a film's frames as they stream by, on one scale per shot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..segments import Part
from ..shots import Bars
from ..types import InverseDepth
from .normalize import ShotNormalizer, ShotScale, normalize

if TYPE_CHECKING:
    from .estimator import DepthEstimator


@dataclass(frozen=True)
class DepthFrame:
    """A frame with its depth."""

    video: Tensor
    """``[1, 3, H, W]``, bars and all."""
    inverse_depth: InverseDepth
    """``[1, 1, h, w]`` of what the bars enclose, in the estimator's resolution."""
    scale: ShotScale
    """Of the estimator's values; an estimator that normalises has 0 and 1 and a median."""
    new_shot: bool
    bars: Bars


def stream_depth(
    estimator: DepthEstimator,
    parts: Iterable[Part],
    look: Callable[[Tensor, bool], None] = lambda raw, new_shot: None,
) -> Iterator[DepthFrame]:
    """Yield each frame with its inverse depth, a look-ahead later than it comes in.

    Args:
        estimator: of the depth.
        parts: of the film, in order.
        look: is shown each frame's raw inverse depth ``[1, h, w]``, and whether a shot starts, as
            soon as it is known.

    Raises:
        RuntimeError: the estimator gave too few depths for a shot.
        ValueError: a depth is not finite.
    """
    normalizer, state = ShotNormalizer(), None
    coming: deque[tuple[Tensor, bool, Bars]] = deque()  # until their depth is known
    waiting: deque[tuple[Tensor, Tensor, bool, Bars]] = deque()  # until their scale is known

    def take(raws: Tensor) -> Iterator[DepthFrame]:
        for raw in raws:
            video, new_shot, bars = coming.popleft()
            if estimator.whole_frames:
                raw = bars.crop_scaled(raw, video)
            waiting.append((video, raw[None], new_shot, bars))
            look(raw, new_shot)
            yield from release(normalizer.push(raw, new_shot=new_shot))

    def release(scales: Iterable[ShotScale]) -> Iterator[DepthFrame]:
        for scale in scales:
            video, raw, new_shot, bars = waiting.popleft()
            if estimator.normalized:
                scale = ShotScale(0.0, 1.0, scale.median)
            inverse_depth = normalize(raw, scale.low, scale.high)
            yield DepthFrame(video, inverse_depth, scale, new_shot, bars)

    def end_shot() -> Iterator[DepthFrame]:
        yield from take(estimator.flush(state))
        if coming:
            raise RuntimeError(f"{estimator.name}: no depth came for {len(coming)} frames")

    for part in parts:
        if part.new_shot:
            yield from end_shot()
        seen = part.video if estimator.whole_frames else part.bars.crop(part.video)
        raws, state = estimator.predict(seen, state, new_shot=part.new_shot)
        coming.extend(
            (frame[None], part.new_shot and i == 0, part.bars) for i, frame in enumerate(part.video)
        )
        yield from take(raws)
    yield from end_shot()
    yield from release(normalizer.flush())
