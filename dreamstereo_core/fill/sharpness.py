"""Fills as sharp as what is around them: no grain, no cut-out borders on soft footage."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from ..types import OcclusionMask, Video

SIGMAS = (1.0, 1.5, 3.0)
"""Of blurs, one after the other, in pixels, between which the bands of detail lie. The last band
is what the finer ones are compared with."""
CELL = 16
"""Side in pixels of the cells in which the strength of detail is measured."""
REACH = 6
"""Cells around a place that count as its surroundings."""


TOLERANCE = 1.2
"""By how much sharper than its surroundings a fill may be."""
POWER = 6
"""Of the ratio by which it is too sharp."""


def match_sharpness(video: Video, occlusion_mask: OcclusionMask) -> Video:
    """Make a fill and its borders as soft as the footage around them.

    What is copied or carried on row by row has detail down to the pixel, and meets the foreground
    in a hard cut; film that was enlarged, compressed or out of focus has neither. Sharpness is the
    strength of a fine band of detail beside that of a coarse one, which is the same for few edges
    and for many. In each fine band the fill is scaled by a power of (sharpness of the known
    pixels around) / (its own), never up.

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
    bands = [sharper - softer for sharper, softer in pairwise(levels)]
    strengths = torch.cat([band.abs().mean(1, keepdim=True) for band in bands], 1)
    known, own = (_mean_around(strengths, weight) for weight in (1 - hole, hole))
    # (known fine / known coarse) / (own fine / own coarse), without a division by 0
    wanted, there = known[:, :-1] * own[:, -1:], own[:, :-1] * known[:, -1:]
    ratio = TOLERANCE * wanted / there.clamp(min=1e-12)
    gains = torch.where(there > 0, ratio.clamp(max=1) ** POWER, 1)
    gains = F.interpolate(gains, scale_factor=float(CELL), mode="bilinear")
    gains = gains[..., : video.shape[-2], : video.shape[-1]]
    result = levels[-2]
    for band, gain in zip(bands[:-1], gains.split(1, 1), strict=True):
        result = result + band * gain
    return torch.where(hole > 0, result, video)


def _mean_around(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted means of `[T, C, H, W]` around each cell."""
    sums = torch.cat([values * weight, weight], 1)
    sums = F.avg_pool2d(F.pad(sums, (0, -sums.shape[-1] % CELL, 0, -sums.shape[-2] % CELL)), CELL)
    sums = F.avg_pool2d(sums, 2 * REACH + 1, 1, REACH)
    return sums[:, :-1] / sums[:, -1:].clamp(min=1e-6)


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
