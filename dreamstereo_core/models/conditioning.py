"""The inputs of a Wan-class inpainter: mask and masked latents, context, timestep."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..types import LatentMask
from .attention import KeyValue
from .config import MASK_CHANNELS

PIXELS = 8
"""Pixels along the side of a latent."""
FRAMES = 4
"""Frames of a latent, except for the first latent, which has one."""


@dataclass(frozen=True)
class EncodedContext:
    """The cross-attention's keys and values of a fixed context, one entry for each block."""

    keys_values: tuple[tuple[KeyValue, ...], ...]


@dataclass(frozen=True)
class Conditioning:
    """All that a transformer computes from the timestep and the context alone."""

    modulations: tuple[Tensor, ...]
    """Of each block, `[B or 1, 6, dim]` float32."""
    head_modulation: Tensor
    """`[B or 1, 2, dim]` float32."""
    context: EncodedContext


def missing_channels(occlusion_mask: Tensor) -> Tensor:
    """Bring a pixel mask to the latents: Wan's four mask channels, still with 1 = missing.

    The first frame has a latent of its own and fills all four channels. The others come in groups
    of 4. The mask is pooled by maximum, so that one missing pixel makes its latent missing.

    Args:
        occlusion_mask: `[B, 1, T, H, W]` with T = 4n + 1, H and W multiples of 8; any value above 0
            is missing.

    Returns:
        `[B, 4, T', H', W']` float32, 0 or 1.

    Raises:
        ValueError: the mask has another shape.
    """
    shape = list(occlusion_mask.shape)
    if len(shape) != 5 or shape[1] != 1 or shape[2] % 4 != 1 or shape[3] % 8 or shape[4] % 8:
        raise ValueError(
            "occlusion_mask: expected shape [B, 1, T, H, W] with T = 4n + 1 and H and W multiples "
            f"of {PIXELS}, got {shape}"
        )
    return torch.cat([missing_group(group) for group in split_frames(occlusion_mask)], dim=2)


def split_frames(frames: Tensor) -> list[Tensor]:
    """Cut `[B, C, T, H, W]` into the frames of each latent: the first alone, then fours."""
    first, rest = frames[:, :, :1], frames[:, :, 1:]
    return [first, *rest.split(FRAMES, dim=2)] if rest.shape[2] else [first]


def missing_group(occlusion_mask: Tensor) -> Tensor:
    """Bring the mask `[B, 1, 1 or 4, H, W]` of one latent's frames to `[B, 4, 1, H', W']`."""
    missing = F.max_pool2d((occlusion_mask[:, 0] > 0).float(), PIXELS)  # [B, 1 or 4, H', W']
    return missing.expand(-1, MASK_CHANNELS, -1, -1).unsqueeze(2)


def to_latent_mask(missing: Tensor) -> LatentMask:
    """Pool the mask channels `[B, 4, T', H', W']` to `[B, 1, T', H', W']`, 1 = inpaint."""
    return missing.amax(dim=1, keepdim=True)


def inpainting_input(noisy: Tensor, missing: Tensor, masked_latent: Tensor) -> Tensor:
    """Stack an inpainter's input channels: noise, mask, masked latents (paper, Sec. 3.3).

    This is the only place where our "1 = missing" becomes Wan's "1 = known".

    Args:
        noisy: `[B, 16, T', H', W']`, z_t.
        missing: `[B, 4, T', H', W']` of `missing_channels`, or a LatentMask `[B, 1, T', H', W']`.
        masked_latent: `[B, 16, T', H', W']`, the encoded masked video.

    Returns:
        `[B, 36, T', H', W']`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    size = noisy.shape[2:]
    if (
        noisy.ndim != 5
        or masked_latent.shape != noisy.shape
        or missing.shape[2:] != size
        or missing.shape[0] not in (1, noisy.shape[0])
        or missing.shape[1] not in (1, MASK_CHANNELS)
    ):
        raise ValueError(
            f"inpainting_input: expected noisy and masked_latent of one shape [B, C, T', H', W'] "
            f"and missing [B, 4 or 1, T', H', W'], got {list(noisy.shape)}, "
            f"{list(masked_latent.shape)} and {list(missing.shape)}"
        )
    known_mask = (1 - missing.to(noisy)).expand(noisy.shape[0], MASK_CHANNELS, *size)
    return torch.cat([noisy, known_mask, masked_latent.to(noisy)], dim=1)
