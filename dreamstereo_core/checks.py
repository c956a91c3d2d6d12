"""Check arguments; each error names the argument, what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_frames(name: str, tensor: Tensor, *, channels: int, like: Tensor | None = None) -> None:
    """Require a floating point ``[T, channels, H, W]`` tensor, with the T, H and W of `like`.

    Raises:
        TypeError: `tensor` is not a floating point tensor.
        ValueError: its shape is another one, or it is empty.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: expected a floating point tensor, got {tensor.dtype}")
    shape = tuple(tensor.shape)
    if len(shape) != 4 or shape[1] != channels:
        raise ValueError(f"{name}: expected shape [T, {channels}, H, W], got {list(shape)}")
    if 0 in shape:
        raise ValueError(f"{name}: expected at least one frame and one pixel, got {list(shape)}")
    if like is not None and (shape[0], *shape[2:]) != (like.shape[0], *like.shape[2:]):
        expected = [like.shape[0], channels, *like.shape[2:]]
        raise ValueError(f"{name}: expected shape {expected} to match the video, got {list(shape)}")


def check_finite(name: str, tensor: Tensor) -> None:
    """Require that no value is NaN or infinite; a tensor of the meta device has no values.

    Raises:
        ValueError: some are; the message says how many.
    """
    if tensor.is_meta:
        return
    # One pass is enough: a sum is finite unless a term is not finite. It may also overflow, so then
    # the values are counted.
    if not torch.isfinite(tensor.sum()):
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ValueError(f"{name}: expected finite values, got {bad} that are NaN or infinite")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Require one of `choices`.

    Raises:
        ValueError: it is another value; the message lists the choices.
    """
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def read_size(name: str, text: str) -> tuple[int, int]:
    """Return height and width of "1280x720", which has the width first.

    Raises:
        ValueError: it is no size.
    """
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"{name}: expected WxH in pixels, such as 1280x720, got {text!r}")
    return int(height), int(width)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Require low <= value <= high.

    Raises:
        ValueError: it is not; the message names the range.
    """
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a value in [{low:g}, {high:g}], got {value:g}")


def check_frame_rate(value: float) -> None:
    """Require a finite number above 0.

    Raises:
        ValueError: it is another value.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"frame_rate: expected more than 0 frames per second, got {value:g}")
