"""Measures of an inverse depth over time, and an estimator that flickers.

Frames are `[1, 3, h, w]` in [0, 1], inverse depths `[1, 1, h, w]`, both of one size; regions
`[1, 1, h, w]`, true where a pixel counts. A measure over no pixel is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core.depth import DepthEstimator, WrappedDepth
from dreamstereo_core.filters import box_mean
from dreamstereo_core.optical_flow import consistency, warp

STILL = 0.01
"""Mean colour difference within 5 x 5 pixels, below which nothing has moved there."""
TRUSTED = 0.5
"""Forward-backward consistency of the flow from which a pixel counts."""


def dis_flow(a: Tensor, b: Tensor) -> Tensor:
    """Return OpenCV's DIS flow from `a` to `b`, `[1, 2, h, w]`: another one than the core uses."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [(x[0].mean(0).clamp(0, 1) * 255).round().byte().numpy() for x in (a, b)]
    flow: Any = dis.calc(grey[0], grey[1], None)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))[None]


def flow_and_trust(now: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return the flow from a frame to the one before, and where it is the same back and forth."""
    backward = dis_flow(now, before)
    return backward, consistency(backward, dis_flow(before, now)) > TRUSTED


def alignment_error(now: Tensor, before: Tensor, flow: Tensor, region: Tensor) -> float:
    """Return the mean ``|d_t - warp(d_t-1)|`` along the flow: the temporal alignment error (TAE).

    As in Video Depth Anything (Chen et al., CVPR 2025), with optical flow in the place of camera
    poses.
    """
    return _mean((now - warp(before, flow)).abs(), region)


def still_region(now: Tensor, before: Tensor) -> Tensor:
    """Return where the picture has not changed, except for its noise."""
    return box_mean((now - before).mean(1, keepdim=True), 5).abs() < STILL


def flicker(now: Tensor, before: Tensor, region: Tensor) -> float:
    """Return the mean ``|d_t - d_t-1|``; over a still region nothing of it is right."""
    return _mean((now - before).abs(), region)


def relative_scale(depth: Tensor, reference: Tensor) -> float:
    """Return the least-squares scale s of ``depth ~ s * reference + shift``."""
    x, y = (d.double().flatten() - d.double().mean() for d in (reference, depth))
    return float((x @ y) / (x @ x))


def there_and_back(frames: Sequence[Tensor], count: int) -> Iterator[Tensor]:
    """Yield `count` frames: forward, backward, forward ... so that nothing ever jumps."""
    period = max(1, 2 * len(frames) - 2)
    for i in range(count):
        yield frames[len(frames) - 1 - abs(len(frames) - 1 - i % period)]


def _mean(values: Tensor, region: Tensor) -> float:
    return float(values[region.expand_as(values)].mean())


class PictureDepth(DepthEstimator):
    """A stand-in for a per-frame model: lower and brighter is nearer."""

    name = "picture"
    normalized = False

    def predict(
        self, video: Tensor, state: None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, None]:
        """Return raw inverse depth `[T, 1, h, w]`, 256 pixels wide; no state."""
        height = max(1, round(256 * video.shape[2] / video.shape[3]))
        grey = F.interpolate(video.mean(1, keepdim=True), (height, 256), mode="area")
        y = torch.linspace(0, 1, height).view(1, 1, -1, 1)
        return 0.7 * y + 0.3 * box_mean(grey, 7), None


class NoisyDepth(WrappedDepth):
    """Gives each frame of another estimator a scale, a shift, and smooth noise of its own.

    Args:
        estimator: of raw inverse depth of single frames.
        scale: standard deviation of the scale's logarithm.
        shift: standard deviation of the shift, in standard deviations of the depth.
        noise: the same of the noise, of about a tenth of the picture in size.
        seed: the noise depends on it and the frame's number only.
    """

    def __init__(
        self,
        estimator: DepthEstimator,
        *,
        scale: float = 0.1,
        shift: float = 0.1,
        noise: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(estimator)
        self.seed, self.scale, self.shift, self.noise = seed, scale, shift, noise
        self.name = f"noisy {estimator.name}"

    def predict(
        self, video: Tensor, state: tuple[Any, int] | None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, tuple[Any, int]]:
        """Return raw inverse depth `[T, 1, h, w]`, and the frames so far."""
        inner, seen = state or (None, 0)
        raw, inner = self.estimator.predict(video, inner, new_shot=new_shot)
        frames = [self._disturb(frame, seen + i) for i, frame in enumerate(raw.split(1))]
        return torch.cat(frames), (inner, seen + len(video))

    def flush(self, state: tuple[Any, int] | None) -> Tensor:
        """End a shot as the wrapped estimator does."""
        return super().flush(state and state[0])

    def _disturb(self, raw: Tensor, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        noise = torch.randn(1, 1, 6, 10, generator=generator)
        noise = F.interpolate(noise, raw.shape[2:], mode="bicubic", align_corners=False)
        scale, shift = torch.randn(2, generator=generator)
        deviation = raw.std()
        raw = raw + self.noise * deviation * noise
        return raw * torch.exp(self.scale * scale) + self.shift * deviation * shift
