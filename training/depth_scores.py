"""How right an inverse depth is, whatever its scale and shift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST_RATIO = 1.25
"""Of delta < 1.25."""
LEAST_PAIR_RATIO = 1.1
"""Of the depths of two points whose order is asked for."""
FARTHEST = 100.0
"""Times the nearest distance; what is fitted farther counts as this far."""


@dataclass(frozen=True)
class DepthScores:
    """Of one picture."""

    abs_rel: float
    """Mean |depth - truth| / truth after scale and shift; smaller is better."""
    delta: float
    """Share of pixels whose depth is within a factor of 1.25; larger is better."""
    ordinal: float
    """Share of point pairs in the right order; 0.5 is chance."""


def fit_scale_shift(prediction: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return scale and shift that bring `[n]` to `[n]` by least squares.

    A constant prediction gets scale 0, and the truth's mean as shift.
    """
    p, t = prediction.double(), truth.double()
    centred = p - p.mean()
    spread = float(centred.square().sum())
    scale = float((centred * (t - t.mean())).sum()) / spread if spread > 1e-12 else 0.0
    return scale, float(t.mean() - scale * p.mean())


def depth_scores(prediction: Tensor, truth: Tensor, *, pairs: int = 20000, seed: int = 0):
    """Compare a raw inverse depth with the true one of the same shape; NaN and <= 0 are unknown.

    Scale and shift are those of least squares in inverse depth; then depths are compared, those
    beyond 100 times the truth's nearest distance counting as that far.

    Raises:
        ValueError: the shapes differ, the prediction is not finite, or nothing is known.
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction: expected shape {list(truth.shape)}, got {list(prediction.shape)}"
        )
    known = truth.isfinite() & (truth > 0)
    p, t = prediction[known].double(), truth[known].double()
    if not len(t) or not p.isfinite().all():
        raise ValueError("truth, prediction: expected known truth and finite predictions")
    scale, shift = fit_scale_shift(p, t)
    floor = float(t.max()) / FARTHEST
    ratio = (t.clamp(min=floor)) / (scale * p + shift).clamp(min=floor)  # of depth to the true one
    return DepthScores(
        float((ratio - 1).abs().mean()),
        float((torch.maximum(ratio, 1 / ratio) < NEAREST_RATIO).double().mean()),
        ordinal_accuracy(p, t, pairs=pairs, seed=seed),
    )


def ordinal_accuracy(prediction: Tensor, truth: Tensor, *, pairs: int, seed: int) -> float:
    """Return the share of random point pairs of `[n]` whose order is right; ties count half.

    Pairs whose true depths differ by less than a tenth are left out; none left gives NaN.
    """
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randint(len(truth), (2, pairs), generator=generator)
    clear = torch.maximum(truth[a], truth[b]) > LEAST_PAIR_RATIO * torch.minimum(truth[a], truth[b])
    order = (truth[a] - truth[b]).sign()[clear]
    found = (prediction[a] - prediction[b]).sign()[clear]
    return float((0.5 + 0.5 * order * found).mean())
