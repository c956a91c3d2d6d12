"""A depth estimator without weights: cues that painters use, motion, and smoothing.

It is a heuristic, not a measurement. It gives a stable and plausible relief at once, offline, from
four cues:
- The ground plane: lower in the picture is nearer, from a soft horizon down.
- Figure and ground: areas that cannot be reached from the picture's upper borders without crossing
  an edge stand in front (the geodesic saliency of Wei et al., ECCV 2012).
- Motion: what moves against the camera's own motion (an affine fit) is near, and stays near.
- Focus: what is sharper than the rest is a little nearer.
Their sum is smoothed up to the picture's edges, then over time along the optical flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..filters import box_mean, guided_filter, median, shrink
from ..optical_flow import optical_flow, warp
from ..types import Video
from .estimator import DepthEstimator

_SIZE = 256  # px, the longer side at which it works
_HORIZON = 0.3  # of the height, from the top
_WEIGHTS = {"ground": 0.5, "figure": 0.35, "motion": 0.4, "focus": 0.12}
_MOTION_KEPT = 0.98  # of the cue, each frame: a walker who stops sinks back within seconds
_MOTION_NOISE = 0.25  # px of motion against the camera's that may be the flow's own noise
_MOTION_HALF = 0.5  # px beyond the noise at which motion counts half
_RADIUS, _EPSILON = 10, 6e-3  # px, and variance of the picture: the smoothing up to edges
_MEDIAN = 5  # px; smaller specks would tear holes into surfaces
_NEW = 0.12  # share of a new frame in the temporal mean
_SURPRISE = 0.06  # mean colour difference along the flow at which the past counts half


@dataclass(frozen=True)
class EmbeddedState:
    """The last frame at working size, its inverse depth and its motion cue."""

    frame: Video
    inverse_depth: Tensor
    motion: Tensor


class EmbeddedDepth(DepthEstimator):
    """Inverse depth from pictorial cues and motion, at most 256 px wide or high."""

    name = "cues"
    normalized = False

    def predict(
        self, video: Video, state: EmbeddedState | None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, EmbeddedState]:
        """Return raw inverse depth ``[T, 1, h, w]`` and what the next chunk continues from."""
        frames = shrink(video.float(), _SIZE)
        past = None if new_shot else state
        before = torch.cat((frames[:1] if past is None else past.frame, frames[:-1]))
        flow = optical_flow(frames, before, width=_SIZE)
        motion = _follow(_motion_against_camera(flow), flow, past)
        depth = _pictorial(frames) + _WEIGHTS["motion"] * motion
        depth = guided_filter(depth, frames, radius=_RADIUS, epsilon=_EPSILON)
        surprise = (warp(before, flow) - frames).abs().mean(1, keepdim=True)
        depth = _settle(depth, flow, (1 - _NEW) * _SURPRISE / (_SURPRISE + surprise), past)
        state = EmbeddedState(frames[-1:], depth[-1:], motion[-1:])
        return median(depth, _MEDIAN), state


def _follow(motion: Tensor, flow: Tensor, past: EmbeddedState | None) -> Tensor:
    """Carry the motion cue along, so that what has moved stays in front when it pauses."""
    followed = []
    before = None if past is None else past.motion
    for now, to_past in zip(motion.split(1), flow.split(1), strict=True):
        if before is not None:
            now = torch.maximum(now, _MOTION_KEPT * warp(before, to_past))
        followed.append(before := now)
    return torch.cat(followed)


def _settle(depth: Tensor, flow: Tensor, kept: Tensor, past: EmbeddedState | None) -> Tensor:
    """Average over the past along the flow; `kept` is the past's share, ``[T, 1, h, w]``."""
    settled = []
    before = None if past is None else past.inverse_depth
    for now, to_past, share in zip(depth.split(1), flow.split(1), kept.split(1), strict=True):
        if before is not None:
            now = torch.lerp(now, warp(before, to_past), share)
        settled.append(before := now)
    return torch.cat(settled)


def _pictorial(frames: Video) -> Tensor:
    """Return the cues of single frames, weighted and summed, ``[T, 1, h, w]``."""
    y = torch.linspace(0, 1, frames.shape[2], device=frames.device).view(1, 1, -1, 1)
    ground = F.softplus((y - _HORIZON) / (1 - _HORIZON), beta=8)
    grey = frames.mean(1, keepdim=True)
    detail = box_mean((grey - box_mean(grey, 3)).abs(), 15)
    focus = detail / (detail + detail.mean(dim=(2, 3), keepdim=True) + 1e-3)
    figure = _figure(frames)
    return _WEIGHTS["ground"] * ground + _WEIGHTS["figure"] * figure + _WEIGHTS["focus"] * focus


def _figure(frames: Video) -> Tensor:
    """Return each pixel's distance from the upper borders, in crossed edges, in [0, 1]."""
    small = shrink(frames, _SIZE // 2)
    # The length between two neighbours is their difference in colour, minus the noise.
    right = (small[..., 1:] - small[..., :-1]).norm(dim=1, keepdim=True)
    down = (small[..., 1:, :] - small[..., :-1, :]).norm(dim=1, keepdim=True)
    across, along = (
        F.pad(((length - 0.02).clamp(min=0) + 0.001).cumsum(dim), pad)
        for length, dim, pad in ((right, 3, (1, 0)), (down, 2, (0, 0, 1, 0)))
    )
    distance = torch.full_like(small[:, :1], 1e3)
    distance[:, :, 0] = 0
    distance[:, :, : distance.shape[2] * 2 // 3, [0, -1]] = 0
    for _ in range(4):
        for length, dim in ((across, 3), (along, 2)):
            # d(x) = min over x' of d(x') + |L(x) - L(x')|, from both sides.
            before = length + (distance - length).cummin(dim).values
            after = (distance + length).flip(dim).cummin(dim).values.flip(dim) - length
            distance = torch.minimum(before, after)
    figure = 1 - torch.exp(-distance / 0.35)
    return F.interpolate(figure, frames.shape[2:], mode="bilinear", align_corners=False)


def _motion_against_camera(flow: Tensor) -> Tensor:
    """Return how much each pixel moves against an affine fit to the whole flow, in [0, 1)."""
    n, _, h, w = flow.shape
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, h, device=flow.device),
        torch.linspace(-1, 1, w, device=flow.device),
        indexing="ij",
    )
    basis = torch.stack((torch.ones_like(x), x, y)).flatten(1)  # [3, pixels]
    points = basis[:, ::11].contiguous()
    samples = flow.flatten(2)[:, :, ::11].contiguous()
    # The camera's motion is measured at the border, since the subject is more often in the middle.
    border = torch.maximum(points[1].abs(), -points[2]).clamp(min=0.05).square()
    weight, fit = border.expand(n, 1, -1), flow.new_zeros(n, 2, 3)
    ridge = 1e-4 * torch.eye(3, device=flow.device)
    for _ in range(4):
        weight = weight / weight.sum(2, keepdim=True)
        gram = (weight * points) @ points.T + ridge
        fit = torch.linalg.solve(gram, (weight * samples) @ points.T, left=False)
        weight = border / ((samples - fit @ points).square().sum(1, keepdim=True) + 0.04)
    residual = (flow.flatten(2) - fit @ basis).norm(dim=1).view(n, 1, h, w)
    residual = (residual - _MOTION_NOISE).clamp(min=0)
    return residual / (residual + _MOTION_HALF)
