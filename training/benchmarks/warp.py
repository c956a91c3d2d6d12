"""The warp beside two chains that do without it."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import gapw_warp, inverse_depth_to_disparity

from .machine import paired


def scatter_sheet(
    video: Tensor, disparity: Tensor, threshold: float = 1.5
) -> tuple[Tensor, Tensor]:
    """The rubber sheet as a chain of scatters: one for every pixel of the longest interval.

    Takes `[T, 3, H, W]` and `[T, 1, H, W]`; returns the warped video and the coordinate map, as
    `gapw_warp` does.
    """
    frames, _, height, width = video.shape
    x = torch.arange(width, dtype=torch.float32)
    landing = (x - disparity).view(-1, width)
    start, end = landing[:, :-1], landing[:, 1:]
    stretch = end - start
    solid = (stretch > 0) & (stretch <= threshold)
    best = torch.full((frames * height, width + 1), -1.0)
    for step in range(int(stretch.max()) + 2):
        pixel = start.ceil() + step
        inside = (stretch > 0) & (pixel <= end) & (pixel >= 0) & (pixel < width)
        source = x[:-1] + (pixel - start) / stretch + solid * width  # a solid one beats all others
        index = torch.where(inside, pixel, width).long()
        best.scatter_reduce_(1, index, source, "amax")
    best = best[:, :width]
    coord = torch.where(best >= width, best - width, best)
    beyond = torch.where(x < landing.amin(1, keepdim=True), 0.0, width - 1.0)
    coord = torch.where(best < 0, beyond, coord).view(frames, 1, height, width)
    cell = coord.long().clamp(max=width - 2)
    columns = cell.expand_as(video)
    warped = torch.lerp(video.gather(3, columns), video.gather(3, columns + 1), coord - cell)
    return warped, coord


def scatter_splat(video: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """Forward warping as most converters do it: a z-buffer, then bilinear splats.

    Takes `[T, 3, H, W]` and `[T, 1, H, W]`; returns the warped video and its holes.
    """
    frames, _, height, width = video.shape
    x = torch.arange(width, dtype=torch.float32) - disparity[:, 0]
    low = x.floor()
    rows = torch.arange(frames * height).view(frames, height, 1) * width
    nearest = torch.full((frames * height * width,), -1e9)
    splats = []
    for target, weight in ((low, 1 - (x - low)), (low + 1, x - low)):
        inside = (target >= 0) & (target < width) & (weight > 0)
        index = (rows + target.clamp(0, width - 1).long()).view(-1)
        near = torch.where(inside, disparity[:, 0], -1e9).view(-1)
        nearest.scatter_reduce_(0, index, near, "amax")
        splats.append((index, (weight * inside).view(-1), near))
    total = torch.zeros(frames * height * width)
    colours = torch.zeros(3, frames * height * width)
    source = video.transpose(0, 1).reshape(3, -1)
    for index, weight, near in splats:
        weight = weight * (near > nearest[index] - 1)
        total.scatter_add_(0, index, weight)
        for channel in range(3):
            colours[channel].scatter_add_(0, index, source[channel] * weight)
    warped = (colours / total.clamp(min=1e-6)).view(3, frames, height, width).transpose(0, 1)
    return warped, (total == 0).float().view(frames, 1, height, width)


def warp_table() -> None:
    """Compare the warp with both chains, and its cost a pixel over sizes."""
    columns = ("warp", "by scatters, ms", "splats, ms", "gapw_warp, ms")
    print("| " + " | ".join((*columns, "to scatters", "to splats", "ns a pixel")) + " |")
    print("|---|---|---|---|---|---|---|")
    for width, height in ((640, 360), (1280, 720), (1920, 1080), (3840, 2160)):
        scene = warp_scene(width, height)
        calls = (scatter_sheet, scatter_splat, gapw_warp)
        sheet, splat, ours = paired(*(partial(call, *scene) for call in calls))
        print(
            f"| {width}x{height} | {sheet:.0f} | {splat:.0f} | {ours:.1f} "
            f"| {ours / sheet:.2f} | {ours / splat:.2f} | {ours / (width * height) * 1e6:.0f} |"
        )


def warp_scene(width: int, height: int) -> tuple[Tensor, Tensor]:
    """Return one frame of noise and a piecewise smooth disparity up to 3 % of the width."""
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(1, 3, height, width, generator=generator)
    smooth = F.interpolate(
        torch.rand(1, 1, 6, 9, generator=generator), (height, width), mode="bicubic"
    )
    blocks = (torch.rand(1, 1, 7, 12, generator=generator) > 0.7).float()
    steps = F.interpolate(blocks, (height, width), mode="nearest")
    inverse_depth = ((smooth + steps) / 2).clamp(0, 1)
    return video, inverse_depth_to_disparity(inverse_depth, max_disparity=3, convergence=0.5)
