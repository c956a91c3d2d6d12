"""Morphology on `[T, 1, H, W]` masks and depths; pixels beyond the frame do not count."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .types import OcclusionMask


def dilate(mask: OcclusionMask, radius: int) -> OcclusionMask:
    """Grow `[T, 1, H, W]` by `radius` pixels in x and y (a square)."""
    for axis in (-1, -2):  # a square is separable
        reach = 0
        while reach < radius:  # maxima of three, three times farther apart each: log(radius) steps
            step = min(2 * reach + 1, radius - reach)
            mask = _largest_of_three(mask, step, axis)
            reach += step
    return mask


def _largest_of_three(mask: Tensor, step: int, axis: int) -> Tensor:
    """Return the largest of each value and its neighbours `step` away, or at the border."""
    result = mask.clone()
    kept = mask.shape[axis] - step
    if kept > 0:
        early, late = result.narrow(axis, 0, kept), result.narrow(axis, step, kept)
        torch.maximum(early, mask.narrow(axis, step, kept), out=early)
        torch.maximum(late, mask.narrow(axis, 0, kept), out=late)
    for border, begin in ((0, 0), (-1, max(kept, 0))):
        part = result.narrow(axis, begin, min(step, mask.shape[axis]))
        torch.maximum(part, mask.narrow(axis, border, 1), out=part)
    return result


def erode(mask: OcclusionMask, radius: int) -> OcclusionMask:
    """Shrink `[T, 1, H, W]` by `radius` pixels in x and y, but not from the frame's border."""
    return -dilate(-mask, radius)


def wide_parts(mask: OcclusionMask, width: int) -> OcclusionMask:
    """Return 1 for mask pixels in runs of at least `width` pixels along a row, else 0."""
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
