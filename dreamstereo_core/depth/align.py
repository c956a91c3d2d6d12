"""Scale and shift between two depths of the same scene, by robust least squares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ROUNDS = 5  # rounds of re-weighting
_OUTLIER = 2.4  # standard deviations at which a point counts half
_LEAST_CORRELATION = 0.8  # a lower correlation enlarges the scale no further


@dataclass(frozen=True)
class Alignment:
    """The fit ``aligned = (values - center) * scale + target``, and how good it is."""

    scale: float
    center: float
    """Mean of the values, by the fit's weights."""
    target: float
    """Mean of the wanted values, by the same weights."""
    spread: float
    """Standard deviation of the values, by the same weights."""
    wanted_spread: float
    """Standard deviation of the wanted values, by the same weights."""
    correlation: float
    residual: float
    """Robust standard deviation of ``aligned - wanted``."""


def align(values: Tensor, wanted: Tensor, weight: Tensor, noise_ratio: Tensor) -> Alignment:
    """Fit `values` ``[N]`` to `wanted` ``[N]`` with iteratively re-weighted least squares.

    Both are noisy, so this is Deming's regression: common least squares would read the values'
    noise as a smaller scale, a little more in each frame. Points off the line lose weight as in
    Cauchy's M-estimator.

    Args:
        values: finite.
        wanted: finite.
        weight: `[N]`, of each point, at least 0; if all are 0, all count the same.
        noise_ratio: `[N]`, at least 1: the variance of the values' noise over that of the wanted
            values' noise, both relative to their spreads.
    """
    weight = weight + 1e-6
    robust = weight * _inliers(values, wanted)
    figures: tuple[Tensor, ...] = ()
    for _ in range(_ROUNDS):
        share = robust / robust.sum()
        center, target = (share * values).sum(), (share * wanted).sum()
        x, y = values - center, wanted - target
        xx, yy, xy = (share * x * x).sum(), (share * y * y).sum(), (share * x * y).sum()
        correlation = xy / (xx.sqrt() * yy.sqrt()).clamp(min=torch.finfo(x.dtype).tiny)
        excess = (share * noise_ratio).sum() - 1
        root = (excess.square() + 4 * (excess + 1) * correlation.square()).sqrt()
        slope = 2 * (excess + 1) * correlation / (excess + root).clamp(min=1e-6)
        scale = (yy / xx.clamp(min=torch.finfo(x.dtype).tiny)).sqrt()
        scale = scale / slope.clamp(min=_LEAST_CORRELATION)
        error = (scale * x - y).abs()
        residual = 1.48 * error.median()
        floor = 1e-3 * yy.sqrt() + torch.finfo(x.dtype).tiny
        robust = weight / (1 + (error / (_OUTLIER * residual + floor)).square())
        figures = (scale, center, target, xx.sqrt(), yy.sqrt(), correlation, residual)
    return Alignment(*torch.stack(figures).tolist())


def _inliers(values: Tensor, wanted: Tensor) -> Tensor:
    """Return ``[N]``, 1 for points near a line through the medians, else 0.

    Least squares alone would follow the points that are far out. Where more than half of the points
    have one value, there is no such line, and the result is 1 for all.
    """
    x, y = values - values.median(), wanted - wanted.median()
    x_spread, y_spread = x.abs().median(), y.abs().median()
    error = (x * (y_spread / x_spread) - y).abs()
    near = error <= _OUTLIER * 1.48 * error.median()
    return torch.where((x_spread > 0) & (y_spread > 0), near.to(x.dtype), 1.0)
