"""Inverse depth to disparity, and the one way to resize a disparity."""

from __future__ import annotations

from torch.nn import functional as F

from .checks import check_frames, check_range
from .types import Disparity, InverseDepth


def inverse_depth_to_disparity(
    inverse_depth: InverseDepth, *, max_disparity: float = 3.0, convergence: float = 0.5
) -> Disparity:
    """Return (inverse_depth - convergence) * max_disparity / 100 * W, signed pixels.

    Args:
        inverse_depth: `[T, 1, H, W]` in [0, 1], 1 = nearest.
        max_disparity: from the farthest to the nearest point, in percent of the width.
        convergence: the inverse depth that lies on the screen, in [0, 1].

    Returns:
        `[T, 1, H, W]` in pixels, > 0 in front of the screen.

    Raises:
        TypeError: `inverse_depth` is no floating point tensor.
        ValueError: a shape or a range is wrong.
    """
    check_frames("inverse_depth", inverse_depth, channels=1)
    check_range("max_disparity", max_disparity, 0, 100)
    check_range("convergence", convergence, 0, 1)
    scale = max_disparity / 100 * inverse_depth.shape[-1]
    return (inverse_depth - convergence) * scale


def resize_disparity(disparity: Disparity, height: int, width: int) -> Disparity:
    """Resize `[T, 1, H, W]` to `[T, 1, height, width]` and its pixels with it.

    Raises:
        TypeError: `disparity` is no floating point tensor.
        ValueError: a shape or a size is wrong.
    """
    check_frames("disparity", disparity, channels=1)
    if height < 1 or width < 1:
        raise ValueError(f"height, width: expected at least 1, got {height}, {width}")
    scale = width / disparity.shape[-1]
    shrinks = height < disparity.shape[-2] or width < disparity.shape[-1]
    resized = F.interpolate(disparity, (height, width), mode="bilinear", antialias=shrinks)
    return resized * scale
