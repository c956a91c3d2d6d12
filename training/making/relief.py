"""Inverse depth for training clips where no good depth is at hand: parallax, and segments' planes.

Estimated depth misses the picture's borders by a few pixels. For training only one thing counts:
that a hole's near side is a real border in the picture. Segments have their borders there by
construction.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core.filters import box_mean, guided_filter, shrink
from dreamstereo_core.optical_flow import optical_flow
from dreamstereo_core.types import InverseDepth, Video

SEGMENTS = 14
WORK_SIZE = 192  # px, the longer side on which segments are found
COLOUR_WEIGHT = 6.0  # of colour against place, in units of the frame's side
SLOPE_RIDGE = 0.3  # how strongly a segment's plane is held level
ITERATIONS = 8
STILL = 0.2  # px a frame at 256 px width: less motion tells no depth


def parallax_depth(video: Video) -> InverseDepth | None:
    """Return inverse depth `[T, 1, H, W]` in [0, 1] by speed, near things being fast.

    True for a camera that moves sideways and for things that move before a standing camera; None
    where nothing moves.
    """
    if len(video) < 2:
        return None
    following = torch.cat([video[1:], video[-2:-1]])
    flow = optical_flow(video, following)
    speed = flow.norm(dim=1, keepdim=True)
    low, high = torch.quantile(speed.flatten()[::7], torch.tensor([0.05, 0.97])).tolist()
    if high - low < STILL * flow.shape[-1] / 256:
        return None
    speed = ((speed - low) / (high - low)).clamp(0, 1)
    speed = speed.mean(0, keepdim=True).lerp(speed, 0.7)
    speed = guided_filter(
        speed, F.interpolate(video, flow.shape[-2:], mode="area"), radius=6, epsilon=4e-3
    )
    return F.interpolate(speed, video.shape[-2:], mode="bilinear").clamp(0, 1)


def segment_planes(inverse_depth: InverseDepth, video: Video, *, seed: int = 0) -> InverseDepth:
    """Replace inverse depth by a plane for each segment of the clip, `[T, 1, H, W]` in [0, 1].

    Segments are clusters of colour and place over the whole clip; their borders lie on the
    picture's own, to the pixel.
    """
    frames = shrink(video, WORK_SIZE)
    features = _features(frames)  # [T, 5, h, w]
    centres = _cluster(features, seed)  # [K, 5]
    scores = -_distances(features, centres)  # [T, K, h, w]
    scores = box_mean(scores, 5)
    labels = scores.argmax(1)
    planes = _fit_planes(shrink(inverse_depth, WORK_SIZE), labels, len(centres))
    result = []
    for frame, score in zip(video.split(1), scores.split(1), strict=True):
        score = F.interpolate(score, frame.shape[-2:], mode="bilinear")
        score = 0.3 * score - _distances(_features(frame)[:, :3], centres[:, :3])
        result.append(_plane_at(planes, _majority(score.argmax(1), len(centres))))
    return torch.cat(result).clamp(0, 1)


def _majority(labels: Tensor, count: int) -> Tensor:
    """Let windows vote on `[1, h, w]`: a segment's border is a line, specks are gone."""
    votes = F.one_hot(labels, count).movedim(-1, 1).float()
    return box_mean(votes, round(labels.shape[-1] / 40) | 1).argmax(1)


def _features(frames: Video) -> Tensor:
    """Return weighted luma, red and blue differences, x and y, `[T, 5, h, w]`."""
    luma = (frames * frames.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(1, True)
    colour = torch.cat([0.7 * luma, frames[:, :1] - luma, frames[:, 2:] - luma], dim=1)
    t, _, h, w = frames.shape
    side = max(h, w)
    y = torch.linspace(0, h / side, h).view(1, 1, h, 1).expand(t, 1, h, w)
    x = torch.linspace(0, w / side, w).view(1, 1, 1, w).expand(t, 1, h, w)
    return torch.cat([COLOUR_WEIGHT * colour, x, y], dim=1)


def _distances(features: Tensor, centres: Tensor) -> Tensor:
    """Return the squared distance of `[T, C, h, w]` to `[K, C]`, `[T, K, h, w]`."""
    cross = torch.einsum("tchw,kc->tkhw", features, centres)
    return (
        features.square().sum(1, keepdim=True)
        + centres.square().sum(1).view(1, -1, 1, 1)
        - 2 * cross
    )


def _cluster(features: Tensor, seed: int) -> Tensor:
    """Return k-means centres `[K, C]` of a sample of the pixels."""
    generator = torch.Generator().manual_seed(seed)
    points = features.movedim(1, -1).flatten(0, 2)
    points = points[torch.randint(len(points), (8192,), generator=generator)]
    centres = points[:1]
    for _ in range(SEGMENTS - 1):  # far from each other at the start (k-means++ without the dice)
        centres = torch.cat([centres, points[torch.cdist(points, centres).amin(1).argmax()][None]])
    for _ in range(ITERATIONS):
        near = F.one_hot(torch.cdist(points, centres).argmin(1), len(centres)).float()
        count = near.sum(0).unsqueeze(1)
        centres = torch.where(count > 0, near.T @ points / count.clamp(min=1), centres)
    return centres


def _basis(t: int, h: int, w: int) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    return torch.stack([torch.ones_like(x), x, y], dim=-1).expand(t, h, w, 3)


def _fit_planes(depth: Tensor, labels: Tensor, count: int) -> Tensor:
    """Fit a + b x + c y to `[T, 1, h, w]` in each segment over the clip, `[K, 3]`."""
    basis = _basis(*labels.shape).reshape(-1, 3)
    index = labels.flatten()
    products = (basis.unsqueeze(2) * basis.unsqueeze(1)).flatten(1)
    right = basis * depth.flatten().unsqueeze(1)
    gram = products.new_zeros(count, 9).index_add_(0, index, products).view(count, 3, 3)
    target = right.new_zeros(count, 3).index_add_(0, index, right)
    total = gram[:, 0, 0].clamp(min=1).view(-1, 1, 1)
    # About the segment's own middle, and held level: a slope has to be earned by many pixels.
    middle = gram[:, 0, 1:] / total[:, 0]  # [K, 2]: mean x, mean y
    spread = gram[:, 1:, 1:] - total * middle.unsqueeze(2) * middle.unsqueeze(1)
    slopes = torch.linalg.solve(
        spread + SLOPE_RIDGE * total * torch.eye(2), target[:, 1:] - target[:, :1] * middle
    )
    level = target[:, 0] / total[:, 0, 0] - (slopes * middle).sum(1)
    return torch.cat([level.unsqueeze(1), slopes], dim=1)


def _plane_at(planes: Tensor, labels: Tensor) -> Tensor:
    basis = _basis(*labels.shape)
    return (planes[labels] * basis).sum(-1).unsqueeze(1)
