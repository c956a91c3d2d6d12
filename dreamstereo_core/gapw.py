"""Gradient-Aware Parallax Warping (DreamStereo, Sec. 3.1).

A scan-line is a continuous rubber sheet: source pixel x lands on x' = x - d(x) and neighbouring pixels stay connected.
For each target pixel we look for the sheet's interval that covers it and sample the source there (Eq. 3 and 4). Since
d = x - x', the nearest of several covering intervals is the one with the greatest x: the z-test is a maximum of x. The
stretch of the winning interval is |dx'/dx|; where it exceeds the threshold the sheet spans a hole (Eq. 7).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .checks import check_choice, check_finite, check_frames
from .types import Disparity, Eye, Video, WarpResult

_UNCOVERED = -1.0


def gapw_warp(
    video: Video, disparity: Disparity, *, toward: Eye = "right", stretch_threshold: float = 1.5
) -> WarpResult:
    """Warp one eye's view into the other eye's (Eq. 3-7).

    Args:
        video: `[T, 3, H, W]`, the known view.
        disparity: `[T, 1, H, W]` in pixels of the known view, x_left - x_right.
        toward: the eye to make; "right" takes `video` for the left view, "left" for the right one.
        stretch_threshold: delta of Eq. 7, in target pixels per source pixel, at least 1.

    Returns:
        The target view. Holes (mask 1) hold the stretched sheet, pixels beyond the frame its edge: neither is known.

    Raises:
        TypeError: an argument is no floating point tensor.
        ValueError: a shape, `toward` or the threshold is wrong, or the disparity is not finite.
    """
    check_frames("video", video, channels=3)
    check_frames("disparity", disparity, channels=1, like=video)
    check_finite("disparity", disparity)
    check_choice("toward", toward, ("right", "left"))
    if not 1.0 <= stretch_threshold < math.inf:
        raise ValueError(f"stretch_threshold: expected at least 1, got {stretch_threshold:g}")
    if toward == "left":
        flipped = gapw_warp(video.flip(-1), disparity.flip(-1), stretch_threshold=stretch_threshold)
        return _mirror(flipped)

    video, disparity = video.float(), disparity.float()
    frames = [
        _warp_frame(v, d[0], stretch_threshold) for v, d in zip(video, disparity, strict=True)
    ]
    warped, target_disparity, coord_map, stretch = (torch.stack(x) for x in zip(*frames, strict=True))
    mask = (stretch > stretch_threshold).float()
    return WarpResult(warped, target_disparity, mask, coord_map, stretch)


def _mirror(result: WarpResult) -> WarpResult:
    width = result.video.shape[-1]
    return WarpResult(
        video=result.video.flip(-1),
        disparity=result.disparity.flip(-1),
        occlusion_mask=result.occlusion_mask.flip(-1),
        coord_map=(width - 1) - result.coord_map.flip(-1),
        stretch=result.stretch.flip(-1),
    )


def invert_sheet(landing: Tensor, stretch: Tensor, threshold: float) -> Tensor:
    """Find the nearest source x that covers each target pixel (Eq. 3).

    Args:
        landing: `[H, W]` target position of each source pixel.
        stretch: `[H, W-1]` its step from pixel to pixel.
        threshold: intervals up to this long are solid; a longer one shows only where no solid one does.

    Returns:
        `[H, W]` source x of the target pixels 0 .. W-1, or -1 where no interval reaches.
    """
    height, width = landing.shape
    start, end = landing[:, :-1], landing[:, 1:]
    x = torch.arange(width - 1, dtype=landing.dtype, device=landing.device)
    first = start.ceil()
    # An invalid candidate goes to its row's spare column: `width` is past the frame.
    outside = torch.full((), float(width), device=landing.device)
    coord = landing.new_full((height, width + 1), _UNCOVERED)
    solid = (stretch > 0) & (stretch <= threshold)
    for step in range(math.floor(threshold) + 1):
        pixel = first + step
        inside = solid & (pixel <= end) & (pixel >= 0) & (pixel < width)
        source = x + (pixel - start) / stretch
        index = torch.where(inside, pixel, outside).long()
        coord.scatter_reduce_(1, index, source, "amax")
    coord = coord[:, :width]

    row, column = (stretch > threshold).nonzero(as_tuple=True)
    start, end, length = start[row, column], end[row, column], stretch[row, column]
    low = start.ceil().clamp_(min=0)
    count = (end.floor().clamp_(max=width - 1) - low + 1).clamp_(min=0).long()
    owner = torch.repeat_interleave(count)
    pixel = torch.arange(owner.numel(), device=owner.device) - (count.cumsum(0) - count)[owner]
    pixel = pixel + low.long()[owner]
    source = column[owner] + (pixel - start[owner]) / length[owner]
    spans = landing.new_full((height * width,), _UNCOVERED)
    spans.scatter_reduce_(0, row[owner] * width + pixel, source, "amax")
    return torch.where(coord < 0, spans.view(height, width), coord)


def _warp_frame(video: Tensor, disparity: Tensor, threshold: float) -> tuple[Tensor, ...]:
    """Warp `[3, H, W]` by `[H, W]`; return video, disparity, coord_map and stretch, each `[C, H, W]`."""
    height, width = disparity.shape
    x = torch.arange(width, dtype=torch.float32, device=disparity.device)
    landing = x - disparity  # x' of each source pixel
    if width == 1:  # a sheet needs two pixels
        landing = torch.cat([landing, landing + 1], dim=1)
        video = video.expand(-1, -1, 2)
    stretch = landing[:, 1:] - landing[:, :-1]  # signed; <= 0 is a fold, which never wins
    coord = invert_sheet(landing, stretch, threshold)[:, :width]

    covered = coord >= 0
    left_edge = landing.amin(dim=1, keepdim=True)  # uncovered pixels lie left or right of the sheet
    coord = torch.where(covered, coord, torch.where(x < left_edge, 0.0, float(width - 1)))
    cell = coord.long().clamp_(max=landing.shape[1] - 2)
    fraction = coord - cell

    # A pixel on the joint of two intervals belongs to the one that made it known.
    here, before = stretch.gather(1, cell), stretch.gather(1, (cell - 1).clamp_(min=0))
    solid = (here > 0) & (here <= threshold)
    before_solid = (before > 0) & (before <= threshold)
    joint = (fraction == 0) & (cell > 0) & ~solid & before_solid
    target_stretch = torch.where(joint, before, here)
    target_stretch = torch.where(covered, target_stretch, torch.inf)

    rows = cell.expand(video.shape[0], height, width)
    warped = torch.lerp(video.gather(2, rows), video.gather(2, rows + 1), fraction)
    edge = disparity.gather(1, cell.clamp(max=width - 1))
    target_disparity = torch.where(covered, coord - x, edge)
    return warped, target_disparity[None], coord[None], target_stretch[None]
