"""Gradient-Aware Parallax Warping (DreamStereo, Sec. 3.1).

A scan-line is a continuous rubber sheet: source pixel x lands on x' = x - d(x) and neighbouring
pixels stay connected. For each target pixel we look for the sheet's interval that covers it and
sample the source there (Eq. 3 and 4). Since d = x - x', the nearest of several covering intervals
is the one with the greatest x: the z-test is a maximum of x. The stretch of the winning interval is
|dx'/dx|; where it exceeds the threshold the sheet spans a hole (Eq. 7).

A pixel has a width: where the sheet is torn, its ends reach half a pixel beyond the centre of their
last pixel. A target pixel that an end covers in part shows the end for that part, and what lies
behind it, or the hole, for the rest (`_show_ends`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_choice, check_finite, check_frames
from .types import Disparity, Eye, OcclusionMask, Video, WarpResult

Interpolation = Literal["linear", "cubic"]

_NEARER = 0.5
"""Pixels of disparity by which an end of the sheet has to be in front of a surface to cover it."""
_LEVEL = 1 / 255
"""Shares of a pixel below this count as 0, since a mask of 8 bits could not hold them."""
_BLOCK_ROWS = 128
"""Rows that are worked on at once, so that intermediate results stay in the processor's cache."""


def gapw_warp(
    video: Video,
    disparity: Disparity,
    *,
    toward: Eye = "right",
    stretch_threshold: float = 1.5,
    interpolation: Interpolation = "linear",
) -> WarpResult:
    """Warp one eye's view into the other eye's (Eq. 3-7).

    Args:
        video: `[T, 3, H, W]`, the known view.
        disparity: `[T, 1, H, W]` in pixels of the known view, x_left - x_right.
        toward: the eye to make; "right" takes `video` for the left view, "left" for the right one.
        stretch_threshold: delta of Eq. 7, in target pixels per source pixel, at least 1.
        interpolation: how Eq. 4 interpolates between source pixels. "cubic" (Catmull and Rom's)
            is less soft at half pixels, takes nothing from across a tear, and keeps within [0, 1].

    Returns:
        The target view. Holes (mask 1) hold the stretched sheet, and pixels beyond the frame hold
        its edge; neither is known. Where a pixel is known in part, the mask is the missing share,
        and the video holds the colour of the known part.

    Raises:
        TypeError: an argument is not a floating point tensor.
        ValueError: a shape, `toward`, the threshold or the interpolation is wrong, or the disparity
            is not finite.

    Example:
        >>> import torch
        >>> left = torch.rand(8, 3, 48, 64)
        >>> disparity = torch.zeros(8, 1, 48, 64)
        >>> disparity[..., 16:32] = 5  # a near thing, 5 pixels in front of the screen
        >>> right = gapw_warp(left, disparity, toward="right")
        >>> right.video.shape, right.occlusion_mask.shape
        (torch.Size([8, 3, 48, 64]), torch.Size([8, 1, 48, 64]))
        >>> float(right.occlusion_mask[0, 0, 0].sum())  # the hole beside it is as wide
        5.0
    """
    check_frames("video", video, channels=3)
    check_frames("disparity", disparity, channels=1, like=video)
    check_finite("disparity", disparity)
    check_choice("toward", toward, ("right", "left"))
    check_choice("interpolation", interpolation, ("linear", "cubic"))
    if not 1.0 <= stretch_threshold < math.inf:
        raise ValueError(f"stretch_threshold: expected at least 1, got {stretch_threshold:g}")
    return _warp_toward(video, disparity, toward, stretch_threshold, interpolation)


def warp_disparity(
    disparity: Disparity, *, toward: Eye = "right", stretch_threshold: float = 1.5
) -> tuple[Disparity, OcclusionMask]:
    """Return the target view's disparity and holes, as `gapw_warp` does, without its colours.

    Args:
        disparity: `[T, 1, H, W]` float32, as for `gapw_warp`; it is not checked again.
        toward: as for `gapw_warp`.
        stretch_threshold: as for `gapw_warp`.
    """
    flipped = toward == "left"  # the mirrored problem, of which only these two are flipped back
    disparity = disparity.flip(-1) if flipped else disparity
    no_colours = disparity.new_empty(len(disparity), 0, *disparity.shape[-2:])
    result = _warp_toward(no_colours, disparity, "right", stretch_threshold, "linear")
    found = result.disparity, result.occlusion_mask
    return (found[0].flip(-1), found[1].flip(-1)) if flipped else found


def _warp_toward(
    video: Tensor, disparity: Tensor, toward: Eye, threshold: float, interpolation: Interpolation
) -> WarpResult:
    """Warp by the kernel where one can run, else by torch."""
    if video.shape[-1] > 1 and (kernel := _kernel(video.device.type)):
        return kernel(
            video,
            disparity,
            toward=toward,
            threshold=threshold,
            cubic=interpolation == "cubic",
            level=_LEVEL,
            nearer=_NEARER,
        )
    if toward == "right":
        return _warp(video.float(), disparity.float(), threshold, interpolation)
    flipped = video.flip(-1).float(), disparity.flip(-1).float()
    return _mirror(_warp(*flipped, threshold, interpolation))


@cache
def _kernel(device: str) -> Callable[..., WarpResult] | None:
    """Return `gapw_triton.warp`; None where the device is no GPU or Triton is not installed."""
    if device != "cuda" or find_spec("triton") is None:
        return None
    from .gapw_triton import warp  # it compiles, so only where it is wanted

    return warp


def _warp(
    video: Tensor, disparity: Tensor, threshold: float, interpolation: Interpolation
) -> WarpResult:
    """Warp toward the right eye, a block of rows after the other."""
    warped = torch.empty_like(video, memory_format=torch.contiguous_format)
    planes = [torch.empty_like(disparity) for _ in range(4)]
    for t in range(len(video)):
        for top in range(0, video.shape[2], _BLOCK_ROWS):
            at = (t, slice(None), slice(top, top + _BLOCK_ROWS))
            out = (warped[at], *(plane[at][0] for plane in planes))
            _warp_rows(video[at], disparity[at][0], threshold, interpolation, out)
    target_disparity, coord_map, stretch, mask = planes
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


def cover(landing: Tensor, stretch: Tensor, threshold: float) -> Tensor:
    """Find the interval that each target pixel shows (Eq. 3).

    A solid interval wins over a wide one; of several alike, the nearest to the camera wins.

    Args:
        landing: `[H, W]` target position of each source pixel.
        stretch: `[H, W-1]` length of each interval in target pixels; interval x lies between the
            source pixels x and x + 1.
        threshold: intervals up to this long, in target pixels, are solid.

    Returns:
        `[H, W]` int64, the interval of each target pixel 0 .. W-1, or -1 where none reaches.
    """
    height, width = landing.shape
    start, end = landing[:, :-1], landing[:, 1:]  # [H, W-1] each
    x = torch.arange(width - 1, device=landing.device).expand(height, -1)  # [H, W-1]
    # Column 0 and the last one take what lies beyond the frame or covers no pixel.
    owner = torch.full((height, width + 2), -1, device=landing.device)  # [H, W+2]
    solid = (stretch > 0) & (stretch <= threshold)  # [H, W-1] bool
    first = start.ceil()  # [H, W-1] the first target pixel that the interval covers
    inside = solid & (first <= end)  # [H, W-1] bool, it covers a pixel
    column = first.clamp(-1, width).add_(1).mul_(inside).long()  # [H, W-1] in 0 .. W+1
    owner.scatter_reduce_(1, column, x, "amax")

    # M intervals are left: the wide ones, and the few solid ones that cover a second pixel. Where
    # two intervals meet on a pixel, the next one has it already if it is solid.
    several = inside & (first + 1 <= end)  # [H, W-1] bool
    several[:, :-1] &= ~((first[:, :-1] + 1 == end[:, :-1]) & solid[:, 1:])
    wide = stretch > threshold  # [H, W-1] bool
    row, at = (several | wide).nonzero(as_tuple=True)  # [M] each
    low, high = first[row, at].clamp(min=0), end[row, at].floor().clamp(max=width - 1)  # [M] each
    count = (high - low + 1).clamp(min=0).long()  # [M] pixels that each covers, N in all
    which = torch.repeat_interleave(count)  # [N] in 0 .. M-1; `step` [N] counts from 0 in each
    step = torch.arange(which.numel(), device=count.device) - (count.cumsum(0) - count)[which]
    pixel = (row * (width + 2) + 1 + low.long())[which] + step  # [N] places in the flat owner
    interval, wide = at[which], wide[row, at][which]  # [N] each
    flat = owner.view(-1)  # [H * (W+2)]
    flat.scatter_reduce_(0, pixel[~wide], interval[~wide], "amax")
    free = wide & (flat[pixel] < 0)  # [N] bool; a wide interval shows only where no solid one does
    flat.scatter_reduce_(0, pixel[free], interval[free], "amax")
    return owner[:, 1:-1]  # [H, W]


def _warp_rows(
    video: Tensor,
    disparity: Tensor,
    threshold: float,
    interpolation: Interpolation,
    out: tuple[Tensor, ...],
) -> None:
    """Warp `[3, h, W]` by `[h, W]` into `out`: video, disparity, coordinates, stretch and mask."""
    height, width = disparity.shape
    x = torch.arange(width, dtype=torch.float32, device=disparity.device)
    landing = x - disparity  # x' of each source pixel
    if width == 1:  # a sheet needs two pixels
        landing = torch.cat([landing, landing + 1], dim=1)
        video = video.expand(-1, -1, 2)
    stretch = landing[:, 1:] - landing[:, :-1]  # <= 0 is a fold, which never wins
    owner = cover(landing, stretch, threshold)[:, :width]  # [h, W]
    cell = owner.clamp(min=0)  # [h, W]
    warped, target_disparity, coord, target_stretch, mask = out
    torch.gather(stretch, 1, cell, out=target_stretch)
    fraction = (x - landing.gather(1, cell)).div_(target_stretch)  # [h, W] within the interval
    torch.add(cell, fraction, out=coord)
    torch.sub(coord, x, out=target_disparity)
    columns = cell.expand(len(video), height, width)
    here, there = video.gather(2, columns), video[:, :, 1:].gather(2, columns)  # [3, h, W] each
    torch.lerp(here, there, fraction, out=warped)
    torn = (stretch <= 0) | (stretch > threshold)  # [h, W-1]
    if interpolation == "cubic":
        bend = _bend(video, torn)
        here, there = bend.gather(2, columns), bend[:, :, 1:].gather(2, columns)
        bend = torch.lerp(here, there, fraction).mul_(fraction * (1 - fraction) / 2)
        warped.sub_(bend).clamp_(0, 1)

    row, column = (owner < 0).nonzero(as_tuple=True)  # beyond the sheet's ends: show its edge
    at_left = column < landing.amin(dim=1)[row]
    edge = torch.where(at_left, 0, width - 1)
    coord[row, column] = edge.float()
    target_stretch[row, column] = torch.inf
    target_disparity[row, column] = disparity[row, edge]
    warped[:, row, column] = video[:, row, edge]

    mask.copy_(target_stretch > threshold)
    _show_ends(video, landing, torn, warped, target_disparity, mask)


def _bend(video: Tensor, torn: Tensor) -> Tensor:
    """Return the second difference along the rows of `[3, h, W]`, 0 at the sheet's ends.

    Catmull and Rom's cubic is the linear interpolation minus t (1 - t) / 2 times this.
    """
    bend = F.pad(video, (1, 1), mode="replicate").diff(n=2, dim=-1)
    end = F.pad(torn, (1, 0)) | F.pad(torn, (0, 1))
    return bend.masked_fill_(end, 0)


def _show_ends(
    video: Tensor, landing: Tensor, torn: Tensor, warped: Tensor, shown: Tensor, mask: Tensor
) -> None:
    """Let the ends of a torn sheet cover their share of the pixels that they reach into.

    Args:
        video: `[3, h, W]`.
        landing: `[h, W]` target position of each source pixel.
        torn: `[h, W-1]`, whether the sheet ends between source pixels x and x + 1.
        warped: `[3, h, W]` of the target, changed in place.
        shown: `[h, W]`, the disparity of what it shows.
        mask: `[h, W]`, 1 in its holes, changed in place.
    """
    width = landing.shape[1]
    row, last = torn.nonzero(as_tuple=True)  # [M] each
    ends = landing[row, last].ceil(), landing[row, last + 1].floor()  # [M] each
    row, source, pixel = row.repeat(2), torch.cat((last, last + 1)), torch.cat(ends)  # [2M] each
    place = landing[row, source]  # [2M]
    share = 1 - (place - pixel).abs()  # [2M] of the pixel that the end covers
    seen = (pixel >= 0) & (pixel < width)
    pixel = pixel.clamp(0, width - 1).long()
    seen &= (source - place > shown[row, pixel] + _NEARER) | (mask[row, pixel] > 0)
    row, source, pixel, share = row[seen], source[seen], pixel[seen], share[seen]  # [N] each

    # Several ends may reach into one pixel. They are summed, and each gets the same result.
    target, colours = row * width + pixel, video[:, row, source] * share  # [N], [3, N]
    sums = share.new_zeros(len(video) + 1, shown.numel())
    sums = sums.index_add_(1, target, torch.cat((colours, share[None])))[:, target]  # [4, N]
    colour, covered = sums[:-1] / sums[-1], sums[-1].clamp(max=1)  # [3, N], [N]
    covered = torch.where(covered > 1 - _LEVEL, 1, covered)
    missing = mask[row, pixel]
    behind = torch.where(missing > 0, colour, warped[:, row, pixel])
    warped[:, row, pixel] = torch.lerp(behind, colour, covered)
    mask[row, pixel] = missing * (1 - covered)
