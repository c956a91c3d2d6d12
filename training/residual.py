"""Corrections of a first fill: what a residual transformer learns, around grey."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamstereo_core import ClassicInpainter
from dreamstereo_core.fill.frames import GREY, NARROW
from dreamstereo_core.masks import wide_parts
from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.refiner import Refiner
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


def correction(video: Tensor, fill: Tensor) -> Tensor:
    """Return what is to be added to `fill`, around grey and in [0, 1], of any shape.

    Where the two differ by more than a half the rest is cut off.
    """
    return (GREY + (video - fill)).clamp(0, 1)


def corrected(fill: Tensor, decoded: Tensor) -> Tensor:
    """Add a decoded correction to the fill that it is for."""
    return fill + decoded - GREY


def refined(refiner: Refiner | None, filled: Tensor, fill: Tensor, mask: Tensor) -> Tensor:
    """Let a refiner, if there is one, see to clips `[B, C, T, H, W]`; float32."""
    if refiner is None:
        return filled
    frames = (x.transpose(1, 2).flatten(0, 1) for x in (filled, fill, mask))
    return refiner(*frames).float().unflatten(0, (len(filled), -1)).transpose(1, 2)


def wide_holes(mask: Tensor) -> Tensor:
    """Return the holes of `[B, 1, T, H, W]` that are not left to the first fill, 1, else 0."""
    wide = wide_parts(mask.transpose(1, 2).flatten(0, 1), NARROW)
    return wide.unflatten(0, (len(mask), -1)).transpose(1, 2)


def check_start(config: TransformerConfig, continued: float) -> None:
    """Refuse given starts for a residual transformer, to which inference gives none.

    Raises:
        ValueError: `continued` is not 0 and the transformer is residual.
    """
    if config.residual and continued:
        raise ValueError(
            f"continued: expected 0 for a residual transformer, which is told the first fill alone,"
            f" got {continued}"
        )
