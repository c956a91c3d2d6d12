"""How right an inverse depth is, whatever its scale and shift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.depth_edges import edge_scores

NEAREST_RATIO = 1.25
"""Of delta < 1.25."""
LEAST_PAIR_STEP = 0.1
"""Of the truth's range, between two points whose order is asked for."""
RANGE = (0.02, 0.98)
"""Quantiles of the truth between which its range is."""
FARTHEST = 100.0
"""Times the nearest distance; what is fitted farther counts as this far."""


@dataclass(frozen=True)
class DepthScores:
    """Of one picture, after scale and shift."""

    abs_rel: float
    """Mean |depth - truth| / truth; smaller is better. NaN where the truth has a shift."""
    delta: float
    """Share of pixels whose depth is within a factor of 1.25; larger is better. NaN likewise."""
    ordinal: float
    """Share of point pairs in the right order; 0.5 is chance."""
    disparity: float
    """Mean |disparity - truth| in percent of the truth's range; smaller is better."""
    edge_step: float
    """See `EdgeScores.step`; larger is better."""
    edge_offset: float
    """See `EdgeScores.offset`; smaller is better."""


def fit_scale_shift(prediction: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return scale and shift that bring `[n]` to `[n]` by least squares.

    A constant prediction gets scale 0, and the truth's mean as shift.
    """
    p, t = prediction.double(), truth.double()
    centred = p - p.mean()
    spread = float(centred.square().sum())
    scale = float((centred * (t - t.mean())).sum()) / spread if spread > 1e-12 else 0.0
    return scale, float(t.mean() - scale * p.mean())


def depth_scores(
    prediction: Tensor,
    truth: Tensor,
    *,
    shifted: bool = False,
    pairs: int = 20000,
    seed: int = 0,
) -> DepthScores:
    """Compare a raw inverse depth with the true one, both `[1, 1, H, W]`; NaN, <= 0 are unknown.

    Scale and shift are those of least squares in inverse depth. Depths are compared too, those
    beyond 100 times the truth's nearest distance counting as that far, unless the truth itself
    has an unknown shift.

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
    fitted = scale * p + shift
    low, high = torch.quantile(t[:: len(t) // 2**20 + 1], t.new_tensor(RANGE)).tolist()
    span = max(high - low, 1e-12)
    edges = edge_scores(scale * prediction + shift, truth.masked_fill(~known, torch.nan), span)
    floor = float(t.max()) / FARTHEST
    ratio = t.clamp(min=floor) / fitted.clamp(min=floor)  # of depth to the true one
    if shifted:
        ratio = torch.full_like(ratio, torch.nan)
    delta = (torch.maximum(ratio, 1 / ratio) < NEAREST_RATIO).double()
    return DepthScores(
        abs_rel=float((ratio - 1).abs().mean()),
        delta=torch.nan if shifted else float(delta.mean()),
        ordinal=ordinal_accuracy(p, t, LEAST_PAIR_STEP * span, pairs=pairs, seed=seed),
        disparity=100 * float((fitted - t).abs().mean()) / span,
        edge_step=edges.step,
        edge_offset=edges.offset,
    )


def ordinal_accuracy(
    prediction: Tensor, truth: Tensor, least: float, *, pairs: int, seed: int
) -> float:
    """Return the share of random point pairs of `[n]` whose order is right; ties count half.

    Pairs whose truths differ by less than `least` are left out; none left gives NaN.
    """
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randint(len(truth), (2, pairs), generator=generator)
    clear = (truth[a] - truth[b]).abs() >= least
    order = (truth[a] - truth[b]).sign()[clear]
    found = (prediction[a] - prediction[b]).sign()[clear]
    return float((0.5 + 0.5 * order * found).mean())
