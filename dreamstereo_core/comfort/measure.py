"""One frame's disparity in a dozen numbers."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from ..floating_window import border_disparity
from ..gapw import gapw_warp
from ..types import Disparity, Eye, FrameComfort, InverseDepth, OcclusionMask

WIDTH = 320
"""Pixels across which a frame is measured at most; percentages need no more."""
_SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)
_HOLE_STRETCH = 1.5  # Eq. 7's own: at this size an edge is a ramp, which the larger one is not


def at_measuring_size(inverse_depth: InverseDepth) -> InverseDepth:
    """Return `[T, 1, h, w]` at most `WIDTH` wide; no value is mixed with another one."""
    height, width = inverse_depth.shape[-2:]
    if width <= WIDTH:
        return inverse_depth
    return F.interpolate(inverse_depth, (max(1, round(height * WIDTH / width)), WIDTH))


def measure_frame(
    disparity: Disparity,
    *,
    toward: Eye = "right",
    time: Fraction | float = 0.0,
    new_shot: bool = False,
    share: float = 1.0,
    holes: bool = True,
) -> FrameComfort:
    """Measure a frame's disparity `[1, 1, h, w]` of the known view.

    Args:
        disparity: in its own pixels, > 0 in front of the screen.
        toward: the eye that is made, as for `gapw_warp`.
        time: when it is shown, in seconds.
        new_shot: whether it starts a shot.
        share: of the frame's width, what lies between bars.
        holes: whether to look for holes, which takes most of the time.

    Returns:
        All of it in percent of the frame's width.

    Example:
        >>> import torch
        >>> disparity = torch.zeros(1, 1, 20, 100)
        >>> disparity[..., 40:60] = 2.0
        >>> frame = measure_frame(disparity)
        >>> frame.near99, frame.median, frame.widest_hole
        (2.0, 0.0, 2.0)
    """
    percent = 100 / disparity.shape[-1] * share
    far1, far5, median, near95, near99 = (
        float(value) * percent for value in _quantiles(disparity, _SHARES)
    )
    height, width = disparity.shape[-2:]
    rows = slice(height // 4, max(height // 4 + 1, height - height // 4))
    columns = slice(width // 4, max(width // 4 + 1, width - width // 4))
    (middle,) = _quantiles(disparity[..., rows, columns], (0.5,))
    left, right = border_disparity(disparity, toward)
    empty, widest = 0.0, 0
    if holes:
        grey = disparity.new_zeros(1, 3, height, width)
        warp = gapw_warp(grey, disparity, toward=toward, stretch_threshold=_HOLE_STRETCH)
        empty, widest = float(warp.occlusion_mask.mean()), _longest_run(warp.occlusion_mask)
    return FrameComfort(
        time=float(time),
        new_shot=float(new_shot),
        far1=far1,
        far5=far5,
        median=median,
        near95=near95,
        near99=near99,
        middle=float(middle) * percent,
        left=left * percent,
        right=right * percent,
        holes=100 * empty,
        widest_hole=widest * percent,
    )


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Return the quantiles, each of them a value that is there; torch's own takes longer."""
    ordered = values.flatten().sort().values
    places = [round(share * (len(ordered) - 1)) for share in shares]
    return ordered[places]


def _longest_run(mask: OcclusionMask) -> int:
    """Return how many pixels of a row are missing one after the other, at most."""
    place = torch.arange(1, mask.shape[-1] + 1, device=mask.device)
    known = torch.where(mask > 0.5, 0, place)
    return int((place - known.cummax(dim=-1).values).max())
