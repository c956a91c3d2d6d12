"""Dense optical flow in plain torch: small, batched, sub-pixel, exactly zero where nothing moves.

This is Lucas-Kanade, dense and from coarse to fine (Bouguet, "Pyramidal implementation of the Lucas
Kanade feature tracker", 2000). Frames are normalised locally first, so that a change of brightness
or contrast moves nothing. Three things are added:
- Residuals are re-weighted (iteratively re-weighted least squares), so that a window astride a
  motion boundary follows one side.
- Where a window has no texture, its flow is pulled towards the neighbourhood's mean, weighted by
  texture (after the combined local-global method of Bruhn, Weickert and Schnoerr, IJCV 2005).
- A pixel takes the flow of a pixel some way off where that explains its own window better (the idea
  of PatchMatch, Barnes et al., SIGGRAPH 2009). This sharpens motion boundaries and rescues small
  fast objects.

Convention, everywhere in this file: ``a(x) ~ b(x + flow(x))``. Flow lives on `a`'s grid, channel 0
is x (to the right), channel 1 is y (down), in pixels of *the flow's own grid*. So ``warp(b, flow)``
looks like `a`.
"""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from .filters import LUMA, box_mean

_COARSEST = 12  # px, least shorter side of the smallest level, where the input is that large
_NORMALISE = 9  # px, window of the local mean and contrast
_NOISE = 0.015  # contrast, as a share of full scale, that still counts as noise
_WINDOW = 7  # px, on each level's own grid
_ITERATIONS = (4, 2)  # on each coarse level, and on the finest
_ROBUST = 0.3  # residual (normalised contrast) at which a pixel starts to lose weight
_PRIOR = 0.001  # pull towards the neighbourhood, in squared gradients (normalised contrast)
_PRIOR_WINDOW = 11  # px
_TEXTURE = 0.01  # smaller eigenvalue of the structure tensor; below it a window counts little
_STEP = 6  # px, distance from which a flow is taken over
_MATCH_WINDOW = 5  # px, for comparing two candidates


def optical_flow(a: Tensor, b: Tensor, *, width: int = 256) -> Tensor:
    """Estimate the flow from `a` to `b`, ``[N, 3 or 1, H, W]``, as ``[N, 2, h, w]`` in its pixels.

    The flow's grid is at most `width` pixels wide and never larger than the input. The module's
    docstring states the convention. Equal frames give exactly zero.

    Raises:
        ValueError: the shapes differ or are not those of frames, or `width` is less than 8.
    """
    if a.ndim != 4 or a.shape != b.shape or a.shape[1] not in (1, 3) or 0 in a.shape:
        shapes = f"{list(a.shape)} and {list(b.shape)}"
        raise ValueError(f"a, b: expected two equal shapes [N, 3 or 1, H, W], got {shapes}")
    if width < 8:
        raise ValueError(f"width: expected at least 8 pixels, got {width}")
    pyramid = [torch.cat([_work_image(frames, width) for frames in (a, b)])]
    while min(pyramid[-1].shape[2:]) >= 2 * _COARSEST:
        h, w = pyramid[-1].shape[2:]
        pyramid.append(F.interpolate(pyramid[-1], (ceil(h / 2), ceil(w / 2)), mode="area"))
    flow = pyramid[0].new_zeros(a.shape[0], 2, *pyramid[-1].shape[2:])
    source = target = pyramid[0]
    for level in reversed(pyramid):
        source, target = _normalise_contrast(level).chunk(2)
        flow = resize_flow(flow, level.shape[2:])
        flow = _refine(source, target, flow, _ITERATIONS[level is pyramid[0]])
        flow = _propagate(source, target, flow)
    return _snap_to_zero(source, target, flow)


def bidirectional_flow(a: Tensor, b: Tensor, *, width: int = 256) -> tuple[Tensor, Tensor]:
    """Return the flow a -> b on `a`'s grid and the flow b -> a on `b`'s grid, in one batch.

    ``consistency(forward, backward)`` says where the forward flow can be trusted, and
    ``consistency(backward, forward)`` where the backward flow can.
    """
    forward, backward = optical_flow(torch.cat((a, b)), torch.cat((b, a)), width=width).chunk(2)
    return forward, backward


def consistency(forward: Tensor, backward: Tensor) -> Tensor:
    """Return how well `backward` leads back to where `forward` started, ``[N, 1, h, w]`` in [0, 1].

    1 is an exact round trip, and 0 a flow that leaves the frame. It is 1/2 where the error is the
    root of the sum of squares of half a pixel and a tenth of the motion.
    """
    error = (forward + warp(backward, forward)).square().sum(1, keepdim=True)
    tolerance = 0.25 + 0.01 * forward.square().sum(1, keepdim=True)
    x, y = _pixel_grid(forward)
    x, y = x + forward[:, :1], y + forward[:, 1:]
    h, w = forward.shape[2:]
    inside = (x >= -0.5) & (x <= w - 0.5) & (y >= -0.5) & (y <= h - 0.5)
    return inside / (1 + error / tolerance)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` ``[N, C, h, w]`` at x + flow(x), bilinearly, edges repeated.

    Where the flow is zero the pixel comes back bit-exact.
    """
    x, y = _pixel_grid(flow)
    h, w = image.shape[2:]
    grid_x = (x + flow[:, :1] + 0.5) * (2 / w) - 1
    grid_y = (y + flow[:, 1:] + 0.5) * (2 / h) - 1
    grid = torch.stack((grid_x[:, 0], grid_y[:, 0]), dim=-1)
    sampled = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return torch.where((flow == 0).all(1, keepdim=True), image, sampled)


def warp_points(image: Tensor, flow: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return what `warp` gives at N points alone: ``[1, C, h, w]``, flow ``[2, N]``: ``[C, N]``."""
    h, w = image.shape[2:]
    x = (column + flow[0] + 0.5) * (2 / w) - 1
    y = (row + flow[1] + 0.5) * (2 / h) - 1
    grid = torch.stack((x, y), dim=-1)[None, None]
    sampled = F.grid_sample(image, grid, padding_mode="border", align_corners=False)[0, :, 0]
    return torch.where((flow == 0).all(0), image[0][:, row, column], sampled)


def resize_flow(flow: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Resize a flow ``[N, 2, h, w]`` to (H, W) and scale its values to pixels of the new grid."""
    h, w = flow.shape[2:]
    if (h, w) == tuple(size):
        return flow
    scale = flow.new_tensor((size[1] / w, size[0] / h)).view(1, 2, 1, 1)
    return F.interpolate(flow, tuple(size), mode="bilinear", align_corners=False) * scale


def _work_image(frames: Tensor, width: int) -> Tensor:
    """Return grey frames ``[N, 1, h, w]``, at most `width` pixels wide, of the same aspect."""
    h, w = frames.shape[2:]
    if frames.shape[1] == 3:
        red, green, blue = frames.split(1, dim=1)
        frames = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    if w > width:
        frames = F.interpolate(frames, (max(1, round(h * width / w)), width), mode="area")
    return frames.float()


def _normalise_contrast(grey: Tensor) -> Tensor:
    """Subtract the local mean and divide by the local contrast, so that noise stays small."""
    mean = box_mean(grey, _NORMALISE)
    deviation = (box_mean(grey.square(), _NORMALISE) - mean.square()).clamp(min=0).sqrt()
    return (grey - mean) / (deviation + _NOISE)


def _refine(source: Tensor, target: Tensor, flow: Tensor, iterations: int) -> Tensor:
    """Solve the windowed, re-weighted normal equations around `flow`, `iterations` times."""
    gx, gy = _gradient(source)
    products = torch.cat((gx * gx, gx * gy, gy * gy), dim=1)
    for _ in range(iterations):
        residual = warp(target, flow) - source
        weight = _ROBUST / (residual.square() + _ROBUST**2).sqrt()
        # Each neighbour's own flow is added back, so that the window averages flows, not changes.
        along = weight * (gx * flow[:, :1] + gy * flow[:, 1:] - residual)
        sums = box_mean(torch.cat((weight * products, gx * along, gy * along), dim=1), _WINDOW)
        xx, xy, yy, bx, by = sums.split(1, dim=1)
        texture = (xx * yy - xy * xy) / (xx + yy + 1e-6)  # about the smaller eigenvalue
        trust = texture / (texture + _TEXTURE) + 1e-3
        prior = box_mean(torch.cat((trust * flow, trust), dim=1), _PRIOR_WINDOW)
        prior = prior[:, :2] / prior[:, 2:] * _PRIOR
        xx, yy, bx, by = xx + _PRIOR, yy + _PRIOR, bx + prior[:, :1], by + prior[:, 1:]
        flow = torch.cat((yy * bx - xy * by, xx * by - xy * bx), dim=1) / (xx * yy - xy * xy)
    return flow


def _propagate(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Let each pixel take the flow of one `_STEP` away where that clearly explains it better."""
    best = _mismatch(source, target, flow)
    h, w = flow.shape[2:]
    padded = F.pad(flow, (_STEP,) * 4, mode="replicate")
    for y, x in ((0, _STEP), (_STEP, 0), (2 * _STEP, _STEP), (_STEP, 2 * _STEP)):
        other = padded[:, :, y : y + h, x : x + w]
        mismatch = _mismatch(source, target, other)
        better = mismatch < 0.9 * best - 1e-3
        flow = torch.where(better, other, flow)
        best = torch.where(better, mismatch, best)
    return flow


def _snap_to_zero(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Set the flow to exactly zero where standing still explains the window as well."""
    still = _mismatch(source, target, torch.zeros_like(flow))
    moves = still > 1.1 * _mismatch(source, target, flow) + 1e-3
    return torch.where(moves, flow, 0.0)


def _mismatch(source: Tensor, target: Tensor, flow: Tensor) -> Tensor:
    """Return the window's mean squared residual, outliers clipped."""
    residual = warp(target, flow) - source
    return box_mean(residual.square().clamp(max=1), _MATCH_WINDOW)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the central differences along x and y, edges repeated."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    gx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    gy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    return gx, gy


def _pixel_grid(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return x ``[1, 1, 1, w]`` and y ``[1, 1, h, 1]``, 0 = the centre of the first pixel."""
    h, w = like.shape[2:]
    x = torch.arange(w, device=like.device, dtype=like.dtype).view(1, 1, 1, w)
    y = torch.arange(h, device=like.device, dtype=like.dtype).view(1, 1, h, 1)
    return x, y
