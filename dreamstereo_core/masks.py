"""Morphology on `[T, 1, H, W]` masks and depths; what lies beyond the frame does not count."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .types import OcclusionMask


def dilate(mask: OcclusionMask, radius: int) -> OcclusionMask:
    """Grow `[T, 1, H, W]` by `radius` pixels in x and y (a square)."""
    if radius < 1:
        return mask
    # A square is separable, and two short maxima are cheaper than one large one.
    size = 2 * radius + 1
    rows = F.max_pool2d(mask, (1, size), stride=1, padding=(0, radius))
    return F.max_pool2d(rows, (size, 1), stride=1, padding=(radius, 0))


def erode(mask: OcclusionMask, radius: int) -> OcclusionMask:
    """Shrink `[T, 1, H, W]` by `radius` pixels in x and y, but not from the frame's border."""
    return -dilate(-mask, radius)


def wide_parts(mask: OcclusionMask, width: int) -> OcclusionMask:
    """Return what belongs to runs of at least `width` pixels along a row, 1, else 0."""
    mask = (mask > 0).float()
    if width < 2 or width > mask.shape[-1]:
        return mask if width < 2 else mask * 0
    starts = -F.max_pool2d(-mask, (1, width), stride=1)  # 1 where a whole run begins
    return F.max_pool2d(F.pad(starts, (width - 1, width - 1)), (1, width), stride=1)


def depth_inside(mask: OcclusionMask, limit: int) -> Tensor:
    """Return each hole pixel's chessboard distance to a known one, up to `limit`; 0 outside."""
    hole = (mask > 0).float()
    distance = hole.clone()
    for _ in range(limit - 1):
        hole = erode(hole, 1)
        distance += hole
    return distance
