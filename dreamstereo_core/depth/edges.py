"""Clean edges and slopes of a depth that comes at full size."""

from __future__ import annotations

import torch
from torch import Tensor

from ..flow import box_mean
from ..masks import dilate, erode
from ..types import InverseDepth

_RAMP = 2  # px: half the width of the ramps that are no surface
_STEP = 0.1  # range of inverse depth from which on a ramp is an edge
_SLOPE = 1.5  # range of twice the surroundings, from which on the ramp is a surface that goes on
_WINDOW = 1 / 64  # of the width: plateaus up to this wide become a slope
_EDGE = 3.0  # levels, above which the spread of the surroundings is an edge


def remove_fly_pixels(inverse_depth: InverseDepth) -> InverseDepth:
    """Move what lies between two surfaces at an edge of ``[T, 1, H, W]`` to the nearer one.

    Scaled or compressed depth has such pixels; warped, they hang in the air between the two. A
    slope that goes on beyond the surroundings is a surface and stays.
    """
    low, high = erode(inverse_depth, _RAMP), dilate(inverse_depth, _RAMP)
    below, above = erode(low, _RAMP), dilate(high, _RAMP)
    extent = high - low
    edge = (extent > _STEP) & (above - below < _SLOPE * extent)
    nearer = torch.where(inverse_depth - low < high - inverse_depth, low, high)
    return torch.where(edge, nearer, inverse_depth)


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
