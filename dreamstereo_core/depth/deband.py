"""Turn the terraces of a depth with few levels into slopes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..filters import box_mean

_WINDOW = 1 / 64  # of the width; plateaus up to this wide become slopes
_EDGE = 3.0  # levels; where the surroundings spread over more, there is an edge


def deband(inverse_depth: Tensor, step: float) -> Tensor:
    """Turn the terraces of ``[T, 1, H, W]`` in levels of `step` into slopes, up to edges.

    The guided filter of He, Sun and Tang (TPAMI 2013), guided by the depth itself. No value moves
    by more than half a level.
    """
    radius = max(2, round(inverse_depth.shape[-1] * _WINDOW))
    size = 2 * radius + 1
    planes = torch.cat((inverse_depth, inverse_depth.square()), dim=1)
    mean, square = box_mean(planes, size).split(1, dim=1)
    variance = (square - mean.square()).clamp(min=0)
    kept = variance / (variance + (_EDGE * step) ** 2)
    slope, offset = box_mean(torch.cat((kept, (1 - kept) * mean), dim=1), size).split(1, dim=1)
    change = slope * inverse_depth + offset - inverse_depth
    return inverse_depth + change.clamp(-step / 2, step / 2)
