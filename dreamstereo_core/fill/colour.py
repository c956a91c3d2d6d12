"""The colour lock: give a network's picture the tones of the known pixels."""

from __future__ import annotations

from torch.nn import functional as F

from ..types import OcclusionMask, Video
from .coherence import pull_push

CELL = 16
"""Side in pixels of the cells whose mean colours are locked."""


def lock_colours(
    filled: Video, video: Video, occlusion_mask: OcclusionMask, *, cell: int = CELL
) -> Video:
    """Correct the tones of `filled` by its error on the known pixels, also inside the holes.

    Only a smooth error is corrected: means over cells, interpolated through the holes.

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
