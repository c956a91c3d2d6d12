"""The data that travels between the stages: layouts, ranges, units and signs, stated once.

Pixel stages work frame by frame, so time is the batch: ``[T, C, H, W]``. Model space is ``[B, C, T,
H, W]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

Video: TypeAlias = Tensor
"""``[T, 3, H, W]`` float32 RGB, display-encoded, in [0, 1]."""

InverseDepth: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32 in [0, 1], 1 = nearest, one scale per shot."""

Disparity: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32, signed pixels at this tensor's own width, x_left - x_right; > 0 in
front of the screen."""

CoordMap: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32, source x in pixels for each target pixel; 0 = centre of the first
pixel."""

OcclusionMask: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32 in [0, 1], 1 = missing, to be inpainted."""

Latent: TypeAlias = Tensor
"""``[B, 16, T', H', W']``, normalised by the mean and std of the autoencoder's config; T' = 1 +
(T-1)/4, H' = H/8."""

LatentMask: TypeAlias = Tensor
"""``[B, 1, T', H', W']``, 1 = inpaint; max-pooled from the pixels."""

TokenIndex: TypeAlias = Tensor
"""``[B, K]`` int64, kept tokens in ascending order; a token is 1x2x2 latents = 4 frames x 16x16
pixels."""

Eye: TypeAlias = Literal["right", "left"]
"""The synthetic eye: the source video is the other one."""


@dataclass(frozen=True)
class WarpResult:
    """What `gapw_warp` returns, all in the target view."""

    video: Video
    disparity: Disparity
    occlusion_mask: OcclusionMask
    coord_map: CoordMap
    stretch: Tensor
    """``[T, 1, H, W]`` |dx'/dx| in target pixels per source pixel; inf where the source does not
    reach."""


@dataclass(frozen=True)
class InpaintingPair:
    """A training pair: a video's own pixels and the holes of a second projection."""

    target: Video
    masked: Video
    occlusion_mask: OcclusionMask
    disparity: Disparity
    """Of the second projection, in the same view."""
    left: Video
    """The first projection."""


@dataclass(frozen=True)
class StereoVideo:
    """One converted chunk: both eyes, and what made the synthetic one."""

    left: Video
    right: Video
    inverse_depth: InverseDepth
    """In the source view."""
    occlusion_mask: OcclusionMask
    """In the synthetic view."""
    start: int
    """Index of the chunk's first frame in the whole video."""
