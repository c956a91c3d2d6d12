"""Measures of a fill against its truth."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamstereo_core.flow import optical_flow, resize_flow, warp


def masked_psnr(video: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the PSNR in dB of `[T, 3, H, W]` over the pixels where `mask` `[T, 1, H, W]` is > 0.

    Raises:
        ValueError: the mask is empty.
    """
    inside = (mask > 0).expand_as(video)
    if not inside.any():
        raise ValueError("mask: expected at least one pixel, got an empty one")
    error = (video - truth)[inside].square().mean()
    return float(-10 * torch.log10(error.clamp(min=1e-10)))


def temporal_error(video: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return how much a fill changes along the truth's motion, in levels of 255.

    `video` and `truth` are `[T, 3, H, W]`, `mask` is `[T, 1, H, W]`; the motion is the truth's
    optical flow.
    """
    flow = resize_flow(optical_flow(truth[:-1], truth[1:]), truth.shape[-2:])
    hole = (mask[:-1] > 0) & (warp(mask[1:], flow) > 0.99)
    difference = (warp(video[1:], flow) - video[:-1]).abs()
    inside = hole.expand_as(difference)
    return float(difference[inside].mean() * 255) if inside.any() else 0.0
