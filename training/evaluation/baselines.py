"""What to compare with: fills, and a plain forward warp that needs none.

A fill takes a video `[T, C, H, W]`, its holes `[T, 1, H, W]` and its disparity `[T, 1, H, W]`, and
returns the video with its holes filled; known pixels stay as they are, to the bit.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import inverse_depth_to_disparity
from dreamstereo_core.masks import dilate, erode

_EDGE = 0.2
"""Range of inverse depth around a pixel from which it wholly counts as an edge."""
_PASSES = 2
_LEAST = 1e-5
"""Weight of a pixel on the column that it just does not reach."""


def telea(video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
    """Fill frame by frame with cv2's Telea; the disparity is not used."""
    return _cv2_inpaint(video, mask, cv2.INPAINT_TELEA)


def navier_stokes(video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
    """Fill frame by frame with cv2's Navier-Stokes; the disparity is not used."""
    return _cv2_inpaint(video, mask, cv2.INPAINT_NS)


def nearest_background(video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
    """Repeat, in each row of a hole, the known pixel at its end that is farther away."""
    width = video.shape[-1]
    x = torch.arange(width).expand_as(mask)
    known = mask == 0
    left = torch.where(known, x, -1).cummax(-1).values
    right = torch.where(known, x, width).flip(-1).cummin(-1).values.flip(-1)
    far = torch.full_like(disparity, torch.inf)
    at_left = torch.where(left >= 0, disparity.gather(-1, left.clamp(min=0)), far)
    at_right = torch.where(right < width, disparity.gather(-1, right.clamp(max=width - 1)), far)
    source = torch.where(at_left < at_right, left.clamp(min=0), right.clamp(max=width - 1))
    return video.gather(-1, source.expand_as(video))


def forward_warp(
    video: Tensor, inverse_depth: Tensor, *, max_disparity: float, convergence: float
) -> Tensor:
    """Make the right eye by pushing each pixel to where it lands; holes repeat their neighbour.

    What converters without weights do (iw3's `forward_fill`): near things grow by two pixels at the
    edges of a depth smaller than the picture, which is then enlarged bilinearly.

    Args:
        video: `[T, 3, H, W]`, the left eye.
        inverse_depth: `[T, 1, h, w]`, at most as large.
        max_disparity: in percent of the width.
        convergence: the inverse depth on the screen.
    """
    size = video.shape[-2:]
    if inverse_depth.shape[-2:] != size:
        grown = grow_at_edges(inverse_depth, _PASSES)
        inverse_depth = F.interpolate(grown, size, mode="bilinear")
    disparity = inverse_depth_to_disparity(
        inverse_depth, max_disparity=max_disparity, convergence=convergence
    )
    return splat(video, disparity)


def grow_at_edges(inverse_depth: Tensor, passes: int) -> Tensor:
    """Grow near things `[T, 1, h, w]` by a pixel a pass, where there is an edge of depth."""
    for _ in range(passes):
        near = dilate(inverse_depth, 1)
        edge = ((near - erode(inverse_depth, 1)) / _EDGE).clamp(0, 1)
        inverse_depth = torch.lerp(inverse_depth, near, edge)
    return inverse_depth


def splat(video: Tensor, disparity: Tensor) -> Tensor:
    """Push each pixel of the left view onto the two columns of the right view around its place.

    Each column has what the nearest pixel from either side brings, weighted by closeness. Where
    nothing lands, the farther end of the gap is repeated.
    """
    x = torch.arange(video.shape[-1], dtype=disparity.dtype).expand_as(disparity)
    place = x - disparity
    total, weights = torch.zeros_like(video), torch.zeros_like(x)
    nearest = torch.full_like(x, -torch.inf)
    for column in (place.floor(), place.floor() + 1):
        closeness = (1 - (place - column).abs()).clamp(min=_LEAST)
        owner = _last_lander(column)
        landed, source = owner >= 0, owner.clamp(min=0)
        weight = torch.where(landed, closeness.gather(-1, source), 0)
        total += weight * video.gather(-1, source.expand_as(video))
        weights += weight
        here = torch.where(landed, disparity.gather(-1, source), -torch.inf)
        nearest = torch.maximum(nearest, here)
    hole = (weights == 0).float()
    return nearest_background(total / weights.clamp(min=_LEAST), hole, nearest)


def _last_lander(column: Tensor) -> Tensor:
    """Return the rightmost source pixel that lands in each column, -1 where none does.

    Of those that land in one column it is the nearest: they differ by a pixel and more in x, and by
    less than one in x - disparity.
    """
    width = column.shape[-1]
    inside = column.clamp(-1, width).long() + 1  # the first and the last take what lies outside
    owner = torch.full((*column.shape[:-1], width + 2), -1)
    x = torch.arange(width).expand_as(inside)
    return owner.scatter_reduce(-1, inside, x, "amax")[..., 1:-1]


def _cv2_inpaint(video: Tensor, mask: Tensor, method: int) -> Tensor:
    filled = []
    for frame, hole in zip(video, mask[:, 0] > 0, strict=True):
        image = (frame.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        image = cv2.inpaint(image, hole.numpy().astype(np.uint8), 3, method)
        filled.append(torch.where(hole, torch.from_numpy(image).permute(2, 0, 1) / 255, frame))
    return torch.stack(filled)
