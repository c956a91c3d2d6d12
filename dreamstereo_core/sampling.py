"""Sampling by flow matching: the schedule, the noise, Euler steps, windows over time.

z_t = (1 - sigma) z_0 + sigma eps and v = eps - z_0 (paper, Sec. 3.3), so that one step from pure
noise is z_0 = eps - v.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .models.conditioning import Conditioning, EncodedContext, inpainting_input
from .models.sparse import blend_latents
from .models.transformer import Transformer
from .types import Latent, TokenIndex

SAMPLERS = ("euler", "renoise")
"""How one noise level leads to the next: along the velocity, or by fresh noise on the result, as
DMD, rCM, Self-Forcing and CausVid models are trained for. One step is the same by both."""


def sigmas(num_steps: int, shift: float = 1.0) -> tuple[float, ...]:
    """Return the noise levels of `num_steps` Euler steps, from 1 down to 0.

    Args:
        num_steps: at least 1 (NFE).
        shift: above 1 it spends more steps on high noise: shift s / (1 + (shift - 1) s), as in
            "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (2024), Sec.
            5.3.2.

    Returns:
        `num_steps` + 1 values.

    Raises:
        ValueError: an argument is out of its range.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps: expected at least 1, got {num_steps}")
    if not shift > 0:
        raise ValueError(f"shift: expected a number above 0, got {shift:g}")
    even = [1 - step / num_steps for step in range(num_steps + 1)]
    return tuple(shift * s / (1 + (shift - 1) * s) for s in even)


def position_noise(
    start: int, count: int, shape: tuple[int, int, int], *, seed: int = 0, step: int = 0
) -> Latent:
    """Return the noise of latent frames `start` to `start + count` of a video.

    The noise of a latent depends only on the seed, its frame's number, its place and the step. So a
    video gets the same noise however it is cut into windows.

    Args:
        start: number of the first latent frame.
        count: how many.
        shape: (C, H', W').
        seed: at least 0.
        step: 0 for the noise that sampling starts from, 1, 2, ... for what "renoise" adds later.

    Returns:
        `[1, C, count, H', W']` float32.

    Raises:
        ValueError: the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")
    frames = [
        np.random.default_rng((seed, frame, step)).standard_normal(shape, dtype=np.float32)
        for frame in range(start, start + count)
    ]
    return torch.from_numpy(np.stack(frames, axis=1)).unsqueeze(0)


def prepare_steps(
    transformer: Transformer,
    schedule: Sequence[float],
    context: Tensor | EncodedContext | None,
    device: torch.device | str = "cpu",
) -> list[Conditioning]:
    """Compute on `device` what the transformer needs at each noise level except the last."""
    if not isinstance(context, EncodedContext):
        context = transformer.encode_context(None if context is None else context.to(device))
    levels = torch.tensor(schedule[:-1], device=device).split(1)
    return [transformer.prepare(level, context) for level in levels]


def denoise(
    transformer: Transformer,
    noise: Latent,
    missing: Tensor,
    masked_latent: Latent,
    *,
    schedule: Sequence[float],
    conditionings: Sequence[Conditioning],
    tokens: TokenIndex | None = None,
    bucket: int | None = None,
    fresh: Callable[[int], Latent] | None = None,
) -> Latent:
    """Inpaint latents step by step; tokens that are not kept stay unchanged.

    By Euler's method z' = z + (sigma' - sigma) v; with `fresh` noise z_0 = z - sigma v and
    z' = (1 - sigma') z_0 + sigma' eps.

    Args:
        transformer: an inpainting one.
        noise: `[B, 16, T', H', W']` float32.
        missing: `[B, 4, T', H', W']`, 1 = inpaint, of `missing_channels`.
        masked_latent: `[B, 16, T', H', W']`, the encoded masked video.
        schedule: of `sigmas`.
        conditionings: of `prepare_steps`, for the same schedule.
        tokens: `[B, K]` kept tokens; None = all.
        bucket: as of the transformer; the result is the same.
        fresh: gives the noise `[B, 16, T', H', W']` after step 1, 2, ...; None = Euler's method.

    Returns:
        `[B, 16, T', H', W']` float32 (the inner B of Eq. 15).

    Raises:
        ValueError: shapes do not fit.
    """
    latent, kept = noise, {} if bucket is None else {"bucket": bucket}
    steps = zip(pairwise(schedule), conditionings, strict=True)
    for step, ((sigma, following), conditioning) in enumerate(steps, 1):
        x = inpainting_input(latent, missing, masked_latent)
        velocity = transformer(x, conditioning, tokens, **kept)
        if fresh is None or not following:
            latent = latent + (following - sigma) * velocity
        else:
            latent = torch.lerp(latent - sigma * velocity, fresh(step).to(latent), following)
    if tokens is None:
        return latent
    return blend_latents(latent, masked_latent, tokens)


def cross_fade(before: Latent, after: Latent) -> Latent:
    """Fade from one window to the next over the latent frames `[B, C, T', H', W']` of both."""
    count = before.shape[2]
    weight = torch.arange(1, count + 1, device=after.device) / (count + 1)
    return torch.lerp(before.to(after), after, weight.view(-1, 1, 1))
