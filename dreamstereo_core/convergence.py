"""Convergence: which inverse depth lies on the screen, given or found in the picture, per shot."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .checks import check_frame_rate, check_range
from .depth.normalize import ShotNormalizer, normalize
from .easing import ease
from .types import InverseDepth, ShotScale

Convergence: TypeAlias = float | Literal["auto", "subject", "median"]
CONVERGENCES = ("auto", "subject", "median")
"""How the convergence is found. "subject" takes what is large and near in the middle of the frame,
"median" the middle depth. "auto" is "subject", since it leaves less in front of the screen at the
frame's borders."""

_SLEW = 0.15  # of the depth's range in a second


class EasedConvergence:
    """Return frame by frame which inverse depth lies on the screen.

    A number stays as it is. A convergence that is found in the pictures holds at once in a shot's
    first frame, and then changes slowly, by at most 0.15 of the depth's range in a second.

    Args:
        convergence: in [0, 1], or one of `CONVERGENCES`.
        frame_rate: frames per second.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, convergence: Convergence, frame_rate: float = 24.0) -> None:
        check_convergence(convergence)
        check_frame_rate(frame_rate)
        self._convergence = convergence
        self._frame_rate = frame_rate
        self.value = 0.5
        """Of the last frame."""

    def step(self, scale: ShotScale, new_shot: bool = False) -> float:
        """Return the convergence, in [0, 1], of the next frame, given that frame's scale."""
        if not isinstance(self._convergence, str):
            return self._convergence
        raw = scale.median if self._convergence == "median" else scale.subject
        target = float(normalize(torch.tensor(raw), scale.low, scale.high))
        slew = _SLEW / self._frame_rate
        self.value = target if new_shot else ease(self.value, target, self._frame_rate, slew)
        return self.value


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
    starts = [i == 0 or (cuts is not None and bool(cuts[i])) for i in range(len(inverse_depth))]
    easing = EasedConvergence(convergence, frame_rate)
    scales = ShotNormalizer().stream(zip(inverse_depth, starts, strict=True))
    return [
        easing.step(replace(scale, low=0.0, high=1.0), new_shot)
        for scale, new_shot in zip(scales, starts, strict=True)
    ]


def check_convergence(value: Convergence) -> None:
    """Require one of `CONVERGENCES` or a number in [0, 1].

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, str):
        check_range("convergence", value, 0, 1)
    elif value not in CONVERGENCES:
        expected = f"one of {', '.join(CONVERGENCES)} or a number in [0, 1]"
        raise ValueError(f"convergence: expected {expected}, got {value!r}")
