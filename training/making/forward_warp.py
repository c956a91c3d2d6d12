"""Holes by forward warping, the data strategy that the paper compares its own with (Table 3).

After TrajectoryCrafter (2025): each pixel is a point that lands on the two pixels beside its place
in the other view, as in bilinear splatting, and the nearest point is seen (there, a mean that the
nearest dominates). Points are not connected: between neighbours that land more than two pixels
apart there is nothing, or what lies behind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamstereo_core.types import Disparity, Eye, OcclusionMask

_NOTHING = -torch.inf


def forward_warp(disparity: Tensor, *, toward: Eye) -> Tensor:
    """Splat a view's disparity `[T, 1, H, W]` into the other view; -inf is where no point lands.

    Args:
        disparity: in pixels of its own width, x_left - x_right; -inf has no point.
        toward: the eye to make.
    """
    width = disparity.shape[-1]
    sign = 1 if toward == "left" else -1
    known = disparity.isfinite()
    x = torch.arange(width, dtype=disparity.dtype, device=disparity.device)
    landing = x + sign * torch.where(known, disparity, 0.0)  # [T, 1, H, W]
    # Column 0 and the last one take what lies beyond the frame.
    shape = (*disparity.shape[:-1], width + 2)
    seen = disparity.new_full(shape, _NOTHING)
    for column in (landing.floor(), landing.ceil()):
        at = column.clamp(-1, width).add(1).long()
        seen.scatter_reduce_(-1, at, disparity, "amax")
    return seen[..., 1:-1]


def forward_holes(disparity: Disparity) -> OcclusionMask:
    """Return the holes of a right view whose points went to the left view and back.

    Args:
        disparity: `[T, 1, H, W]` in pixels of its own width.
    """
    back = forward_warp(forward_warp(disparity, toward="left"), toward="right")
    return (~back.isfinite()).float()
