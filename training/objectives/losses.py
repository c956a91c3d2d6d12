"""What the recipes minimise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LEAST_ERROR = 0.01
"""Of a first fill, to which a correction's error is compared: below it is good enough."""


def weighted_sum(
    parts: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]
) -> dict[str, Tensor]:
    """Return `loss`, the sum of all parts times their weights, and the parts beside it."""
    total = sum((weights[name] * part for name, part in parts.items()), torch.zeros(()))
    return {"loss": total, **parts}


def flow_noise(latent: Tensor, noise: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """Return z_t = (1 - t) z_0 + t eps and the velocity eps - z_0 (paper, Sec. 3.3).

    `latent` and `noise` are `[B, C, T', H', W']`, `timestep` is `[B]` in [0, 1].
    """
    t = timestep.view(-1, 1, 1, 1, 1)
    return (1 - t) * latent + t * noise, noise - latent


def draw_timesteps(
    count: int, *, one_step: float, shift: float, generator: torch.Generator
) -> Tensor:
    """Draw `[count]` timesteps: 1 with the probability `one_step`, else shifted towards noise."""
    u = torch.rand(count, generator=generator)
    shifted = shift * u / (1 + (shift - 1) * u)
    pure = torch.rand(count, generator=generator) < one_step
    return torch.where(pure, 1.0, shifted)


def weighted_mse(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the squared error of `[B, C, ...]`, weighted by `[B, 1, ...]`; clips count alike."""
    error = (prediction.float() - target.float()).square().mean(1, keepdim=True) * weight
    return (error.flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1e-6)).mean()


def mean_error(video: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return each clip's L1 distance `[B]`, weighted by `[B, 1, ...]`."""
    error = (video - truth).abs() * weight
    return error.flatten(1).sum(1) / (3 * weight.flatten(1).sum(1)).clamp(min=1e-6)


def root_error(video: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return each clip's root mean squared distance `[B]`, weighted by `[B, 1, ...]`."""
    error = (video - truth).square() * weight
    mean = error.flatten(1).sum(1) / (3 * weight.flatten(1).sum(1)).clamp(min=1e-6)
    return (mean + 1e-8).sqrt()  # the root's slope at 0 is infinite


def hole_weight(missing: Tensor, known: float) -> Tensor:
    """Return `[B, 1, T', H', W']`: 1 where `missing` `[B, 4, T', H', W']` is, else `known`."""
    return missing.amax(1, keepdim=True).clamp(min=known)


def kl(mean: Tensor, log_variance: Tensor | None) -> Tensor:
    """Return the KL divergence from N(0, 1), a mean; without a variance, of its mean alone."""
    if log_variance is None:
        return 0.5 * mean.float().square().mean()
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
