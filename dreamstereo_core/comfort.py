"""What a viewer can bear: what lies on the screen, how far things leave it, how it is framed.

- Convergence: the inverse depth on the screen, a number or found in the picture, shot by shot.
- Limits: things come in front of the screen and go behind it so far and no farther.
- Floating window: black strips that hide what only one eye sees of things cut off by the frame.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import takewhile
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .checks import check_range
from .depth.normalize import ShotNormalizer, ShotScale, normalize
from .types import Disparity, Eye, InverseDepth, Video

Convergence: TypeAlias = float | Literal["auto", "subject", "median"]
CONVERGENCES = ("auto", "subject", "median")
"""What finds the convergence: "subject" what is large and near in the middle of the frame, "median"
the middle depth; "auto" is "subject", which leaves less in front of the screen at the borders."""
MAX_FRONT, MAX_BEHIND = 2.0, 3.0
"""Limits that suit most screens, in percent of the width."""

_SUBJECT_QUANTILE = 0.7  # what is nearer fills three tenths of the middle
_SUBJECT_SIGMA = 0.4  # of the weight's bell, in halves of the frame's sides
_SAMPLES = 64  # rows and columns that are looked at
_SETTLE = 1.0  # s in which an eased value comes nearer by a factor of e
_CONVERGENCE_SLEW = 0.15  # 1/s, of the depth's range
_WINDOW_SLEW = 0.01  # 1/s, of the width
_WINDOW_ROWS = 0.95  # quantile of a border's rows: a few wrong ones do not move the window


class EasedConvergence:
    """Say frame by frame which inverse depth lies on the screen.

    A number stays as it is. What is found in the pictures is there at once in a shot's first frame,
    and then follows slowly: by at most 0.15 of the depth's range a second.

    Args:
        convergence: in [0, 1], or one of `CONVERGENCES`.
        frame_rate: frames per second.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, convergence: Convergence, frame_rate: float = 24.0) -> None:
        check_convergence(convergence)
        _check_frame_rate(frame_rate)
        self._convergence = convergence
        self._frame_rate = frame_rate
        self._value = 0.5
        self._waiting: deque[tuple[float, bool]] = deque()

    def push(self, raw: Tensor, new_shot: bool = False) -> None:
        """Look at the next frame's raw inverse depth `[1, h, w]`."""
        looks = self._convergence in ("auto", "subject")
        self._waiting.append((_subject(raw) if looks else 0.0, new_shot))

    def pop(self, scale: ShotScale) -> float:
        """Return the convergence, in [0, 1], of the oldest frame that has none yet.

        Its target comes from its shot's frames that have been pushed so far: itself and the
        look-ahead.
        """
        subject, new_shot = self._waiting.popleft()
        if not isinstance(self._convergence, str):
            return self._convergence
        if self._convergence == "median":
            raw = scale.median
        else:
            coming = takewhile(lambda frame: not frame[1], self._waiting)
            raw = float(torch.tensor([subject, *(later for later, _ in coming)]).median())
        target = float(normalize(torch.tensor(raw), scale.low, scale.high))
        slew = _CONVERGENCE_SLEW / self._frame_rate
        self._value = target if new_shot else _ease(self._value, target, self._frame_rate, slew)
        return self._value


def clip_convergence(
    inverse_depth: InverseDepth,
    convergence: Convergence,
    *,
    cuts: Tensor | None = None,
    frame_rate: float = 24.0,
) -> list[float]:
    """Return the convergence of each frame of a whole clip, as the pipeline finds it.

    Args:
        inverse_depth: `[T, 1, H, W]`.
        convergence: in [0, 1], or one of `CONVERGENCES`.
        cuts: bool `[T]`, the frames that start a shot; None: only the first one does.
        frame_rate: frames per second.

    Raises:
        ValueError: an argument is out of its range, or a depth is not finite.
    """
    easing, normalizer = EasedConvergence(convergence, frame_rate), ShotNormalizer()
    found: list[float] = []

    def release(scales: list[ShotScale]) -> None:
        found.extend(easing.pop(ShotScale(0.0, 1.0, scale.median)) for scale in scales)

    for i, frame in enumerate(inverse_depth):
        new_shot = i == 0 or (cuts is not None and bool(cuts[i]))
        easing.push(frame, new_shot)
        release(normalizer.push(frame, new_shot=new_shot))
    release(normalizer.flush())
    return found


def soft_limit(distance: Tensor, limit: float, extreme: float) -> Tensor:
    """Bend `distance` (>= 0) so that `extreme`, its largest possible value, comes down to `limit`.

    Up to half of the limit nothing changes; from there a hyperbola, ever flatter and never flat,
    keeps the order. Where `extreme` is within the limit, nothing changes at all. A limit of 0
    flattens.
    """
    if extreme <= limit:
        return distance
    if limit == 0:
        return torch.zeros_like(distance)
    knee = limit / 2
    room, excess = limit - knee, extreme - knee
    beyond = (distance - knee).clamp(0, excess)
    return distance.clamp(max=knee) + beyond * room / (room + beyond * (1 - room / excess))


class FloatingWindow:
    """Mask what only one eye sees of near things that the frame's borders cut off.

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
        _check_frame_rate(frame_rate)
        self._frame_rate = frame_rate
        self._strips: tuple[float, float] | None = None

    def strips(self, disparity: Disparity, toward: Eye) -> tuple[float, float]:
        """Return the next frame's strips in pixels; arguments as of `border_disparity`."""
        now = border_disparity(disparity, toward)
        if self._strips is not None:
            slew = _WINDOW_SLEW * disparity.shape[-1] / self._frame_rate
            pairs = zip(self._strips, now, strict=True)
            left, right = (_ease(old, new, self._frame_rate, slew) for old, new in pairs)
            now = left, right
        self._strips = now
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
    left, right = (float(rows.flatten().quantile(_WINDOW_ROWS)) for rows in ends)
    return left, right


def check_convergence(value: Convergence) -> None:
    """Require one of `CONVERGENCES` or a number in [0, 1].

    Raises:
        ValueError: saying so.
    """
    if not isinstance(value, str):
        check_range("convergence", value, 0, 1)
    elif value not in CONVERGENCES:
        expected = f"one of {', '.join(CONVERGENCES)} or a number in [0, 1]"
        raise ValueError(f"convergence: expected {expected}, got {value!r}")


def _check_frame_rate(value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"frame_rate: expected more than 0 frames per second, got {value:g}")


def _subject(raw: Tensor) -> float:
    """Return an upper quantile of a frame's inverse depth `[1, h, w]`, its middle weighing more."""
    h, w = raw.shape[-2:]
    raw = raw[0, :: -(-h // _SAMPLES), :: -(-w // _SAMPLES)].detach().float().cpu()
    y, x = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in raw.shape)
    weight = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * _SUBJECT_SIGMA**2))
    values, order = raw.flatten().sort()
    below = weight.flatten()[order].cumsum(0)
    return float(values[torch.searchsorted(below, _SUBJECT_QUANTILE * below[-1])])


def _ease(value: float, target: float, frame_rate: float, slew: float) -> float:
    """Move `value` by one frame towards `target`, by at most `slew`."""
    step = (target - value) * min(1.0, 1 / (_SETTLE * frame_rate))
    return value + min(max(step, -slew), slew)
