"""Convergence: which inverse depth lies on the screen, given or found in the picture, per shot."""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .checks import check_frame_rate, check_range
from .depth.normalize import ShotNormalizer, ShotScale, normalize
from .easing import ease
from .types import InverseDepth

Convergence: TypeAlias = float | Literal["auto", "subject", "median"]
CONVERGENCES = ("auto", "subject", "median")
"""What finds the convergence: "subject" what is large and near in the middle of the frame, "median"
the middle depth; "auto" is "subject", which leaves less in front of the screen at the borders."""

_SUBJECT_QUANTILE = 0.7  # what is nearer fills three tenths of the middle
_SUBJECT_SIGMA = 0.4  # of the weight's bell, in halves of the frame's sides
_SAMPLES = 64  # rows and columns that are looked at
_SLEW = 0.15  # 1/s, of the depth's range


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
        check_frame_rate(frame_rate)
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
        slew = _SLEW / self._frame_rate
        self._value = target if new_shot else ease(self._value, target, self._frame_rate, slew)
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


def _subject(raw: Tensor) -> float:
    """Return an upper quantile of a frame's inverse depth `[1, h, w]`, its middle weighing more."""
    h, w = raw.shape[-2:]
    raw = raw[0, :: -(-h // _SAMPLES), :: -(-w // _SAMPLES)].detach().float().cpu()
    y, x = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in raw.shape)
    weight = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * _SUBJECT_SIGMA**2))
    values, order = raw.flatten().sort()
    below = weight.flatten()[order].cumsum(0)
    return float(values[torch.searchsorted(below, _SUBJECT_QUANTILE * below[-1])])
