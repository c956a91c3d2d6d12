"""Measures of a made view against its truth.

Clips are `[T, 3, H, W]` in [0, 1], regions `[T, 1, H, W]`: a pixel counts where the region is > 0,
everywhere where it is None. A measure over no pixel is NaN.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core.masks import dilate
from dreamstereo_core.optical_flow import optical_flow, resize_flow, warp

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
CANNY = (100, 200)
"""Thresholds of SIoU's edges, on 8-bit grey."""
SHIFTED = 5
"""Difference in 8-bit grey from which SIoU counts a pixel as moved between the eyes."""
RING = 16
"""Width in pixels of the band of known pixels around the holes."""


def ring(mask: Tensor, width: int = RING) -> Tensor:
    """Return the known pixels at most `width` pixels (chessboard) from a hole, as 0 or 1."""
    hole = (mask > 0).float()
    return dilate(hole, width) - hole


def average(values: Tensor, region: Tensor | None = None) -> float:
    """Return the mean of `[T, C, H, W]` over a region."""
    if region is not None:
        values = values[(region > 0).expand_as(values)]
    return float(values.double().mean())


def psnr(video: Tensor, truth: Tensor, region: Tensor | None = None) -> float:
    """Return the PSNR in dB over all pixels of the region together; infinite where equal."""
    error = average((video - truth).square(), region)
    return -10 * math.log10(error) if error > 0 else math.nan if math.isnan(error) else math.inf


def ssim_map(video: Tensor, truth: Tensor) -> Tensor:
    """Return the SSIM around each pixel `[T, 1, H, W]`, a mean over the channels.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
    TIP 2004: a Gaussian window of 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03. Borders are
    mirrored, as in scikit-image.
    """
    taps = torch.arange(SSIM_WINDOW, dtype=video.dtype) - SSIM_WINDOW // 2
    taps = torch.exp(-0.5 * (taps / SSIM_SIGMA) ** 2)
    rows = (taps / taps.sum()).expand(15, 1, 1, -1)
    frames = []
    for x, y in zip(video, truth, strict=True):
        moments = _mirror(_mirror(torch.cat([x, y, x * x, y * y, x * y]), -1), -2)
        moments = F.conv2d(moments[None], rows, groups=15)
        moments = F.conv2d(moments, rows.transpose(2, 3), groups=15)
        mean_x, mean_y, xx, yy, xy = moments[0].split(3)
        c1, c2 = 0.01**2, 0.03**2
        structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        frames.append((structure * luminance).mean(0, keepdim=True))
    return torch.stack(frames)


def ssim(similarity: Tensor, region: Tensor | None = None) -> float:
    """Return the mean of `ssim_map`; over the whole frame without its border of half a window."""
    inset = SSIM_WINDOW // 2
    if region is None:
        similarity = similarity[..., inset:-inset, inset:-inset]
    return average(similarity, region)


def siou(video: Tensor, truth: Tensor, left: Tensor) -> float:
    """Return how well the stereo effect agrees with the truth's, in [0, 1], a mean over frames.

    Stereo Intersection-over-Union (Yu et al., "Mono2Stereo: A Benchmark and Empirical Study for
    Stereo Conversion", CVPR 2025): 3/4 of the overlap of the Canny edges of both right views, 1/4
    of the overlap of the pixels in which each differs from the left view. The published code takes
    that difference in 8 bits, where a negative one wraps around; here it is the absolute one.
    """
    scores = []
    for frames in zip(video, truth, left, strict=True):
        made, real, other = (_to_8_bit(frame) for frame in frames)
        edges = [cv2.Canny(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), *CANNY) > 0 for x in (made, real)]
        moved = [
            cv2.cvtColor(cv2.absdiff(x, other), cv2.COLOR_RGB2GRAY) > SHIFTED for x in (made, real)
        ]
        scores.append(0.75 * _overlap(*edges) + 0.25 * _overlap(*moved))
    return float(np.mean(scores))


def motion(truth: Tensor) -> Tensor:
    """Return the optical flow `[T - 1, 2, H, W]` from each frame to the next."""
    if len(truth) < 2:
        return truth.new_zeros(0, 2, *truth.shape[2:])
    return resize_flow(optical_flow(truth[:-1], truth[1:]), truth.shape[-2:])


def temporal_error(video: Tensor, flow: Tensor, region: Tensor | None = None) -> float:
    """Return how much a clip changes along the truth's motion, in levels of 255.

    `flow` is the truth's, from `motion`. A pixel counts where it and where it moves to lie in the
    region. The truth itself is not 0: motion is estimated, and light changes.
    """
    changes, both = [], []
    for t, step in enumerate(flow.split(1)):
        changes.append((warp(video[t + 1 : t + 2], step) - video[t : t + 1]).abs() * 255)
        if region is not None:
            target = (region[t + 1 : t + 2] > 0).float()
            both.append((region[t : t + 1] > 0) & (warp(target, step) > 0.99))
    if not changes:
        return math.nan
    return average(torch.cat(changes), torch.cat(both) if both else None)


def seam_energy(
    video: Tensor, truth: Tensor, mask: Tensor, measured: Tensor | None = None
) -> float:
    """Return how far the steps across the holes' border are from the truth's, in levels of 255.

    A mean over the pairs of neighbouring pixels of which one lies in a hole and the other does not;
    with `measured`, over those whose hole pixel lies in it.
    """
    known, inside = mask == 0, (mask if measured is None else measured) > 0
    error = (video - truth) * 255
    total, count = 0.0, 0
    for axis in (-1, -2):
        size = mask.shape[axis] - 1
        before = [x.narrow(axis, 0, size) for x in (known, inside)]
        after = [x.narrow(axis, 1, size) for x in (known, inside)]
        across = (before[0] & after[1]) | (before[1] & after[0])
        steps = error.diff(dim=axis).abs()[across.expand(-1, error.shape[1], -1, -1)]
        total, count = total + float(steps.double().sum()), count + steps.numel()
    return total / count if count else math.nan


def known_exactness(video: Tensor, warped: Tensor, mask: Tensor) -> float:
    """Return the share of the pixels outside the holes that are `warped`'s to the bit."""
    return average((video == warped).all(1, keepdim=True).float(), (mask == 0).float())


def color_drift(video: Tensor, reference: Tensor, region: Tensor) -> tuple[float, float]:
    """Return how far the region's colours are from the reference's, in CIELAB units (D65).

    The first is the distance of their means (Delta E 76 of the mean colours), the second that of
    their standard deviations along L, a and b: a fill that is too soft has less.
    """
    here = region[:, 0] > 0
    if not here.any():
        return math.nan, math.nan
    (mean, spread), (true_mean, true_spread) = (
        _lab_statistics(x, here) for x in (video, reference)
    )
    return float(np.linalg.norm(mean - true_mean)), float(np.linalg.norm(spread - true_spread))


def _lab_statistics(video: Tensor, here: Tensor) -> tuple[np.ndarray, np.ndarray]:
    pixels = video.permute(0, 2, 3, 1)[here].clamp(0, 1).float().numpy()
    lab = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB)[0].astype(np.float64)
    return lab.mean(0), lab.std(0)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def _to_8_bit(frame: Tensor) -> np.ndarray:
    levels = frame.permute(1, 2, 0).clamp(0, 1) * 255
    return np.ascontiguousarray(levels.round().byte().numpy())


def _mirror(x: Tensor, axis: int) -> Tensor:
    """Repeat half a window of border pixels in mirrored order, the outermost one included."""
    pad = SSIM_WINDOW // 2
    size = x.shape[axis]
    head, tail = x.narrow(axis, 0, pad), x.narrow(axis, size - pad, pad)
    return torch.cat([head.flip(axis), x, tail.flip(axis)], dim=axis)
