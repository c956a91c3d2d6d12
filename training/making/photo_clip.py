"""A photo becomes a clip: a moving crop, and near things moving more than far ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core.types import InverseDepth, Video

PAN = 0.12
"""How far the crop's centre moves over 16 frames at most, as a part of the photo."""
PARALLAX = 0.02
"""How much farther the nearest thing moves than the farthest, as a part of the frame."""


def photo_clip(
    photo: Tensor,
    inverse_depth: Tensor,
    *,
    frames: int,
    height: int,
    width: int,
    generator: torch.Generator,
) -> tuple[Video, InverseDepth]:
    """Pan and zoom over a photo, with a parallax that tears nothing.

    Args:
        photo: `[3, h, w]` in [0, 1].
        inverse_depth: `[1, h, w]` in [0, 1].
        frames: T.
        height: H.
        width: W.
        generator: all randomness.

    Returns:
        The clip `[T, 3, H, W]` and its inverse depth `[T, 1, H, W]`.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    h, w = photo.shape[-2:]
    # A part of the photo between all of it and a 1:1 crop, at the frame's aspect.
    whole = min(w / width, h / height)
    scale = math.exp(uniform(min(0.0, math.log(whole)), math.log(whole))) * 0.9
    extent = torch.tensor([scale * width / w, scale * height / h])
    room = (1 - extent).clamp(min=0)
    start = torch.tensor([uniform(-1, 1), uniform(-1, 1)]) * room
    angle, speed = uniform(0, 2 * math.pi), uniform(0, PAN) / 16
    velocity = torch.tensor([math.cos(angle), 0.5 * math.sin(angle)]) * speed
    if (start * velocity).sum() > 0:
        velocity = -velocity  # towards the middle: there is more room
    zoom, sideways = uniform(-0.004, 0.004), uniform(-1, 1) * PARALLAX

    shrink = max(1.0, scale)  # or sampling aliases
    size = (max(1, round(h / shrink)), max(1, round(w / shrink)))
    small = F.interpolate(photo[None], size, mode="bilinear", antialias=True)
    depth = F.interpolate(inverse_depth[None], size, mode="area")
    # Smooth, so that the displacement stretches over depth edges and never folds.
    blur = max(1, round(0.02 * size[1]))
    smooth = F.avg_pool2d(depth, 2 * blur + 1, 1, blur, count_include_pad=False)
    layers = torch.cat([small, depth], dim=1)
    clip = []
    for t in range(frames):
        moment = t / max(1, frames - 1) - 0.5
        centre = torch.minimum(torch.maximum(start + velocity * t, -room), room)
        grid = _grid(height, width) * extent * (1 + zoom * t) + centre
        near = F.grid_sample(smooth, grid[None], align_corners=False, padding_mode="border")
        shift = moment * sideways * 2 * extent[0] * (near[0, 0] - 0.5)
        grid = torch.stack([grid[..., 0] + shift, grid[..., 1]], dim=-1)
        clip.append(
            F.grid_sample(
                layers, grid[None], "bicubic", padding_mode="reflection", align_corners=False
            )
        )
    video, inverse = torch.cat(clip).clamp(0, 1).split((3, 1), dim=1)
    return video, inverse


def _grid(height: int, width: int) -> Tensor:
    y = (torch.arange(height) + 0.5) / height * 2 - 1
    x = (torch.arange(width) + 0.5) / width * 2 - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
