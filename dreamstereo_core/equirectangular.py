"""A flat picture on half a sphere: what a VR180 player shows before each eye."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_range
from .types import Video

MOST_PIXELS = 4096
"""Side of an eye's picture, at most: two of them are what headsets decode, 8192 x 4096."""


@dataclass(frozen=True)
class Vr180:
    """How a flat picture hangs before the eyes.

    Raises:
        ValueError: a value is out of its range.
    """

    field_of_view: float = 90.0
    """Degrees that the picture's width takes."""
    screen_disparity: float = 3.0
    """Percent of the width that both eyes' pictures are moved toward each other. What lies on the
    screen has no disparity, and would be infinitely far before a headset's parallel eyes; what lies
    behind it could not be seen at all. With as much as anything goes behind the screen, the
    farthest is infinitely far and all else is nearer."""
    pixel_aspect: float = 1.0
    """Width of a pixel for a height of 1."""

    def __post_init__(self) -> None:
        check_range("field_of_view", self.field_of_view, 10, 170)
        check_range("screen_disparity", self.screen_disparity, 0, 100)


DEFAULT_VR180 = Vr180()


def sphere_size(width: int, vr: Vr180) -> int:
    """Return the side of an eye's square picture: as fine in its middle as the flat one."""
    across = 2 * math.tan(math.radians(vr.field_of_view) / 2)
    return min(MOST_PIXELS, math.ceil(math.pi * width / across / 2) * 2)


def to_half_sphere(view: Video, vr: Vr180, *, shift: float = 0.0) -> Video:
    """Project a flat picture to half an equirectangular one; what is around it is black.

    Columns are longitudes from -90 to 90 degrees, rows are latitudes from 90 to -90.

    Args:
        view: ``[T, 3, H, W]``.
        vr: field of view and shape of pixels.
        shift: pixels of `view` that it is moved to the right.

    Returns:
        ``[T, 3, S, S]`` with `sphere_size`.
    """
    height, width = view.shape[-2:]
    side = sphere_size(width, vr)
    grid, rows, columns = _grid(width, height, side, vr, shift)
    grid = grid.to(view.device, view.dtype).expand(len(view), -1, -1, -1)
    sphere = view.new_zeros((*view.shape[:2], side, side))
    inside = F.grid_sample(view, grid, mode="bicubic", align_corners=False)
    sphere[..., rows, columns] = inside.clamp_(0, 1)
    return sphere


@lru_cache(maxsize=4)
def _grid(
    width: int, height: int, side: int, vr: Vr180, shift: float
) -> tuple[Tensor, slice, slice]:
    """Return where the picture's part of the sphere comes from ``[1, h, w, 2]``, and that part."""
    angles = (torch.arange(side, dtype=torch.float64) + 0.5) * math.pi / side - math.pi / 2
    half = math.tan(math.radians(vr.field_of_view) / 2)
    x = torch.tan(angles) / half - 2 * shift / width
    # The picture's height in the same unit, along the longitude: it is highest in the middle.
    tall = half * height / width / vr.pixel_aspect
    columns = _inside(x.abs() <= 1 + 2 / width)
    rows = _inside(torch.tan(angles).abs() <= tall * (1 + 2 / height))
    longitude, latitude = angles[columns], angles[rows]
    y = torch.tan(latitude)[:, None] / torch.cos(longitude)[None] / tall
    grid = torch.stack([x[columns].expand_as(y), y], dim=-1)
    return grid[None].float(), rows, columns


def _inside(wanted: Tensor) -> slice:
    numbers = wanted.nonzero()
    return slice(int(numbers[0]), int(numbers[-1]) + 1)
