"""The floating window: black strips at the sides, where only one eye sees a near thing."""

from __future__ import annotations

import math

import torch

from .checks import check_frame_rate
from .easing import ease
from .types import Disparity, Eye, Video

_SLEW = 0.01  # of the width in a second
_ROWS = 0.95  # quantile of a border's rows: a few wrong ones do not move the window


class FloatingWindow:
    """Hide the parts of near things at the frame's sides that only one eye sees.

    At the left border it is the **left eye** that sees more of a thing in front of the screen:
    x_left = x_right + d with d > 0, so what lies in its first d columns is outside of the right
    eye's frame. At the right border it is the **right eye**, in its last d columns. (Behind the
    screen it is the other way round, as with a real window; there nothing has to be hidden.) Black
    strips there move the frame's borders forward to the thing that they cut: the left eye's
    left border by d, the right eye's right border by d.

    One object serves one shot: the strips are there at once in its first frame, and then follow
    the disparity by at most 1 % of the width a second.

    Raises:
        ValueError: `frame_rate` is not positive.
    """

    def __init__(self, frame_rate: float = 24.0) -> None:
        check_frame_rate(frame_rate)
        self._frame_rate = frame_rate
        self.now: tuple[float, float] | None = None
        """The last frame's strips, in pixels."""

    def strips(self, disparity: Disparity, toward: Eye) -> tuple[float, float]:
        """Return the next frame's strips in pixels; arguments as of `border_disparity`."""
        now = border_disparity(disparity, toward)
        if self.now is not None:
            slew = _SLEW * disparity.shape[-1] / self._frame_rate
            pairs = zip(self.now, now, strict=True)
            left, right = (ease(old, new, self._frame_rate, slew) for old, new in pairs)
            now = left, right
        self.now = now
        return now


def mask_borders(left: Video, right: Video, strips: tuple[float, float]) -> tuple[Video, Video]:
    """Blacken the left eye's first and the right eye's last columns, `[T, 3, H, W]`.

    Args:
        left: what the left eye sees.
        right: what the right eye sees.
        strips: at the left eye's left border and the right eye's right one, in pixels.
    """
    edges = torch.arange(1, left.shape[-1] + 1, device=left.device)
    first, last = ((edges - strip).clamp(0, 1) for strip in strips)  # 0 = covered
    return left * first, right * last.flip(-1)


def border_disparity(disparity: Disparity, toward: Eye) -> tuple[float, float]:
    """Return how far in front the things are that the frame cuts off, left and right, in pixels.

    Args:
        disparity: `[1, 1, H, W]` of the known view.
        toward: the eye that is made of it, as for `gapw_warp`.
    """
    if toward == "left":
        right, left = border_disparity(disparity.flip(-1), "right")
        return left, right
    # The left view sees all that the right one's frame cuts off: what lands left of column 0.
    reach = max(1, math.ceil(min(float(disparity.max()), disparity.shape[-1])))
    near = disparity[..., :reach]
    near = torch.where(near > torch.arange(reach, device=near.device), near, 0).amax(-1)
    ends = near, disparity[..., -1].clamp(min=0)
    left, right = (float(rows.flatten().quantile(_ROWS)) for rows in ends)
    return left, right
