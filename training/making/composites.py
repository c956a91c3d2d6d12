"""Layered composites with exact truth: a cut-out of a photograph moves before another one.

Both layers have their own depth and motion, so the disparity, and what the cut-out hides, are known
in every frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Composite:
    """A clip `[T, 3, H, W]`, its disparity `[T, 1, H, W]` and its background alone."""

    video: Tensor
    disparity: Tensor
    background: Tensor


def layered_composite(
    foreground: Tensor,
    background: Tensor,
    *,
    frames: int,
    height: int,
    width: int,
    max_disparity: float,
    generator: torch.Generator,
) -> Composite:
    """Move a smooth random shape of one photo in front of another.

    Args:
        foreground: `[3, h, w]` in [0, 1], any size.
        background: `[3, h, w]`.
        frames: T.
        height: H.
        width: W.
        max_disparity: the jump at the shape's border, in percent of the width.
        generator: all randomness, so that a seed gives a clip.

    Returns:
        The clip. Background disparities span a fifth of the jump, below it.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    jump = max_disparity / 100 * width
    ramp = torch.linspace(-1, 1, height)[:, None].expand(height, width) * uniform(0, 0.1) * jump
    shape = _blob(generator)
    centre, speed = (
        (uniform(-0.5, 0.3), uniform(-0.4, 0.4)),
        (uniform(-0.03, 0.03), uniform(-0.01, 0.01)),
    )
    size = uniform(0.25, 0.6)
    pan = (uniform(-0.004, 0.004), uniform(-0.002, 0.002))
    clips: list[tuple[Tensor, Tensor, Tensor]] = []
    for t in range(frames):
        back = _view(background, (pan[0] * t, pan[1] * t), 0.8, height, width)
        at = (centre[0] + speed[0] * t, centre[1] + speed[1] * t)
        alpha = (_look(shape, at, size, height, width) * 24).clamp(-0.5, 0.5) + 0.5
        front = _view(foreground, (-at[0] * 0.5, -at[1] * 0.5), 0.6, height, width)
        disparity = torch.where(alpha[0] > 0.02, jump, ramp)
        clips.append((back.lerp(front, alpha), disparity[None], back))
    video, disparity, back = (torch.stack(x) for x in zip(*clips, strict=True))
    return Composite(video, disparity, back)


def _blob(generator: torch.Generator) -> Tensor:
    """A random star-shaped signed field `[1, 256, 256]`, > 0 inside."""
    y, x = torch.meshgrid(torch.linspace(-2, 2, 512), torch.linspace(-2, 2, 512), indexing="ij")
    angle, radius = torch.atan2(y, x), torch.hypot(x, y)
    edge = torch.full_like(angle, 0.8)
    for k in range(1, 7):
        amplitude, phase = torch.rand(2, generator=generator).tolist()
        edge = edge + 0.3 * amplitude / k * torch.sin(k * angle + 6.28 * phase)
    return (edge - radius)[None]


def _look(image: Tensor, at: tuple[float, float], size: float, height: int, width: int) -> Tensor:
    """Sample `image`, [-2, 2] shape units wide, with its centre at `at` (frame = [-1, 1])."""
    aspect = width / height
    grid = _grid(height, width)
    grid = torch.stack([(grid[..., 0] - at[0]) * aspect, grid[..., 1] - at[1]], dim=-1) / (2 * size)
    return F.grid_sample(image[None], grid[None], align_corners=False, padding_mode="border")[0]


def _view(
    image: Tensor, shift: tuple[float, float], zoom: float, height: int, width: int
) -> Tensor:
    """Crop the centre of `image` at the frame's aspect, moved by `shift`; borders mirror."""
    h, w = image.shape[-2:]
    fit = min(w / width, h / height) * zoom
    scale = torch.tensor([fit * width / w, fit * height / h])
    grid = _grid(height, width) * scale + torch.tensor(shift)
    # Photos are larger than frames: shrink first, or sampling aliases.
    shrink = max(1.0, fit)
    small = F.interpolate(
        image[None], (round(h / shrink), round(w / shrink)), mode="bilinear", antialias=True
    )
    sampled = F.grid_sample(
        small, grid[None], mode="bicubic", align_corners=False, padding_mode="reflection"
    )
    return sampled[0].clamp(0, 1)


def _grid(height: int, width: int) -> Tensor:
    y = (torch.arange(height) + 0.5) / height * 2 - 1
    x = (torch.arange(width) + 0.5) / width * 2 - 1
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
