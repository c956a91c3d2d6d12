"""Dense optical flow in plain torch: small, batched, sub-pixel, exactly zero where nothing moves.

Coarse-to-fine Lucas-Kanade in its dense form (Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker",
2000) with three additions: frames are locally normalised, so a change of brightness or contrast does not move anything;
residuals are re-weighted (iteratively re-weighted least squares), so a window that straddles a motion boundary follows
one side; and the window's solution is pulled towards its neighbourhood's mean where texture is poor (combined local-global,
Bruhn, Weickert and Schnoerr, IJCV 2005).

Convention, everywhere in this file: ``a(x) ~ b(x + flow(x))``. Flow lives on `a`'s grid, channel 0 is x (to the right),
channel 1 is y (down), in pixels of *the flow's own grid*. So ``warp(b, flow)`` looks like `a`.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

_WINDOW = 7  # px on each level's own grid
_ITERATIONS = 3  # per level
_PRIOR = 0.02  # weight of the neighbourhood's mean, in units of squared gradient
_ROBUST = 0.3  # residual (normalised contrast) at which a pixel starts to lose weight
_COARSEST = 12  # px, the shorter side of the smallest level


def optical_flow(a: Tensor, b: Tensor, *, width: int = 256) -> Tensor:
    """Estimate the flow from `a` to `b`, ``[N, 3, H, W]`` or ``[N, 1, H, W]``, as ``[N, 2, h, w]`` in pixels at w.

    The grid is at most `width` pixels wide (never larger than the input); see the module for the convention. Equal
    frames give exactly zero.

    Raises:
        ValueError: the shapes differ or are not those of frames, or `width` is less than 8.
    """
    if a.ndim != 4 or a.shape != b.shape or a.shape[1] not in (1, 3) or 0 in a.shape:
        raise ValueError(
            f"a, b: expected two equal shapes [N, 3 or 1, H, W], got {list(a.shape)} and {list(b.shape)}"
        )
    if width < 8:
        raise ValueError(f"width: expected at least 8 pixels, got {width}")
    pair = _work_image(torch.cat((a, b)), width)
    pyramid = [pair]
    while min(pyramid[-1].shape[2:]) >= 2 * _COARSEST:
        h, w = pyramid[-1].shape[2:]
        pyramid.append(F.interpolate(pyramid[-1], (ceil(h / 2), ceil(w / 2)), mode="area"))
    flow = pair.new_zeros(a.shape[0], 2, *pyramid[-1].shape[2:])
    for level in reversed(pyramid):
        source, target = _normalise_contrast(level).chunk(2)
        flow = resize_flow(flow, level.shape[2:])
        flow = _refine(source, target, flow)
    return _snap_to_zero(*_normalise_contrast(pair).chunk(2), flow)


def bidirectional_flow(a: Tensor, b: Tensor, *, width: int = 256) -> tuple[Tensor, Tensor, Tensor]:
    """Return the flow a -> b on `a`'s grid, the flow b -> a on `b`'s grid, and the first one's confidence.

    The confidence ``[N, 1, h, w]`` is `consistency` of the two; swap them for the other one's.
    """
    forward, backward = optical_flow(torch.cat((a, b)), torch.cat((b, a)), width=width).chunk(2)
    return forward, backward, consistency(forward, backward)


def consistency(forward: Tensor, backward: Tensor) -> Tensor:
    """Return how well `backward` leads back where `forward` came from: ``[N, 1, h, w]`` in [0, 1], 1 = exactly.

    It is 1/2 at a round-trip error of half a pixel plus a tenth of the motion, and 0 where the flow leaves the frame.
    """
    error = (forward + warp(backward, forward)).square().sum(1, keepdim=True)
    tolerance = 0.25 + 0.01 * forward.square().sum(1, keepdim=True)
    x, y = _pixel_grid(forward)
    x, y = x + forward[:, :1], y + forward[:, 1:]
    h, w = forward.shape[2:]
    inside = (x >= -0.5) & (x <= w - 0.5) & (y >= -0.5) & (y <= h - 0.5)
    return inside / (1 + error / tolerance)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` ``[N, C, h, w]`` at x + flow(x), bilinearly, edges repeated; exact where the flow is zero."""
    x, y = _pixel_grid(flow)
    h, w = image.shape[2:]
    grid_x = (x + flow[:, :1] + 0.5) * (2 / w) - 1
    grid_y = (y + flow[:, 1:] + 0.5) * (2 / h) - 1
    grid = torch.stack((grid_x[:, 0], grid_y[:, 0]), dim=-1)
    sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where((flow == 0).all(1, keepdim=True), image, sampled)


def resize_flow(flow: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Resize a flow ``[N, 2, h, w]`` to (H, W) and scale its values to pixels of the new grid."""
    h, w = flow.shape[2:]
    if (h, w) == tuple(size):
        return flow
    scale = flow.new_tensor((size[1] / w, size[0] / h)).view(1, 2, 1, 1)
    return F.interpolate(flow, tuple(size), mode="bilinear", align_corners=False) * scale


def _work_image(frames: Tensor, width: int) -> Tensor:
    """Return grey frames, at most `width` wide, aspect kept."""
    h, w = frames.shape[2:]
    if w > width:
        frames = F.interpolate(frames, (max(1, round(h * width / w)), width), mode="area")
    if frames.shape[1] == 3:
        weights = frames.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
        frames = (frames * weights).sum(1, keepdim=True)
    return frames.float()


def _normalise_contrast(grey: Tensor) -> Tensor:
    """Subtract the local mean and divide by the local contrast (2 % of full scale at least: noise stays small)."""
    mean = _box(grey, 15)
    deviation = (_box(grey.square(), 15) - mean.square()).clamp(min=0).sqrt()
    return (grey - mean) / (deviation + 0.02)


def _refine(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Solve the windowed, re-weighted normal equations around `flow`, `_ITERATIONS` times."""
    gx, gy = _gradient(source)
    products = torch.cat((gx * gx, gx * gy, gy * gy), dim=1)
    for _ in range(_ITERATIONS):
        residual = warp(target, flow) - source
        weight = _ROBUST / (residual.square() + _ROBUST**2).sqrt()
        # With each neighbour's own flow taken off, the window votes on a total flow, not on an increment.
        along = gx * flow[:, :1] + gy * flow[:, 1:] - residual
        sums = _box(torch.cat((weight * products, weight * gx * along, weight * gy * along), dim=1))
        prior = _box(flow)
        xx, xy, yy, bx, by = sums.split(1, dim=1)
        xx, yy = xx + _PRIOR, yy + _PRIOR
        bx, by = bx + _PRIOR * prior[:, :1], by + _PRIOR * prior[:, 1:]
        determinant = xx * yy - xy * xy
        flow = torch.cat(((yy * bx - xy * by), (xx * by - xy * bx)), dim=1) / determinant
    return flow


def _snap_to_zero(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Set the flow to exactly zero where standing still explains the window as well."""
    moved = _box((warp(target, flow) - source).square(), 5)
    still = _box((target - source).square(), 5)
    return flow * (still > 1.05 * moved + 1e-4)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the central differences along x and y, edges repeated."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    gx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    gy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    return gx, gy


def _box(image: Tensor, size: int = _WINDOW) -> Tensor:
    """Average over a window of size x size pixels; at the border, over the part inside."""
    pad = size // 2
    image = F.avg_pool2d(image, (size, 1), 1, (pad, 0), count_include_pad=False)
    return F.avg_pool2d(image, (1, size), 1, (0, pad), count_include_pad=False)


def _pixel_grid(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return x ``[1, 1, 1, w]`` and y ``[1, 1, h, 1]``, 0 = the centre of the first pixel."""
    h, w = like.shape[2:]
    x = torch.arange(w, device=like.device, dtype=like.dtype).view(1, 1, 1, w)
    y = torch.arange(h, device=like.device, dtype=like.dtype).view(1, 1, h, 1)
    return x, y
