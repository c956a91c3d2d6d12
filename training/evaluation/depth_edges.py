"""How sharp an inverse depth is at the borders of things, and how well they are in place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

COLUMNS = 384
"""Offsets are in pixels of a picture this wide."""
LEAST_STEP = 0.08
"""Of the truth's range, between two pixels side by side, that is a border."""
_REACH = 4  # pixels of `COLUMNS` to both sides that are looked at
_FLAT = 0.3  # of the step: what the truth may do on either side within that reach


@dataclass(frozen=True)
class EdgeScores:
    """Of one picture; NaN where it has no border that is sure."""

    step: float
    """Share of the true step that is made within about a pixel of `COLUMNS`; larger is better."""
    offset: float
    """Mean distance of the steepest place from the true one, in pixels of `COLUMNS`."""


def edge_scores(fitted: Tensor, truth: Tensor, span: float) -> EdgeScores:
    """Look at upright borders, the ones that the other eye sees shifted.

    Args:
        fitted: inverse depth `[..., H, W]` of one picture at the truth's scale and shift.
        truth: the same, NaN = unknown.
        span: the truth's range.
    """
    fitted, truth = (x.reshape(x.shape[-2:]).double() for x in (fitted, truth))
    unit = truth.shape[1] / COLUMNS
    near = max(1, round(unit - 0.5))
    reach = max(near + 1, round(_REACH * unit))
    if truth.shape[1] < 2 * reach + 2:
        return EdgeScores(torch.nan, torch.nan)
    # Column i of `known` and `found` is what lies i + 0.5 - reach - 1 beside a border.
    known, found = (x.unfold(1, 2 * reach + 2, 1) for x in (truth, fitted))
    left, right = known[..., reach], known[..., reach + 1]
    step = right - left
    drift = (known[..., : reach + 1] - left[..., None]).abs().amax(-1)
    drift = torch.maximum(drift, (known[..., reach + 1 :] - right[..., None]).abs().amax(-1))
    border = (step.abs() >= LEAST_STEP * span) & (drift <= _FLAT * step.abs())
    if not border.any():
        return EdgeScores(torch.nan, torch.nan)
    found, step = found[border], step[border]
    made = (found[:, reach + 1 + near] - found[:, reach - near]) / step
    slopes = found.diff(dim=1) * step.sign()[:, None]
    offset = (slopes.argmax(dim=1) - reach).abs() / unit
    return EdgeScores(float(made.clamp(0, 1).mean()), float(offset.double().mean()))
