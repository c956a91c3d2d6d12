"""A video autoencoder's halves as training needs them: with gradients, moments, and no clamp."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dreamstereo_core.models.vae.base import GROUP, VideoVAE
from dreamstereo_core.models.vae.tiles import Step
from dreamstereo_core.models.vae.wan import WanVAE


def encode_moments(
    vae: VideoVAE, video: Tensor, *, checkpointing: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return raw latents and, of Wan's kind, their log variance, `[B, 16, T', h, w]`.

    `video` is `[B, 3, T, H, W]` in [0, 1] with H and W multiples of 8.
    """
    x = _run(vae.encoder_steps(), vae.to_network(vae.fill_up(video)), checkpointing)
    if isinstance(vae, WanVAE):
        mean, log_variance = x.chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)
    return vae.latent_from_network(x), None


def decode_raw(
    vae: VideoVAE, raw: Tensor, picture: Tensor | None = None, *, checkpointing: bool = False
) -> Tensor:
    """Return the video `[B, 3, 4 T' - 3, H, W]` of raw latents, beyond [0, 1] where it is so.

    `picture` is of `see`, for a decoder that sees it.
    """
    steps = vae.decoder_steps(vae.beside(raw, picture))
    x = _run(steps, vae.latent_to_network(raw), checkpointing)
    video = vae.from_network(x)
    return video[:, :, video.shape[2] - (GROUP * (raw.shape[2] - 1) + 1) :]


def decode_normalised(vae: VideoVAE, latent: Tensor, *, checkpointing: bool = False) -> Tensor:
    """Return the video of normalised latents, with gradients."""
    mean, std = vae.statistics()
    return decode_raw(vae, latent * std + mean, checkpointing=checkpointing)


def as_frames(video: Tensor) -> Tensor:
    """`[B, 3, T, H, W]` to `[B * T, 3, H, W]` in [0, 1]."""
    return video.transpose(1, 2).flatten(0, 1).clamp(0, 1)


def _run(steps: Sequence[Step], x: Tensor, checkpointing: bool) -> Tensor:
    for step in steps:
        if checkpointing and torch.is_grad_enabled():
            x = checkpoint(step, x, None, use_reentrant=False)[0]  # pyright: ignore
        else:
            x, _ = step(x, None)
    return x
