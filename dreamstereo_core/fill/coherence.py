"""Spatial filling of one frame's holes from their background side.

Three fills are made and mixed. Coherence transport (Bornemann and Maerz, "Fast Image Inpainting
Based on Coherence Transport", J. Math. Imaging Vis. 2007) marches inwards from the background
border, layer by layer, and continues edges along their own direction. A pull-push pyramid (Gortler
et al., "The Lumigraph", 1996) gives the smooth mean. Near the border the first is right; deeper
inside the hole the mean is the better guess. The third fill is the warp's stretched sheet or,
without it, the known pixel at the background's end of the row. Alone it makes streaks, but its
errors lie in other places than those of the other two.

All three are smooth. Fine detail is copied from the known background beside the hole, as in the
residual aggregation of Yi et al., "Contextual Residual Aggregation for Ultra High-Resolution Image
Inpainting" (CVPR 2020), but from the mirror image's place, without attention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..filters import box_mean, gaussian

RADIUS = 3
"""Radius in pixels of the neighbourhood that a pixel is filled from."""
SHARPNESS = 15.0
"""How strictly a fill follows the direction of a coherent neighbourhood (kappa in the paper)."""
CONTRAST = 0.005
"""Contrast of gradients, per pixel, above which a direction is trusted (delta in the paper)."""
TENSOR_SIGMA = 2.0
"""Width of the structure tensor's Gaussian, in pixels of half resolution."""
TRUST_DEPTH = 3.0
"""Depth inside the hole, in pixels, over which trust in coherence transport falls to a half."""
JUMP_SHARE = 0.7
"""A known pixel counts as background up to this share of the hole's disparity jump above the
background's own."""
ROW_SHARE = 0.3
"""Share in the fill of the known pixel at the background's end of the hole's row."""
SHEET_SHARE = 0.5
"""Share in the fill of the warp's stretched sheet at the background's end of a row, where the hole
holds it. It rises to 1 at the other end, where the sheet leads over to the foreground."""
DETAIL_SHARE = 0.7
"""Share of the background's fine detail that goes on in the hole."""
DETAIL_SIZE = 7
"""Side in pixels of the mean that fine detail is the difference to."""
DETAIL_CONTRAST = 0.06
"""Deviation of colours there at which detail counts half: more is an edge, which would be there
twice."""
INSET = 4
"""Distance in pixels from a hole at which its two ends are compared, since the border itself may be
a mixture of both."""
ALIKE = 0.15
"""Colour difference, as a mean over the channels, at which the two ends of a hole stop counting as
one surface."""
BLOCK_ROWS = 128
"""Rows in which the ends of holes are looked for at the same time."""
MIN_MARGIN = 0.75
"""Least margin, in pixels of disparity, above the background's own disparity."""
_PASSES = 16
"""Layers that are looked for before the host is told whether there were any."""


@dataclass(frozen=True)
class Background:
    """Which known pixels show the background of the holes beside them."""

    weight: Tensor
    """`[1, 1, H, W]` in [0, 1]; 0 in holes."""
    threshold: Tensor
    """`[1, 1, H, W]` disparity below which a pixel is background, in and around holes."""
    row_end: Tensor
    """`[N]` x of the known pixel at the background's end of each hole pixel's row, or -1."""
    place: Tensor
    """`[N]` place of each hole pixel in its row, from 0 = the background's end to 1 = the other; 0
    where there is no other."""


def find_background(video: Tensor, mask: Tensor, disparity: Tensor | None) -> Background:
    """Tell the background from the foreground around the holes.

    Each row of a hole ends at two known pixels, and the farther one is the background. Where both
    look alike, a depth edge that misses the true border has opened the hole inside one surface.
    Then both count.

    Args:
        video: `[1, 3, H, W]`; only known pixels are read.
        mask: `[1, 1, H, W]`, 1 in holes.
        disparity: `[1, 1, H, W]` of the same view, in pixels; only known pixels are read. With None
            every known pixel counts as background.
    """
    width = mask.shape[-1]
    row, column = mask[0, 0].nonzero(as_tuple=True)  # [N] each, N pixels in holes
    left, right = _row_ends(mask[0, 0])  # [N] each
    has_left, has_right = left >= 0, right < width  # [N] bool each
    if disparity is None:
        at_left, at_right = column - left, right - column  # the nearer end counts as background
    else:
        at_left = disparity[0, 0, row, left.clamp(min=0)]
        at_right = disparity[0, 0, row, right.clamp(max=width - 1)]
    take_left = has_left & ((at_left < at_right) | ~has_right)
    row_end = torch.where(take_left, left, torch.where(has_right, right, -1))  # [N]
    place = (column - row_end).abs() / (right - left).to(video)  # [N]
    place = place * (has_left & has_right)
    if disparity is None:
        return Background(1 - mask, torch.full_like(mask, math.inf), row_end, place)
    at_left, at_right = (
        torch.where(has_left, at_left, at_right),
        torch.where(has_right, at_right, at_left),
    )
    margin = ((at_left - at_right).abs() * JUMP_SHARE).clamp_(min=MIN_MARGIN)  # [N]
    inner_left, inner_right = (left - INSET).clamp(min=0), (right + INSET).clamp(max=width - 1)
    contrast = (video[0][:, row, inner_left] - video[0][:, row, inner_right]).abs().mean(0)
    alike = torch.exp(-((contrast / ALIKE) ** 2)) * (has_left & has_right)  # [N]
    in_holes = mask.new_zeros(1, 2, *mask.shape[2:])  # [1, 2, H, W]
    in_holes[0, 0, row, column] = torch.minimum(at_left, at_right) + margin
    in_holes[0, 1, row, column] = alike
    threshold, alike = _spread(in_holes, mask).split(1, dim=1)  # [1, 1, H, W] each
    alike = ((alike - 0.3) * 1.5).clamp(0, 1)  # neighbouring rows must agree
    weight = torch.sigmoid((threshold - disparity) * 4)  # [1, 1, H, W]
    weight = torch.maximum(weight, alike) * (1 - mask)
    return Background(weight, threshold, row_end, place)


def spatial_fill(video: Tensor, mask: Tensor, background: Background, stretched: bool) -> Tensor:
    """Fill `[1, 3, H, W]` where `mask` `[1, 1, H, W]` is 1; all other pixels stay as they are.

    `stretched` says whether the holes of `video` hold the warp's stretched sheet.
    """
    hole = mask[0, 0] > 0
    if not hole.any():
        return video
    weight = background.weight
    mean = _smooth_mean(video, weight.clamp(min=1e-4) * (1 - mask))  # [1, 3, H, W]
    filled = _march(video, hole, weight[0, 0] > 0.3, mean, _coherence(video, weight))
    row, column = hole.nonzero(as_tuple=True)  # [N] each
    if stretched:
        third = video[0][:, row, column]  # [3, N]
        share = SHEET_SHARE + (1 - SHEET_SHARE) * background.place  # [N]
    else:
        third = video[0][:, row, background.row_end.clamp(min=0)]  # [3, N]
        share = ROW_SHARE * (background.row_end >= 0)  # [N]
    smooth = torch.lerp(filled[0][:, row, column], third, share)
    detail = mirrored_detail(video, background, row, column)
    filled[0][:, row, column] = (smooth + DETAIL_SHARE * detail).clamp_(0, 1)
    return filled


def mirrored_detail(video: Tensor, background: Background, row: Tensor, column: Tensor) -> Tensor:
    """Return each hole pixel's mirror image at the background's end of its row, detail only.

    Args:
        video: `[1, 3, H, W]`; only background is read.
        background: of the holes.
        row: `[N]`, of the N pixels in holes.
        column: `[N]`, theirs too.

    Returns:
        `[3, N]`; 0 where the mirror image lies in a hole, in the foreground or outside.
    """
    weight, width = background.weight, video.shape[-1]
    x = 2 * background.row_end - column
    inside = (background.row_end >= 0) & (x >= 0) & (x < width)
    x = x.clamp(0, width - 1)
    shown = inside & (weight[0, 0, row, x] > 0.5)  # [N] bool; holes have weight 0
    squares = video.square().mean(1, keepdim=True)
    sums = box_mean(
        torch.cat([video, squares, torch.ones_like(weight)], dim=1) * weight, DETAIL_SIZE
    )
    means = sums[0][:, row, x]  # [5, N]
    means = means[:4] / means[4:].clamp(min=1e-6)
    variance = means[3] - means[:3].square().mean(0)  # [N]
    edge = (variance / DETAIL_CONTRAST**2) ** 2
    return (video[0][:, row, x] - means[:3]) * (shown / (1 + edge))


def pull_push(values: Tensor, weight: Tensor) -> Tensor:
    """Interpolate `[T, C, H, W]` where `weight` `[T, 1, H, W]` is low; weight 1 keeps a value."""
    levels = [(values * weight, weight)]  # ([T, C, h, w], [T, 1, h, w]), each half as large
    while max(weight.shape[-2:]) > 1:
        pad = (0, weight.shape[-1] % 2, 0, weight.shape[-2] % 2)
        total = F.avg_pool2d(F.pad(levels[-1][0], pad), 2) * 4
        weight = F.avg_pool2d(F.pad(weight, pad), 2) * 4
        scale = 1 / weight.clamp(min=1)
        total, weight = total * scale, weight * scale
        levels.append((total, weight))
    filled = levels[-1][0] / levels[-1][1].clamp(min=1e-12)  # [T, C, 1, 1]
    for total, weight in reversed(levels[:-1]):
        height, width = weight.shape[-2:]
        coarse = F.interpolate(filled, scale_factor=2.0, mode="bilinear")[..., :height, :width]
        filled = total + (1 - weight) * coarse  # [T, C, h, w]
    return filled


def _row_ends(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return for the N hole pixels of `[H, W]` x of the known pixels beside them, or -1 and W.

    The result is two tensors `[N]`, for the left and the right.
    """
    width = mask.shape[-1]
    x = torch.arange(width, device=mask.device)
    ends = []
    for rows in mask.split(BLOCK_ROWS):
        known = rows == 0  # [h, W] bool
        left = torch.where(known, x, -1).cummax(-1).values[~known]
        right = torch.where(known.flip(-1), x, -1).cummax(-1).values.flip(-1)[~known]
        ends.append(torch.stack([left, width - 1 - right]))  # [2, hole pixels of these rows]
    left, right = torch.cat(ends, 1)
    return left, right


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Carry `[1, C, H, W]`, 0 outside the holes, smoothly to the pixels around, at 1/4 size."""
    height, width = mask.shape[-2:]
    size = (max(1, height // 4), max(1, width // 4))
    weight = F.adaptive_avg_pool2d(mask, size)  # [1, 1, H/4, W/4]
    small = F.adaptive_avg_pool2d(values, size) / weight.clamp(min=1e-6)  # [1, C, H/4, W/4]
    spread = pull_push(small, weight.clamp(max=1e-2) * 100)
    return F.interpolate(spread, (height, width), mode="bilinear")


def _halve(tensor: Tensor) -> Tensor:
    height, width = tensor.shape[-2:]
    return F.adaptive_avg_pool2d(tensor, (max(1, height // 2), max(1, width // 2)))


def _smooth_mean(video: Tensor, weight: Tensor) -> Tensor:
    """Return `[1, 3, H, W]`: the weighted pixels, and smooth means of them in between."""
    small = _halve(weight)  # [1, 1, H/2, W/2]
    colour = _halve(video * weight) / small.clamp(min=1e-12)  # [1, 3, H/2, W/2]
    return F.interpolate(pull_push(colour, small), video.shape[-2:], mode="bilinear")


def _coherence(video: Tensor, weight: Tensor) -> Tensor:
    """Return `[1, 3, H/2, W/2]`: x and y of the edges' unit normal, and how strict it is.

    Both come from the structure tensor of the background pixels, continued into the holes.
    """
    grey, solid = _halve(video.mean(1, keepdim=True)), _halve(weight)
    # All of [1, C, H/2, W/2] from here on; `solid` is 1 where the 3 x 3 pixels around are known.
    solid = (F.max_pool2d(-F.pad(solid, (1, 1, 1, 1), value=1.0), 3, 1) < -0.99).float()
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 4 * solid  # per full-resolution pixel
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 4 * solid
    products = torch.cat([dx * dx, dx * dy, dy * dy, solid], dim=1)  # C = 4
    products = gaussian(products, TENSOR_SIGMA, math.ceil(3 * TENSOR_SIGMA), edges="zeros")
    tensor, total = products[:, :3], products[:, 3:]
    tensor = pull_push(tensor / total.clamp(min=1e-4), (total > 0.05) * solid)
    xx, xy, yy = tensor.split(1, dim=1)
    gap = torch.hypot(xx - yy, 2 * xy)  # difference of the eigenvalues
    angle = torch.atan2(2 * xy, xx - yy) / 2  # of the edges' normal
    relative = gap / (xx + yy).clamp(min=1e-9)
    strictness = 1 + SHARPNESS * relative**2 * torch.exp(-(CONTRAST**2) / gap.clamp(min=1e-9))
    return torch.cat([angle.cos(), angle.sin(), strictness], dim=1)  # C = 3


def _nearest(small: int, size: int, device: torch.device) -> Tensor:
    """Return for each of `size` places the index of the nearest of `small` values."""
    index = torch.arange(small, dtype=torch.float32, device=device).view(1, 1, -1)
    return F.interpolate(index, size, mode="nearest").view(-1).long()


def _disc(radius: int, pitch: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y and flat index, `[K]` each, of the offsets within `radius` but the centre."""
    steps = range(-radius, radius + 1)
    inside = [(x, y) for y in steps for x in steps if 0 < x * x + y * y <= radius * radius + 1]
    x, y = torch.tensor(inside, device=device).T
    return x.float(), y.float(), y * pitch + x


def _march(video: Tensor, hole: Tensor, source: Tensor, mean: Tensor, guide: Tensor) -> Tensor:
    """Fill the hole layer by layer from `source`, with more of `mean` the deeper inside.

    P is the number of pixels of the frame padded by `RADIUS`, N that of the pixels in layers, n
    that of the current layer, and K that of the offsets in a disc of `RADIUS`.

    Args:
        video: `[1, 3, H, W]`.
        hole: `[H, W]` bool.
        source: `[H, W]` bool, the known pixels to fill from.
        mean: `[1, 3, H, W]`.
        guide: `[1, 3, H/2, W/2]` of `_coherence`.
    """
    pitch = hole.shape[1] + 2 * RADIUS  # pixels of a padded row
    layers = (layers_by_front if hole.device.type == "cpu" else layers_by_pooling)(hole, source)
    pixel = torch.cat(layers)  # [N] padded indices
    row, column = pixel // pitch - RADIUS, pixel % pitch - RADIUS
    guide_row, guide_column = (
        _nearest(small, size, hole.device)
        for small, size in zip(guide.shape[2:], hole.shape, strict=True)
    )
    sizes = [len(layer) for layer in layers]
    guides = guide[0][:, guide_row[row], guide_column[column]].split(sizes, 1)  # [3, n] each
    # Colour and 1 where a pixel may be taken from, else zeros, so that one weighted sum gives both.
    marched = video.new_zeros(hole.shape[0] + 2 * RADIUS, pitch, 4)
    inside = marched[RADIUS:-RADIUS, RADIUS:-RADIUS]
    inside[..., 3] = source
    torch.mul(video[0].permute(1, 2, 0), source[..., None], out=inside[..., :3])
    marched = marched.flatten(0, 1)  # [P, 4]
    dx, dy, offset = _disc(RADIUS, pitch, hole.device)  # [K] each
    nearness = 1 / torch.hypot(dx, dy)  # [K]
    colours = [marched.new_zeros(0, 3)]
    for front, leading in zip(layers, guides, strict=True):
        nx, ny, strict = leading[:, :, None]  # [n, 1] each
        across = (nx * dx + ny * dy) * strict / RADIUS  # [n, K]
        weight = torch.exp(-0.5 * across**2) * nearness + 1e-6  # [n, K]
        around = front[:, None] + offset  # [n, K]
        total = F.embedding_bag(around, marched, per_sample_weights=weight, mode="sum")  # [n, 4]
        total = total / total[:, 3:]  # colour, and 1
        marched[front] = total
        colours.append(total[:, :3])
    trust = [0.5 + 0.5 * math.exp(-depth / TRUST_DEPTH) for depth in range(len(layers))]
    trust = torch.tensor(trust, device=hole.device).repeat_interleave(
        torch.tensor(sizes, device=hole.device), output_size=len(pixel)
    )
    filled = torch.where(hole, mean, video)  # holes without any background keep the mean
    marched = torch.lerp(filled[0][:, row, column], torch.cat(colours).T, trust)  # [3, N]
    filled[0][:, row, column] = marched
    return filled


def layers_by_front(hole: Tensor, source: Tensor) -> list[Tensor]:
    """Return the pixels of each layer in which `hole` `[H, W]` is filled, as `_march` counts them.

    Each layer is next to the one before, at one of 8 neighbours; only its pixels are looked at.
    """
    pitch = hole.shape[1] + 2 * RADIUS
    todo = F.pad(hole, (RADIUS,) * 4).flatten()  # [P] bool
    rank = torch.empty_like(todo, dtype=torch.int32)  # [P]
    step = _disc(1, pitch, hole.device)[2]
    ring = F.max_pool2d(source[None, None].float(), 3, 1, 1)[0, 0] > 0  # [H, W]
    front = (F.pad(ring, (RADIUS,) * 4).flatten() & todo).nonzero()[:, 0]  # [n]
    layers = [front[:0]]
    while front.numel():
        layers.append(front)
        todo[front] = False
        following = (front[:, None] + step).flatten()  # [8 n] neighbours
        following = following[todo[following]]
        # A pixel may be in there several times; only its last mention is kept.
        order = torch.arange(following.numel(), dtype=rank.dtype, device=front.device)
        rank[following] = order
        front = following[rank[following] == order]
    return layers[1:] or layers


def layers_by_pooling(hole: Tensor, source: Tensor) -> list[Tensor]:
    """Return the same layers, each in another order, by passes over the whole picture.

    A device runs those faster than it answers the host, which is asked once for `_PASSES` of them.
    """
    reached, depth = source, torch.zeros_like(hole, dtype=torch.int32)  # [H, W] each
    before, count = -1, 0
    while before != count:
        before = count
        for _ in range(_PASSES):
            reached = (F.max_pool2d(reached[None, None].float(), 3, 1, 1)[0, 0] > 0) & hole
            depth += ~reached
        count = int(reached.sum())
    row, column = reached.nonzero(as_tuple=True)  # [N] each
    depths, order = depth[row, column].sort(stable=True)
    pitch = hole.shape[1] + 2 * RADIUS
    pixel = ((row + RADIUS) * pitch + column + RADIUS)[order]
    return list(pixel.split(depths.bincount().tolist() or [0]))
