"""Fills as sharp as what is around them: no grain on soft footage, no smear on sharp one."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from ..types import OcclusionMask, Video

SIGMAS = (1.0, 1.5)
"""Of the blurs, one after the other, in pixels, between which the bands of detail lie."""
CELL = 16
"""Side in pixels of the cells in which the strength of detail is measured."""
REACH = 6
"""Cells around a place that count as its surroundings."""


def match_sharpness(video: Video, occlusion_mask: OcclusionMask) -> Video:
    """Take out of a fill the detail that its surroundings do not have.

    What is copied or carried on row by row has detail down to the pixel; film that was enlarged,
    compressed or out of focus has not. In each band of detail the fill is scaled down by the square
    of (strength in the known pixels around) / (its own strength), never up.

    Args:
        video: `[T, 3, H, W]`, holes filled.
        occlusion_mask: `[T, 1, H, W]`, > 0 where it was filled.

    Returns:
        `[T, 3, H, W]`; known pixels are `video`'s own.
    """
    hole = (occlusion_mask > 0).to(video)
    if not hole.any():
        return video
    levels = [video]
    for sigma in SIGMAS:
        levels.append(_blur(levels[-1], sigma))
    result = levels[-1]
    for sharper, softer in pairwise(levels):
        band = sharper - softer
        strength = band.abs().mean(1, keepdim=True)
        gain = _mean_around(strength, 1 - hole) / _mean_around(strength, hole).clamp(min=1e-6)
        gain = gain.clamp(max=1).square()
        gain = F.interpolate(gain, scale_factor=float(CELL), mode="bilinear")
        result = result + band * gain[..., : video.shape[-2], : video.shape[-1]]
    return torch.where(hole > 0, result, video)


def _mean_around(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of `[T, 1, H, W]` around each cell."""
    sums = torch.cat([values * weight, weight], 1)
    sums = F.avg_pool2d(F.pad(sums, (0, -sums.shape[-1] % CELL, 0, -sums.shape[-2] % CELL)), CELL)
    sums = F.avg_pool2d(sums, 2 * REACH + 1, 1, REACH)
    return sums[:, :1] / sums[:, 1:].clamp(min=1e-6)


def _blur(video: Video, sigma: float) -> Video:
    radius = ceil(2.5 * sigma)
    taps = torch.exp(-torch.arange(-radius, radius + 1.0).square() / (2 * sigma**2))
    x = F.pad(video, (radius, radius, radius, radius), mode="replicate")
    for axis in (-1, -2):  # shifted sums: several times as fast as a convolution by channels
        size = x.shape[axis] - 2 * radius
        total = x.narrow(axis, 0, size) * taps[0]
        for i in range(1, len(taps)):
            total.add_(x.narrow(axis, i, size), alpha=float(taps[i]))
        x = total / taps.sum()
    return x
