"""Whether a made stereo pair has the right depth (the paper's Table 9): it is matched again."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from evaluation.scores import Scores
from evaluation.stereo_matching import match, reach_of
from evaluation.stereo_videos import to_bgr

CLOSE = 1.05
"""Factor within which a depth counts as right."""
LEAST = 0.5
"""Disparity in pixels below which a depth is too far to be compared."""


def geometry_scores(left: Tensor, made: Tensor, disparity: Tensor) -> Scores:
    """Return AbsRel and the share of depths within 5 %, of a pair's matched disparity.

    The matched disparity is brought to the true one by scale and shift, least squares over all
    frames together, where matching is sure and the truth is known. Depth is 1 / disparity: focal
    length and baseline are factors that cancel.

    Args:
        left: the left view `[T, 3, H, W]`.
        made: the made right view.
        disparity: the left view's true one `[T, 1, H, W]` in pixels, 0 = unknown.
    """
    reach = reach_of(float(disparity.max()))
    pairs = zip(left, made, strict=True)
    matched = torch.cat([match(to_bgr(a), to_bgr(b), reach) for a, b in pairs]).double()
    sure = matched.isfinite() & (disparity > LEAST)
    if int(sure.sum()) < 2:
        return {"abs_rel": math.nan, "delta_105": math.nan, "matched": 0.0}
    found, true = matched[sure].numpy(), disparity[sure].double().numpy()
    scale, shift = np.polyfit(found, true, 1) if np.ptp(found) > 0 else (1.0, 0.0)
    depth, truth = 1 / np.maximum(found * scale + shift, LEAST / 2), 1 / true
    ratio = np.maximum(depth / truth, truth / depth)
    return {
        "abs_rel": float(np.mean(np.abs(depth - truth) / truth)),
        "delta_105": float(np.mean(ratio < CLOSE)),
        "matched": float(sure.double().mean()),
    }
