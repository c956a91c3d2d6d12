"""Losses between depths whose scale and shift nobody knows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TRIMMED = 0.2
"""Share of the largest errors to a soft truth that do not count: it is wrong there.

All errors to an exact one do: a column of garbage at the border would never be seen otherwise.
"""
SCALES = 4
SOFT_CELL = 8
"""Pixels along a side over which a prediction and a soft truth are averaged."""
LEAST_SPREAD = 0.02
"""A flatter prediction counts as this spread out: its gradient would be without bound."""


def normalised(inverse_depth: Tensor, valid: Tensor) -> Tensor:
    """Return `[B, 1, h, w]` with median 0 and mean absolute deviation 1 over the valid pixels.

    Ranftl et al., "Towards Robust Monocular Depth Estimation" (TPAMI 2020), eq. 5, but that the
    largest twentieth counts no more than what is next: the trimmed error does not see outliers, and
    a network that may draw a few at the border makes the rest as flat as it likes by them.
    """
    values, known = inverse_depth.flatten(1), valid.flatten(1)
    middle = values.masked_fill(~known, torch.nan).nanmedian(dim=1, keepdim=True).values
    # No NaN beyond the statistics: its gradient would be NaN even where it counts for nothing.
    centred = torch.where(known, values - middle.nan_to_num(0.0), 0.0)
    distance = centred.abs()
    seen = distance.detach().masked_fill(~known, torch.nan)
    most = torch.nanquantile(seen, 0.95, dim=1, keepdim=True).nan_to_num(0.0)
    count = known.sum(1, keepdim=True).clamp(min=1)
    spread = (distance.minimum(most).sum(1, keepdim=True) / count).clamp(min=LEAST_SPREAD)
    return (centred / spread).view_as(inverse_depth)


def trimmed_error(
    prediction: Tensor, target: Tensor, valid: Tensor, trimmed: float = TRIMMED
) -> Tensor:
    """Return each sample's mean absolute error `[B]` without its largest ones (eq. 6 and 7)."""
    error = (prediction - target).abs().masked_fill(~valid, torch.inf).flatten(1)
    kept = (valid.flatten(1).sum(1) * (1 - trimmed)).long()
    error = error.sort(dim=1).values
    index = torch.arange(error.shape[1], device=error.device)
    error = torch.where(index < kept[:, None], error, 0.0)
    return error.sum(1) / kept.clamp(min=1)


def gradient_error(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return each sample's mean difference of slopes `[B]`, over four scales (eq. 11)."""
    total = prediction.new_zeros(len(prediction))
    for scale in range(SCALES):
        step = 2**scale
        mask = valid[..., ::step, ::step]
        error = (prediction - target)[..., ::step, ::step]
        for dim in (-1, -2):
            if error.shape[dim] < 2:
                continue
            slope = error.diff(dim=dim).abs()
            length = error.shape[dim] - 1
            both = mask.narrow(dim, 0, length) & mask.narrow(dim, 1, length)
            count = both.flatten(1).sum(1).clamp(min=1)
            total = total + (slope * both).flatten(1).sum(1) / count
    return total


def fixed_range(target: Tensor, valid: Tensor) -> Tensor:
    """Return `[B, 1, h, w]` with its 2nd and 98th percentile at 0 and 1, cut off soon after."""
    values = target.flatten(1).masked_fill(~valid.flatten(1), torch.nan)
    ends = torch.nanquantile(values, values.new_tensor((0.02, 0.98)), dim=1)
    low, high = ends.nan_to_num(0.0).view(2, -1, 1, 1, 1)
    return ((target - low) / (high - low).clamp(min=1e-6)).clamp(0, 1.3)


def depth_losses(
    prediction: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    slopes: float,
    range_: float,
    soft: bool = False,
) -> dict[str, Tensor]:
    """Return the losses of a batch; "loss" is their weighted sum.

    Args:
        prediction: inverse depth `[B, 1, h, w]`.
        target: true inverse depth of that size or a larger one, NaN where unknown.
        weight: of each sample, `[B]`.
        slopes: weight of the differences of slopes.
        range_: weight of the distance to the truth between 0 and 1, which is what holds the
            prediction's own scale and shift.
        soft: the truth is right in its large forms only: means over `SOFT_CELL` of its pixels are
            compared, no slopes.
    """
    valid = target.isfinite()
    target = fixed_range(target.nan_to_num(0.0), valid)
    if soft:
        coarse = target.shape[-2] // SOFT_CELL, target.shape[-1] // SOFT_CELL
        prediction, target = (F.adaptive_avg_pool2d(x, coarse) for x in (prediction, target))
        valid = ~F.adaptive_max_pool2d((~valid).float(), coarse).bool()
    elif target.shape != prediction.shape:
        size = prediction.shape[-2:]
        target = F.interpolate(target, size, mode="nearest-exact")
        valid = F.interpolate(valid.float(), size, mode="nearest-exact").bool()
    a, b = normalised(prediction, valid), normalised(target, valid)
    trimmed = TRIMMED if soft else 0.0
    parts = {
        "shape": trimmed_error(a, b, valid, trimmed),
        "slopes": torch.zeros_like(weight) if soft else gradient_error(a, b, valid),
        "range": trimmed_error(prediction, target, valid, trimmed),
    }
    known = weight * valid.flatten(1).any(1)
    losses = {name: (part * known).mean() for name, part in parts.items()}
    total = losses["shape"] + slopes * losses["slopes"] + range_ * losses["range"]
    return {"loss": total, **losses}
