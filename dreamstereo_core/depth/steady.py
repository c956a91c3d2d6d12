"""Steadies what a per-frame depth model says: one scale along a shot, and no flicker.

A model that sees single frames gives each its own scale and shift, and noise on top. Here, frame by
frame and without looking ahead,
- the past is brought to the new frame along the optical flow;
- the new frame is given the past's scale and shift by a robust fit. It is fitted to a mean over
  hundreds of frames, not to the last one, so that its errors do not add up;
- both are blended. As in temporal antialiasing (Karis, "High quality temporal supersampling",
  2014) the past is first limited to what the new frame has in the pixel's neighbourhood, and it
  counts as many frames as have gone into it. It is dropped where colours disagree along the flow,
  where depth disagrees, and where it comes from outside of the frame: edges that move do not smear.

While the picture stands still, its scale is held. While it moves, things do come nearer, and the
scale slowly follows the model's own; otherwise a ride forward would flatten the relief bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..filters import box_mean, guided_filter, shrink
from ..optical_flow import optical_flow, resize_flow, warp
from ..types import Video
from .align import align
from .estimator import DepthError, DepthEstimator, WrappedDepth

_SIZE = 256  # px, the longer side at which flow and colours are looked at
_RADIUS, _EPSILON = 7, 1e-3  # of the flow's smoothing: px, and variance of the picture
_NEW = 0.04  # share of a new frame, at least
_LONGEST = 500  # frames that the reference is a mean of, at most
_SURE = 10  # frames after which the reference counts half of what it ever does in the fit
_POINTS = 4096  # pixels that the fit looks at
_SURPRISE = 0.05  # mean colour difference, above the grain's, at which the past counts half
_GRAIN = 0.03  # colour differences that may be grain, at most
_SLACK = 0.1  # of the depth's deviation: what the past may lie off the neighbourhood
_NOISE_SLACK = 1.0  # the same: what the model's noise may add to that; an edge that moves adds none
_UNLIKE = 0.5  # correlation below which a frame says nothing about its scale, and counts little
_FLAT = 0.05  # of the past's relief: what has less has none
_FOLLOWED = 0.05  # how much of the model's own scale a frame takes over in fast motion
_CELLS = 4  # of the picture along each side, whose motion is looked at
_MOTION_NOISE = 0.1  # px a frame that are the flow's own noise
_MOTION_HALF = 1.0  # px a frame above that at which it takes over half of that


@dataclass(frozen=True)
class Memory:
    """What a shot has shown so far, as its last frame sees it."""

    frame: Video
    """That frame, ``[1, 3, h', w']`` at working size."""
    depth: Tensor
    """Its steady inverse depth ``[1, 1, h, w]``."""
    reference: Tensor
    """The mean of the aligned inverse depths along the flow, ``[1, 1, h, w]``."""
    age: Tensor
    """How many frames the reference is the mean of, ``[1, 1, h, w]``."""
    scale: float = 1.0
    """What the last raw inverse depth was multiplied by."""


@dataclass(frozen=True)
class SteadyState:
    """Between two chunks."""

    estimator: Any
    """The wrapped estimator's own state."""
    memory: Memory
    frames: int
    """That have come in, over all shots."""


class SteadyDepth(WrappedDepth):
    """Keeps another estimator's inverse depth steady along a shot.

    Args:
        estimator: gives each frame's raw inverse depth at once.

    Raises:
        ValueError: `estimator` returns normalised depth.
    """

    def __init__(self, estimator: DepthEstimator) -> None:
        if estimator.normalized:
            raise ValueError(f"estimator: expected one of raw inverse depth, got {estimator.name}")
        super().__init__(estimator)

    def predict(
        self, video: Video, state: SteadyState | None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, SteadyState]:
        """Return steady raw inverse depth ``[T, 1, h, w]`` in the shot's scale.

        Raises:
            DepthError: the estimator gave NaN, infinity, or no depth for a frame.
        """
        inner, seen = (None, 0) if state is None else (state.estimator, state.frames)
        raw, inner = self.estimator.predict(video, inner, new_shot=new_shot)
        self._check(raw, video, seen)
        memory = None if state is None or new_shot else state.memory
        frames = shrink(video.float(), _SIZE)
        before = torch.cat((frames[:1] if memory is None else memory.frame, frames[:-1]))
        flow = _even(optical_flow(frames, before, width=_SIZE), frames)
        trust = agreement(frames, before, flow)
        steady = []
        parts = (x.split(1) for x in (raw.float(), frames, flow, trust))
        for one, frame, moved, sure in zip(*parts, strict=True):
            if memory is None:
                memory = _start(one, frame)
            else:
                memory = _continue(one, frame, moved, sure, memory)
            steady.append(memory.depth)
        assert memory is not None  # a chunk has frames
        return torch.cat(steady), SteadyState(inner, memory, seen + len(video))

    def flush(self, state: SteadyState | None) -> Tensor:
        """End a shot as the estimator does."""
        return super().flush(None if state is None else state.estimator)

    def _check(self, raw: Tensor, video: Video, seen: int) -> None:
        if len(raw) != len(video):
            raise DepthError(
                f"{self.name}: expected {len(video)} depths for as many frames, got {len(raw)}"
            )
        for i, frame in enumerate(raw):
            if bad := int((~torch.isfinite(frame)).sum()):
                raise DepthError(
                    f"{self.name}: inverse depth of frame {seen + i}: expected finite values, "
                    f"got {bad} that are NaN or infinite"
                )


def agreement(frames: Video, before: Video, flow: Tensor) -> Tensor:
    """Return how well the frame before explains each pixel along the flow, ``[T, 1, h, w]``.

    1 where colours are the same except for grain and for a flash of the whole picture, 0 where the
    flow leads out of the frame.
    """
    difference = warp(before, flow) - frames
    flash = difference.flatten(2).median(dim=2).values
    surprise = box_mean((difference - flash[..., None, None]).abs().mean(1, keepdim=True), 3)
    grain = surprise.flatten(1).median(dim=1).values.clamp(max=_GRAIN).view(-1, 1, 1, 1)
    surprise = box_mean((surprise - 2 * grain).clamp(min=0), 3)
    h, w = flow.shape[2:]
    x = torch.arange(w, device=flow.device) + flow[:, :1]
    y = torch.arange(h, device=flow.device)[:, None] + flow[:, 1:]
    inside = (x >= -1) & (x <= w) & (y >= -1) & (y <= h)  # a pixel off is the flow's own error
    return inside / (1 + (surprise / _SURPRISE).square())


def _even(flow: Tensor, frames: Video) -> Tensor:
    """Smooth a flow up to the picture's edges: where nothing is to be seen it is a patchwork."""
    guided = (guided_filter(x, frames, radius=_RADIUS, epsilon=_EPSILON) for x in flow.split(1, 1))
    return torch.cat(tuple(guided), dim=1)


def _start(raw: Tensor, frame: Video) -> Memory:
    return Memory(frame, raw, raw, torch.ones_like(raw))


def _continue(raw: Tensor, frame: Video, flow: Tensor, trust: Tensor, memory: Memory) -> Memory:
    """Return the memory after one more raw inverse depth ``[1, 1, h, w]``."""
    size = raw.shape[2:]
    if memory.depth.shape != raw.shape:
        raise ValueError(
            f"raw: expected the shot's size {list(memory.depth.shape[2:])}, got {list(size)}"
        )
    past = torch.cat((memory.depth, memory.reference, memory.age), dim=1)
    depth, reference, age = warp(past, resize_flow(flow, size)).split(1, dim=1)
    trust = F.interpolate(trust, size, mode="bilinear", align_corners=False)
    step = ceil((size[0] * size[1] / _POINTS) ** 0.5)
    values, wanted, trusted, ages = (
        x[..., ::step, ::step].flatten() for x in (raw, reference, trust, age)
    )
    fit = align(values, wanted, trusted * ages / (ages + _SURE), noise_ratio=ages)
    if memory.scale * fit.spread <= _FLAT * fit.wanted_spread:  # nothing to learn from: the past
        flat = torch.full_like(raw, fit.target)
        depth, reference = (torch.lerp(flat, x, trust) for x in (depth, reference))
        return Memory(frame, depth, reference, (age * trust).clamp(min=1), memory.scale)
    if fit.wanted_spread <= _FLAT * memory.scale * fit.spread:  # the past had nothing
        return _start(raw, frame)
    scale, target = fit.scale, fit.target
    if fit.correlation < _UNLIKE:
        scale = memory.scale
    else:
        # Past and present change alike, so this cannot flicker.
        followed = _FOLLOWED * _motion(flow)
        growth = scale**-followed
        target += followed * (fit.center - target)
        depth, reference = ((x - fit.target) * growth + target for x in (depth, reference))
        scale *= growth
    aligned = (raw - fit.center) * scale + target
    slack = _SLACK * fit.wanted_spread
    slack += min(2 * fit.residual, _NOISE_SLACK * fit.wanted_spread)
    limited, trust = _limit(depth, aligned, slack, trust)
    weight = 1.0 if fit.correlation >= _UNLIKE else _NEW
    share = trust * (age / (age + weight)).clamp(max=1 - _NEW)
    age = age * trust + weight
    reference = torch.lerp(reference, aligned, weight / age)
    age = age.clamp(1, _LONGEST)
    return Memory(frame, torch.lerp(aligned, limited, share), reference, age, scale)


def _motion(flow: Tensor) -> float:
    """Return how much most of the picture moves, in [0, 1); noise of the flow is none."""
    moved = F.adaptive_avg_pool2d(flow, _CELLS).norm(dim=1).median()
    moved = (moved - _MOTION_NOISE).clamp(min=0)
    return float(moved / (moved + _MOTION_HALF))


def _limit(depth: Tensor, aligned: Tensor, slack: float, trust: Tensor) -> tuple[Tensor, Tensor]:
    """Limit the past's depth to the new one's within 3 x 3 pixels; return it and its trust.

    An edge that trembles by a pixel is averaged, one that has moved on is not.
    """
    nearest = F.max_pool2d(aligned, 3, 1, 1) + slack
    farthest = -F.max_pool2d(-aligned, 3, 1, 1) - slack
    limited = torch.minimum(torch.maximum(depth, farthest), nearest)
    return limited, trust / (1 + ((depth - limited) / slack).square())
