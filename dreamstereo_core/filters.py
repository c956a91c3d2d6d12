"""Filters that smooth or shrink a picture: box mean, Gaussian, median, guided filter, area mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in a grey picture (ITU-R BT.601)."""


def box_mean(image: Tensor, size: int) -> Tensor:
    """Average over size x size pixels, an odd size; at the border, over the part inside."""
    for dim in (2, 3):
        image = _window_sums(image, size, dim)
    rows, columns = (_inside(n, size, image) for n in image.shape[2:])
    return image / (rows[:, None] * columns)


def _inside(length: int, size: int, like: Tensor) -> Tensor:
    """Return how many of the `size` places around each of `length` places are inside."""
    place, half = torch.arange(length, device=like.device, dtype=like.dtype), size // 2
    return (place + half + 1).clamp(max=length) - (place - half).clamp(min=0)


def _window_sums(image: Tensor, size: int, dim: int) -> Tensor:
    """Sum up `size` values along one dimension, those beyond the border being 0.

    Sums of 1, 2, 4, ... values are joined as the bits of `size` say.
    """
    length, half = image.shape[dim], size // 2
    pad = [0] * (2 * (image.ndim - dim))
    pad[-2:] = half, half
    sums, span, start = F.pad(image, pad), 1, 0
    total: Tensor | None = None
    while True:
        if size & span:
            part = sums.narrow(dim, start, length)
            total = part if total is None else total + part
            start += span
        if 2 * span > size:
            assert total is not None  # a size has a bit
            return total
        rest = sums.shape[dim] - span
        sums = sums.narrow(dim, 0, rest) + sums.narrow(dim, span, rest)
        span *= 2


def gaussian(
    image: Tensor, sigma: float, radius: int, *, edges: Literal["replicate", "zeros"] = "replicate"
) -> Tensor:
    """Blur ``[N, C, h, w]`` by a Gaussian of deviation `sigma`, cut off at `radius` pixels.

    Beyond the border the last row and column are repeated, or there are zeros.

    Example:
        >>> gaussian(torch.ones(1, 1, 4, 4), 1.0, 2)[0, 0, 0].round(decimals=4)
        tensor([1., 1., 1., 1.])
    """
    offsets = torch.arange(-radius, radius + 1.0)
    taps = torch.exp(-offsets.square() / (2 * sigma**2))  # [2 * radius + 1]
    shares = (taps / taps.sum()).tolist()
    mode = "replicate" if edges == "replicate" else "constant"
    x = F.pad(image, (radius,) * 4, mode=mode)
    for axis in (-1, -2):  # shifted sums are several times faster than a grouped convolution
        size = x.shape[axis] - 2 * radius
        total = x.narrow(axis, 0, size) * shares[0]
        for i, share in enumerate(shares[1:], 1):
            total.add_(x.narrow(axis, i, size), alpha=share)
        x = total
    return x


def median(image: Tensor, size: int) -> Tensor:
    """Return the median over size x size pixels of ``[N, C, h, w]``, edges repeated."""
    padded = F.pad(image, (size // 2,) * 4, mode="replicate")
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)
    return windows.flatten(4).median(dim=-1).values


def guided_filter(values: Tensor, guide: Tensor, *, radius: int, epsilon: float) -> Tensor:
    """Smooth `values` ``[N, 1, h, w]`` except across edges of `guide` ``[N, 3, h, w]``.

    The guided filter of He, Sun and Tang (TPAMI 2013) with a colour guide: ``values ~ a . guide +
    b`` is fitted in every window of 2 * `radius` + 1 pixels, and the windows over a pixel are
    averaged. `epsilon` is the variance of the guide below which an edge is smoothed away.
    """
    size = 2 * radius + 1
    r, g, b = guide.split(1, dim=1)
    products = (guide * values, r * r, r * g, r * b, g * g, g * b, b * b)
    sums = box_mean(torch.cat((guide, values, *products), dim=1), size)
    mean, mean_value, cross, squares = sums.split((3, 1, 3, 6), dim=1)
    cross = cross - mean * mean_value
    mr, mg, mb = mean.split(1, dim=1)
    rr, rg, rb, gg, gb, bb = squares.split(1, dim=1)
    rr, gg, bb = rr - mr * mr + epsilon, gg - mg * mg + epsilon, bb - mb * mb + epsilon
    rg, rb, gb = rg - mr * mg, rb - mr * mb, gb - mg * mb
    # The inverse of the symmetric 3 x 3 covariance, by cofactors.
    c00, c01, c02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    x, y, z = cross.split(1, dim=1)
    rows = (c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z)
    slope = torch.cat(rows, dim=1) / (rr * c00 + rg * c01 + rb * c02)
    offset = mean_value - (slope * mean).sum(1, keepdim=True)
    slope, offset = box_mean(torch.cat((slope, offset), dim=1), size).split((3, 1), dim=1)
    return (slope * guide).sum(1, keepdim=True) + offset


def shrink(frames: Tensor, longest: int) -> Tensor:
    """Average frames ``[N, C, H, W]`` down until no side is longer than `longest` pixels."""
    h, w = frames.shape[2:]
    scale = longest / max(h, w)
    if scale >= 1:
        return frames
    return F.interpolate(frames, (max(1, round(h * scale)), max(1, round(w * scale))), mode="area")
