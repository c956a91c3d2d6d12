"""Tell a grey depth from one in false colours."""

from __future__ import annotations

from torch import Tensor

from .estimator import DepthError

_SATURATION = 0.12
"""Difference of the largest and the smallest channel; compression makes less of it in grey."""
_AREA = 0.005
"""Share of the picture that must be colourful."""


def is_colored(picture: Tensor) -> bool:
    """Tell whether RGB ``[3, H, W]`` in [0, 1] has colours; red alone counts as grey."""
    step = max(1, min(picture.shape[1:]) // 256)
    red, green, blue = small = picture[:, ::step, ::step].contiguous()
    if small[1:].amax() - small[1:].amin() < _SATURATION / 2 and small[1:].amax() < _SATURATION:
        return False
    saturation = red.maximum(green).maximum(blue) - red.minimum(green).minimum(blue)
    return bool((saturation > _SATURATION).float().mean() > _AREA)


def check_grey(picture: Tensor, name: str) -> None:
    """Require a depth without colours.

    Raises:
        DepthError: the picture ``[3, H, W]`` has some.
    """
    if is_colored(picture):
        raise DepthError(
            f"{name}: expected depth in grey (white = near), got colours: a colour map such as "
            "inferno or turbo, or a photograph; save the depth in grey, best with 16 bits"
        )
