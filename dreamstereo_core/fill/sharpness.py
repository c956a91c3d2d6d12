"""Make fills no sharper than their surroundings, so that soft footage shows no cut-outs."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from ..filters import gaussian
from ..types import OcclusionMask, Video

SIGMAS = (1.0, 1.5, 3.0)
"""Widths in pixels of successive Gaussian blurs. The bands of detail lie between them, and the last
band is what the finer ones are compared with."""
CELL = 16
"""Side in pixels of the cells in which the strength of detail is measured."""
REACH = 6
"""Number of cells in each direction that count as the surroundings."""
STRIP_PIXELS = 1 << 20
"""Pixels, in whole rows of cells, that are worked on at once, so that large frames need less
memory."""

TOLERANCE = 1.2
"""Ratio by which a fill may be sharper than its surroundings."""
POWER = 6
"""Exponent of the ratio by which a fill is too sharp."""


def match_sharpness(video: Video, occlusion_mask: OcclusionMask) -> Video:
    """Make a fill and its borders as soft as the footage around them.

    A fill that is copied or continued row by row has detail down to the pixel and meets the
    foreground in a hard edge. Film that was enlarged, compressed or out of focus has neither.
    Sharpness is measured as the strength of a fine band of detail divided by that of a coarse one,
    which does not depend on how many edges there are. In each fine band the fill is scaled by a
    power of (sharpness of the known pixels around) / (its own sharpness), but never up.

    Args:
        video: `[T, 3, H, W]`, holes filled.
        occlusion_mask: `[T, 1, H, W]`, > 0 where the video was filled.

    Returns:
        `[T, 3, H, W]`; known pixels are `video`'s own.
    """
    hole = occlusion_mask > 0
    if not hole.any():
        return video
    strips = _strips(*video.shape[-2:])
    sums, levels = [], []
    for rows in strips:
        levels = _levels(video, rows, SIGMAS)
        sums.append(_cell_sums(levels, hole[..., rows, :].to(video)))
    gains = _gains(torch.cat(sums, 2))
    result = video.clone()
    for rows in strips:
        here = hole[..., rows, :]
        if not here.any():
            continue
        if len(strips) > 1:  # else they are still there
            levels = _levels(video, rows, SIGMAS[:-1])
        matched = levels[len(SIGMAS) - 1]
        parts = _enlarge(gains, rows, video.shape[-1]).split(1, 1)
        for (sharper, softer), gain in zip(pairwise(levels[: len(SIGMAS)]), parts, strict=True):
            matched = matched + (sharper - softer) * gain
        result[..., rows, :] = torch.where(here, matched, levels[0])
    return result


def _strips(height: int, width: int) -> list[slice]:
    rows = max(1, STRIP_PIXELS // (width * CELL)) * CELL
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _levels(video: Video, rows: slice, sigmas: tuple[float, ...]) -> list[Video]:
    """Return some rows of the video and of its blurs, one after the other."""
    halo = sum(_radius(sigma) for sigma in sigmas)
    top = max(0, rows.start - halo)
    levels = [video[..., top : rows.stop + halo, :]]
    for sigma in sigmas:
        levels.append(gaussian(levels[-1], sigma, _radius(sigma)))
    return [level[..., rows.start - top : rows.stop - top, :] for level in levels]


def _cell_sums(levels: list[Video], hole: Tensor) -> Tensor:
    """Return means over cells `[T, 2 (B + 1), h, w]`.

    They are of B bands' strengths and of the weight, of the known pixels and then of the hole's.
    """
    height, width = hole.shape[-2:]
    bands = len(levels) - 1
    shape = len(hole), 2 * (bands + 1), height + -height % CELL, width + -width % CELL
    sums = hole.new_zeros(shape)
    known, own = sums[..., :height, :width].split(bands + 1, 1)
    known[:, -1:], own[:, -1:] = 1 - hole, hole
    for band, (sharper, softer) in enumerate(pairwise(levels)):
        strength = (sharper - softer).abs_().mean(1)
        for part in (known, own):
            torch.mul(strength, part[:, -1], out=part[:, band])
    return F.avg_pool2d(sums, CELL)


def _gains(sums: Tensor) -> Tensor:
    """Return what each cell's fine bands are scaled by, from `_cell_sums` of the whole picture."""
    sums = F.avg_pool2d(sums, 2 * REACH + 1, 1, REACH)
    known, own = (part[:, :-1] / part[:, -1:].clamp(min=1e-6) for part in sums.chunk(2, 1))
    # (known fine / known coarse) / (own fine / own coarse), without a division by 0
    wanted, there = known[:, :-1] * own[:, -1:], own[:, :-1] * known[:, -1:]
    ratio = TOLERANCE * wanted / there.clamp(min=1e-12)
    return torch.where(there > 0, ratio.clamp(max=1) ** POWER, 1)


def _enlarge(gains: Tensor, rows: slice, width: int) -> Tensor:
    """Return the gains of some rows of pixels, which begin with a cell."""
    first, last = rows.start // CELL, -(-rows.stop // CELL)
    top = max(0, first - 1)  # the cells before and after it lead over to its own
    part = F.interpolate(gains[:, :, top : last + 1], scale_factor=float(CELL), mode="bilinear")
    begin = rows.start - top * CELL
    return part[:, :, begin : begin + rows.stop - rows.start, :width]


def _radius(sigma: float) -> int:
    return ceil(2.5 * sigma)
