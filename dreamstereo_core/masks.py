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


def depth_inside(mask: OcclusionMask, limit: int) -> Tensor:
    """Return each hole pixel's chessboard distance to a known one, up to `limit`; 0 outside."""
    hole = (mask > 0).float()
    distance = hole.clone()
    for _ in range(limit - 1):
        hole = erode(hole, 1)
        distance += hole
    return distance
