"""The colour lock: a network's tones are those of the known pixels."""

from __future__ import annotations

from torch.nn import functional as F

from ..types import OcclusionMask, Video
from .coherence import pull_push

CELL = 16
"""Pixels of the side of a cell whose mean is locked."""


def lock_colours(
    filled: Video, video: Video, occlusion_mask: OcclusionMask, *, cell: int = CELL
) -> Video:
    """Take off what `filled` has got wrong in tone, by the known pixels; holes get it from around.

    Only what is smooth is taken off: means over cells, carried on through the holes.

    Args:
        filled: `[T, 3, H, W]`, an inpainter's whole frames.
        video: `[T, 3, H, W]`, the known pixels.
        occlusion_mask: `[T, 1, H, W]`, > 0 where `video` is not known.
        cell: side of a cell in pixels.

    Returns:
        `[T, 3, H, W]`.
    """
    known = (occlusion_mask <= 0).to(filled)
    weight = F.avg_pool2d(known, cell, ceil_mode=True)
    error = F.avg_pool2d((video - filled) * known, cell, ceil_mode=True)
    smooth = pull_push(error / weight.clamp(min=1e-6), weight)
    height, width = filled.shape[-2:]
    smooth = F.interpolate(smooth, scale_factor=float(cell), mode="bilinear")
    return filled + smooth[..., :height, :width]
