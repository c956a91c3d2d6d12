"""The first fills of pairs, and the holes in which `mini` makes them better."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamstereo_core import ClassicInpainter
from dreamstereo_core.fill.holes import NARROW
from dreamstereo_core.masks import wide_parts
from dreamstereo_core.types import Disparity, OcclusionMask


def first_fill(frames: Tensor, occlusion_mask: OcclusionMask, disparity: Disparity) -> Tensor:
    """Fill the holes of a clip `[T, 3, H, W]` uint8 as inference does before the network.

    Args:
        frames: what their holes contain is not looked at.
        occlusion_mask: `[T, 1, H, W]`.
        disparity: `[T, 1, H, W]` in pixels, of the view in which the holes lie.
    """
    known = (frames / 255) * (1 - occlusion_mask)
    fill = ClassicInpainter().inpaint(known, occlusion_mask, disparity=disparity)
    fill = fill.mul(255).round().clamp(0, 255).to(torch.uint8)
    return torch.where(occlusion_mask > 0, fill, frames)


def wide_holes(mask: Tensor) -> Tensor:
    """Return the holes of `[B, 1, T, H, W]` that are not left to the first fill, 1, else 0."""
    wide = wide_parts(mask.transpose(1, 2).flatten(0, 1), NARROW)
    return wide.unflatten(0, (len(mask), -1)).transpose(1, 2)
