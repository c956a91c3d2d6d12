"""Steady the depth of a per-frame model: one scale along a shot, and no flicker.

A model that sees single frames gives each its own scale and shift, and noise on top. This works
frame by frame, without looking ahead:
- The past is brought to the new frame along the optical flow.
- The new frame is given the past's scale and shift by a robust fit. It is fitted to a mean over
  hundreds of frames, not to the last frame, so that errors do not add up.
- Both are blended. As in temporal antialiasing (Karis, "High quality temporal supersampling",
  2014), the past is first limited to the range of the new frame in the pixel's neighbourhood, and
  it weighs as much as the frames that have gone into it. It is dropped where colours disagree along
  the flow, where depth disagrees, and where it comes from outside of the frame. So edges that move
  do not smear.

While the picture stands still, its scale is held. While it moves, things really come nearer, so the
scale slowly follows the model's own. Otherwise a ride forward would flatten the relief bit by bit.
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
_RADIUS, _EPSILON = 7, 1e-3  # px, and variance of the picture: the flow's guided smoothing
_NEW = 0.04  # least share of a new frame
_LONGEST = 500  # frames, at most, that the reference is the mean of
_SURE = 10  # frames after which the reference has half of its final weight in the fit
_POINTS = 4096  # pixels that the fit looks at, at most
_SURPRISE = 0.05  # mean colour difference, beyond the grain's, at which the past counts half
_GRAIN = 0.03  # largest colour difference that may be grain
_SLACK = 0.1  # of the depth's deviation: how far the past may lie outside of the neighbourhood
_NOISE_SLACK = 1.0  # of the depth's deviation: the most that the model's noise adds to that
_UNLIKE = 0.5  # correlation below which a frame says nothing about its scale and weighs little
_FLAT = 0.05  # share of the past's relief below which a depth counts as flat
_FOLLOWED = 0.05  # share of the model's own scale that a frame takes over in fast motion
_CELLS = 4  # cells along each side of the picture, whose mean motion is looked at
_MOTION_NOISE = 0.1  # px a frame, motion that is the flow's own noise
_MOTION_HALF = 1.0  # px a frame beyond the noise at which half of `_FOLLOWED` is taken over


@dataclass(frozen=True)
class Memory:
    """What a shot has shown so far, brought to its last frame."""

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
    """What is kept between two chunks."""

    estimator: Any
    """The wrapped estimator's own state."""
    memory: Memory
    frames: int
    """Frames that have come in, over all shots."""


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

    @property
    def about(self) -> dict[str, Any]:
        """Return the wrapped estimator's, and that it is kept steady."""
        return {**self.estimator.about, "steady": True}

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

    It is 1 where colours are the same except for grain and for a flash of the whole picture, and 0
    where the flow leads out of the frame.
    """
    difference = warp(before, flow) - frames  # [T, 3, h, w]
    flash = difference.flatten(2).median(dim=2).values  # [T, 3]
    surprise = box_mean((difference - flash[..., None, None]).abs().mean(1, keepdim=True), 3)
    # [T, 1, h, w] from here on, but for the grain of each frame, [T, 1, 1, 1].
    grain = surprise.flatten(1).median(dim=1).values.clamp(max=_GRAIN).view(-1, 1, 1, 1)
    surprise = box_mean((surprise - 2 * grain).clamp(min=0), 3)
    h, w = flow.shape[2:]
    x = torch.arange(w, device=flow.device) + flow[:, :1]
    y = torch.arange(h, device=flow.device)[:, None] + flow[:, 1:]
    inside = (x >= -1) & (x <= w) & (y >= -1) & (y <= h)  # one pixel may be the flow's error
    return inside / (1 + (surprise / _SURPRISE).square())


def _even(flow: Tensor, frames: Video) -> Tensor:
    """Smooth a flow ``[T, 2, h, w]`` up to the picture's edges; in plain areas it is patchy."""
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
    past = torch.cat((memory.depth, memory.reference, memory.age), dim=1)  # [1, 3, h, w]
    depth, reference, age = warp(past, resize_flow(flow, size)).split(1, dim=1)  # [1, 1, h, w] each
    trust = F.interpolate(trust, size, mode="bilinear", align_corners=False)  # [1, 1, h, w]
    step = ceil((size[0] * size[1] / _POINTS) ** 0.5)  # px
    values, wanted, trusted, ages = (
        x[..., ::step, ::step].flatten() for x in (raw, reference, trust, age)
    )  # [N] each
    fit = align(values, wanted, trusted * ages / (ages + _SURE), noise_ratio=ages)
    if memory.scale * fit.spread <= _FLAT * fit.wanted_spread:  # flat: keep the past
        flat = torch.full_like(raw, fit.target)
        depth, reference = (torch.lerp(flat, x, trust) for x in (depth, reference))
        return Memory(frame, depth, reference, (age * trust).clamp(min=1), memory.scale)
    if fit.wanted_spread <= _FLAT * memory.scale * fit.spread:  # the past was flat: begin anew
        return _start(raw, frame)
    scale, target = fit.scale, fit.target
    if fit.correlation < _UNLIKE:
        scale = memory.scale
    else:
        # The past and the new frame are changed alike, so this cannot flicker.
        followed = _FOLLOWED * _motion(flow)
        growth = scale**-followed
        target += followed * (fit.center - target)
        depth, reference = ((x - fit.target) * growth + target for x in (depth, reference))
        scale *= growth
    aligned = (raw - fit.center) * scale + target  # [1, 1, h, w]
    slack = _SLACK * fit.wanted_spread
    slack += min(2 * fit.residual, _NOISE_SLACK * fit.wanted_spread)
    limited, trust = _limit(depth, aligned, slack, trust)
    weight = 1.0 if fit.correlation >= _UNLIKE else _NEW
    share = trust * (age / (age + weight)).clamp(max=1 - _NEW)  # [1, 1, h, w], of the past
    age = age * trust + weight
    reference = torch.lerp(reference, aligned, weight / age)
    age = age.clamp(1, _LONGEST)
    return Memory(frame, torch.lerp(aligned, limited, share), reference, age, scale)


def _motion(flow: Tensor) -> float:
    """Return how much most of the picture moves, in [0, 1); the flow's noise counts as 0."""
    moved = F.adaptive_avg_pool2d(flow, _CELLS).norm(dim=1).median()  # px a frame
    moved = (moved - _MOTION_NOISE).clamp(min=0)
    return float(moved / (moved + _MOTION_HALF))


def _limit(depth: Tensor, aligned: Tensor, slack: float, trust: Tensor) -> tuple[Tensor, Tensor]:
    """Limit the past's depth to the new one's within 3 x 3 pixels; return it and its trust.

    So an edge that trembles by a pixel is averaged, and an edge that has moved on is not.
    """
    nearest = F.max_pool2d(aligned, 3, 1, 1) + slack  # [1, 1, h, w]
    farthest = -F.max_pool2d(-aligned, 3, 1, 1) - slack  # [1, 1, h, w]
    limited = torch.minimum(torch.maximum(depth, farthest), nearest)  # [1, 1, h, w]
    return limited, trust / (1 + ((depth - limited) / slack).square())
