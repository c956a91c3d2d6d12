"""Fills to compare with: `cv2.inpaint` and the nearest background pixel.

Each takes a video `[T, C, H, W]`, its holes `[T, 1, H, W]` and its disparity `[T, 1, H, W]`, and
returns the video with its holes filled; known pixels stay as they are, to the bit.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def telea(video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
    """Fill frame by frame with cv2's Telea; the disparity is not used."""
    return _cv2_inpaint(video, mask, cv2.INPAINT_TELEA)


def navier_stokes(video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
    """Fill frame by frame with cv2's Navier-Stokes; the disparity is not used."""
    return _cv2_inpaint(video, mask, cv2.INPAINT_NS)


def nearest_background(video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
    """Repeat, in each row of a hole, the known pixel at its end that is farther away."""
    width = video.shape[-1]
    x = torch.arange(width).expand_as(mask)
    known = mask == 0
    left = torch.where(known, x, -1).cummax(-1).values
    right = torch.where(known, x, width).flip(-1).cummin(-1).values.flip(-1)
    far = torch.full_like(disparity, torch.inf)
    at_left = torch.where(left >= 0, disparity.gather(-1, left.clamp(min=0)), far)
    at_right = torch.where(right < width, disparity.gather(-1, right.clamp(max=width - 1)), far)
    source = torch.where(at_left < at_right, left.clamp(min=0), right.clamp(max=width - 1))
    return video.gather(-1, source.expand_as(video))


def _cv2_inpaint(video: Tensor, mask: Tensor, method: int) -> Tensor:
    filled = []
    for frame, hole in zip(video, mask[:, 0] > 0, strict=True):
        image = (frame.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        image = cv2.inpaint(image, hole.numpy().astype(np.uint8), 3, method)
        filled.append(torch.where(hole, torch.from_numpy(image).permute(2, 0, 1) / 255, frame))
    return torch.stack(filled)
