"""Inverse depth to disparity, and the one way to resize a disparity."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_frames, check_range
from .types import Disparity, InverseDepth

MAX_FRONT, MAX_BEHIND = 2.0, 3.0
"""Limits that suit most screens, in percent of the width."""


def inverse_depth_to_disparity(
    inverse_depth: InverseDepth,
    *,
    max_disparity: float = 3.0,
    convergence: float = 0.5,
    max_front: float | None = None,
    max_behind: float | None = None,
) -> Disparity:
    """Return (inverse_depth - convergence) * max_disparity / 100 * W, signed pixels, then limited.

    Args:
        inverse_depth: `[T, 1, H, W]` in [0, 1], 1 = nearest.
        max_disparity: from the farthest to the nearest point, in percent of the width.
        convergence: the inverse depth that lies on the screen, in [0, 1].
        max_front: the most that anything comes in front of the screen, in percent of the width;
            None sets no limit. If the nearest possible point (inverse depth 1) is within the limit,
            nothing changes. Else distances beyond half of the limit are compressed, in order.
        max_behind: the same limit behind the screen.

    Returns:
        `[T, 1, H, W]` in pixels, > 0 in front of the screen.

    Raises:
        TypeError: `inverse_depth` is not a floating point tensor.
        ValueError: a shape or a range is wrong.

    Example:
        >>> import torch
        >>> inverse_depth = torch.tensor([0.0, 0.5, 1.0, 0.5]).expand(1, 1, 2, 4)
        >>> disparity = inverse_depth_to_disparity(inverse_depth, max_disparity=50)
        >>> disparity.shape
        torch.Size([1, 1, 2, 4])
        >>> disparity[0, 0, 0]  # half of 4 pixels of width from the farthest to the nearest
        tensor([-1.,  0.,  1.,  0.])
    """
    check_frames("inverse_depth", inverse_depth, channels=1)
    check_range("max_disparity", max_disparity, 0, 100)
    check_range("convergence", convergence, 0, 1)
    scale = max_disparity / 100 * inverse_depth.shape[-1]
    disparity = (inverse_depth - convergence) * scale
    front, behind = disparity.clamp(min=0), (-disparity).clamp(min=0)
    front = soft_limit(
        front, _pixels("max_front", max_front, inverse_depth), (1 - convergence) * scale
    )
    behind = soft_limit(
        behind, _pixels("max_behind", max_behind, inverse_depth), convergence * scale
    )
    return front - behind


def soft_limit(distance: Tensor, limit: float, extreme: float) -> Tensor:
    """Bend `distance` (>= 0) so that `extreme`, its largest possible value, comes down to `limit`.

    Nothing changes up to half of the limit. From there on the curve is a hyperbola, which rises
    ever more slowly but always rises, so that the order is kept. If `extreme` is within the limit,
    nothing changes at all. A limit of 0 makes everything 0.
    """
    if extreme <= limit:
        return distance
    if limit == 0:
        return torch.zeros_like(distance)
    knee = limit / 2
    room, excess = limit - knee, extreme - knee
    beyond = (distance - knee).clamp(0, excess)
    return distance.clamp(max=knee) + beyond * room / (room + beyond * (1 - room / excess))


def resize_disparity(disparity: Disparity, height: int, width: int) -> Disparity:
    """Resize `[T, 1, H, W]` to `[T, 1, height, width]` and scale its values with its width.

    Raises:
        TypeError: `disparity` is not a floating point tensor.
        ValueError: a shape or a size is wrong.

    Example:
        >>> import torch
        >>> small = torch.full((1, 1, 45, 80), 2.0)  # 2 of 80 pixels
        >>> large = resize_disparity(small, 720, 1280)
        >>> large.shape, float(large[0, 0, 0, 0])  # 32 of 1280
        (torch.Size([1, 1, 720, 1280]), 32.0)
    """
    check_frames("disparity", disparity, channels=1)
    if height < 1 or width < 1:
        raise ValueError(f"height, width: expected at least 1, got {height}, {width}")
    scale = width / disparity.shape[-1]
    shrinks = height < disparity.shape[-2] or width < disparity.shape[-1]
    resized = F.interpolate(disparity, (height, width), mode="bilinear", antialias=shrinks)
    return resized * scale


def _pixels(name: str, percent: float | None, frames: InverseDepth) -> float:
    """Return a percentage of the width in pixels; None is infinite."""
    if percent is None:
        return math.inf
    check_range(name, percent, 0, 100)
    return percent / 100 * frames.shape[-1]
