"""Gradient-Aware Parallax Warping on a GPU, by one kernel that looks back from each target pixel.

The function of `gapw` scatters the sheet's intervals; a GPU would have to order its writes and to
wait for their number. Here each target pixel looks through the few source pixels that its row's
disparities let reach it, so that nothing is counted, sorted or written twice, and the mask and the
ends' shares come from the same pass. The results are `gapw`'s; sums of several ends in one pixel
are added in another order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .types import Eye, WarpResult

_BLOCK = 128
"""Target pixels of one program, all of one row: one for each thread, of 72 registers on an H100."""


def warp(
    video: Tensor,
    disparity: Tensor,
    *,
    toward: Eye,
    threshold: float,
    cubic: bool,
    level: float,
    nearer: float,
) -> WarpResult:
    """Warp as `gapw_warp` does; checked arguments, at least two pixels wide.

    Args:
        video: `[T, C, H, W]`, C = 3, or 0 for the disparity and the mask alone; of any floats.
        disparity: `[T, 1, H, W]` of any floats.
        toward: the eye to make.
        threshold: delta of Eq. 7.
        cubic: whether colours are Catmull and Rom's.
        level: shares of a pixel below this count as 0.
        nearer: pixels by which an end is in front of what it covers.
    """
    frames, channels, height, width = video.shape
    video, disparity = video.contiguous(), disparity.contiguous()
    colours = torch.empty(video.shape, dtype=torch.float32, device=video.device)
    planes = [torch.empty_like(disparity, dtype=torch.float32) for _ in range(4)]
    mirror = toward == "left"
    rows = disparity.view(-1, width).float()  # [T * H, W]
    low, high = torch.aminmax(rows, dim=1)  # [T * H] each
    x = torch.arange(width, dtype=torch.float32, device=rows.device)
    leftmost = ((width - 1 - x if mirror else x) - rows).amin(dim=1)  # [T * H]
    grid = (frames * height, triton.cdiv(width, _BLOCK))
    kernel: Any = _warp_pixels
    kernel[grid](
        video,
        disparity,
        low,
        high,
        leftmost,
        colours,
        *planes,
        height,
        width,
        threshold,
        level,
        nearer,
        CHANNELS=channels,
        CUBIC=cubic,
        MIRROR=mirror,
        BLOCK=_BLOCK,
    )
    shown, coord_map, stretch, mask = planes
    return WarpResult(colours, shown, mask, coord_map, stretch)


@triton.jit
def _landing(row, x, inside, width, MIRROR: tl.constexpr):
    """Return x' of source pixels, seen from the known eye's own side."""
    at = width - 1 - x if MIRROR else x
    shift = tl.load(row + at, mask=inside, other=0.0).to(tl.float32)
    return x.to(tl.float32) - shift


@triton.jit
def _colour(row, x, width, inside, MIRROR: tl.constexpr):
    at = width - 1 - x if MIRROR else x
    return tl.load(row + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _lerp(start, end, weight):
    """Interpolate as torch.lerp does, from the end that is closer."""
    step = end - start
    return tl.where(weight < 0.5, start + weight * step, end - step * (1 - weight))


@triton.jit
def _torn(row, x, ok, width, threshold, MIRROR: tl.constexpr):
    """Return whether the sheet is torn between x and x + 1; it is not beyond the frame."""
    inside = ok & (x >= 0) & (x < width - 1)
    length = _landing(row, x + 1, inside, width, MIRROR) - _landing(row, x, inside, width, MIRROR)
    return inside & ((length <= 0) | (length > threshold))


@triton.jit
def _warp_pixels(
    video,
    disparity,
    lows,
    highs,
    leftmosts,
    colours,
    shown_out,
    coord_out,
    stretch_out,
    mask_out,
    height,
    width,
    threshold,
    level,
    nearer,
    CHANNELS: tl.constexpr,
    CUBIC: tl.constexpr,
    MIRROR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    line = tl.program_id(0)  # of all frames' rows
    p = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK] target pixels
    ok = p < width
    place = p.to(tl.float32)
    row = disparity + line.to(tl.int64) * width
    # Interval x covers p only if p - 1 + low <= x <= p + high.
    first = tl.maximum(tl.floor(tl.load(lows + line)).to(tl.int32) - 1, -width)
    last = tl.minimum(tl.ceil(tl.load(highs + line)).to(tl.int32) + 1, width)

    # The greatest x wins (Eq. 3), and a solid interval over a wide one.
    solid = tl.full([BLOCK], -1, tl.int32)
    wide = tl.full([BLOCK], -1, tl.int32)
    start = _landing(row, p + first, ok & (p + first >= 0) & (p + first < width), width, MIRROR)
    for step in range(first, last):
        x = p + step
        inside = ok & (x >= 0) & (x < width - 1)
        end = _landing(row, x + 1, ok & (x + 1 >= 0) & (x + 1 < width), width, MIRROR)
        length = end - start
        covers = inside & (length > 0) & (start <= place) & (place <= end)
        solid = tl.where(covers & (length <= threshold), x, solid)
        wide = tl.where(covers & (length > threshold), x, wide)
        start = end
    owner = tl.where(solid >= 0, solid, wide)
    found = owner >= 0
    cell = tl.where(found, owner, 0)
    start = _landing(row, cell, ok, width, MIRROR)
    stretch = _landing(row, cell + 1, ok, width, MIRROR) - start
    fraction = tl.where(found, (place - start) / tl.where(found, stretch, 1.0), 0.0)
    edge = tl.where(place < tl.load(leftmosts + line), 0, width - 1)  # beyond the sheet's ends
    cell = tl.where(found, cell, edge)
    coord = cell.to(tl.float32) + fraction
    edge_shift = edge.to(tl.float32) - _landing(row, edge, ok, width, MIRROR)
    shown = tl.where(found, coord - place, edge_shift)
    stretch = tl.where(found, stretch, float("inf"))
    missing = tl.where(stretch > threshold, 1.0, 0.0)
    there = tl.where(found, cell + 1, cell)

    # The torn sheet's ends cover their share: end x of a tear on its ceiling, x + 1 on its floor.
    total = tl.full([BLOCK], 0.0, tl.float32)
    red = tl.full([BLOCK], 0.0, tl.float32)
    green = tl.full([BLOCK], 0.0, tl.float32)
    blue = tl.full([BLOCK], 0.0, tl.float32)
    frame, y = line // height, line % height
    plane = height * width
    begin = frame.to(tl.int64) * CHANNELS * plane + y.to(tl.int64) * width  # of red
    lines = video + begin
    torn_before = _torn(row, p + first - 1, ok, width, threshold, MIRROR)
    at = _landing(row, p + first, ok & (p + first >= 0) & (p + first < width), width, MIRROR)
    for step in range(first, last + 1):
        x = p + step
        inside = ok & (x >= 0) & (x < width)
        end = _landing(row, x + 1, ok & (x + 1 >= 0) & (x + 1 < width), width, MIRROR)
        torn = inside & (x < width - 1) & ((end - at <= 0) | (end - at > threshold))
        seen = inside & ((x.to(tl.float32) - at > shown + nearer) | (missing > 0))
        share = tl.where(seen & torn & (tl.ceil(at) == place), 1 - tl.abs(at - place), 0.0)
        share += tl.where(seen & torn_before & (tl.floor(at) == place), 1 - tl.abs(at - place), 0.0)
        total += share
        if CHANNELS:
            adds = share > 0
            red += share * _colour(lines, x, width, adds, MIRROR)
            green += share * _colour(lines + plane, x, width, adds, MIRROR)
            blue += share * _colour(lines + 2 * plane, x, width, adds, MIRROR)
        at, torn_before = end, torn
    covered = tl.minimum(total, 1.0)
    covered = tl.where(covered > 1 - level, 1.0, covered)

    out = tl.where(ok, width - 1 - p if MIRROR else p, 0)
    to = line.to(tl.int64) * width + out
    for channel in tl.static_range(CHANNELS):  # pyright: ignore[reportGeneralTypeIssues]
        source = lines + channel * plane
        left = _colour(source, cell, width, ok, MIRROR)
        right = _colour(source, there, width, ok, MIRROR)
        value = _lerp(left, right, fraction)
        if CUBIC:
            bend_left = _bend(source, row, cell, left, ok & found, width, threshold, MIRROR)
            bend_right = _bend(source, row, there, right, ok & found, width, threshold, MIRROR)
            bend = _lerp(bend_left, bend_right, fraction) * (fraction * (1 - fraction) / 2)
            bent = tl.minimum(tl.maximum(value - bend, 0.0), 1.0)
            value = tl.where(found, bent, value)
        end_colour = red if channel == 0 else (green if channel == 1 else blue)
        end_colour = end_colour / tl.where(total > 0, total, 1.0)
        end_colour = tl.where(total > 0, end_colour, value)
        behind = tl.where(missing > 0, end_colour, value)
        value = _lerp(behind, end_colour, covered)
        tl.store(colours + begin + channel * plane + out, value, mask=ok)
    tl.store(shown_out + to, shown, mask=ok)
    tl.store(coord_out + to, width - 1 - coord if MIRROR else coord, mask=ok)
    tl.store(stretch_out + to, stretch, mask=ok)
    tl.store(mask_out + to, missing * (1 - covered), mask=ok)


@triton.jit
def _bend(
    source,
    row,
    x,
    here,
    ok,
    width,
    threshold,
    MIRROR: tl.constexpr,
):
    """Return the second difference of a row's colours at x, 0 at the sheet's ends."""
    before = _colour(source, tl.maximum(x - 1, 0), width, ok, MIRROR)
    after = _colour(source, tl.minimum(x + 1, width - 1), width, ok, MIRROR)
    end = _torn(row, x - 1, ok, width, threshold, MIRROR)
    end = end | _torn(row, x, ok, width, threshold, MIRROR)
    return tl.where(end, 0.0, (after - here) - (here - before))
