"""One step's fills held to a frozen teacher's distribution, with no true picture of a hole.

After "One-step diffusion with distribution matching distillation" (Yin et al., 2024), Eq. 7, with
the mask as the known operator of "InstantViR" (2025): what is known of a clip is its data term.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from objectives.losses import draw_timesteps, flow_noise, weighted_mse

TIMES = 0.02, 0.98
"""Near the ends there is nothing to tell apart, or nothing but noise."""


def known_error(predicted: Tensor, batch: dict[str, Any]) -> Tensor:
    """Return the squared error of latents without a hole, against the masked clip's own."""
    known = 1 - batch["missing"].float().amax(1, keepdim=True)
    return weighted_mse(predicted, batch["masked_latent"], known)


def matching_loss(
    teacher: nn.Module,
    critic: nn.Module,
    batch: dict[str, Any],
    predicted: Tensor,
    shift: float,
) -> Tensor:
    """Return a loss whose gradient pulls predicted latents to where the teacher has more of them.

    At a random time, the teacher says where the clips lie that it would make, the critic where
    those of the trained model lie; their difference is the gradient, in units of the teacher's.

    Args:
        teacher: frozen, of a `FlowModel`.
        critic: one that learns by `critic_loss`.
        batch: with `masked_latent` and `missing`; `latent` is not looked at.
        predicted: one step's latents `[B, 16, T', H', W']`.
        shift: of the times, towards noise.
    """
    missing, masked_latent = batch["missing"].float(), batch["masked_latent"].float()
    with torch.no_grad():
        noisy, t, _ = _noised(predicted, shift)
        time = t.view(-1, 1, 1, 1, 1)
        wanted, made = (
            noisy - time * model(noisy, missing, masked_latent, t, None).float()
            for model in (teacher, critic)
        )
        hole = missing.amax(1, keepdim=True)
        distance = ((predicted - wanted).abs().mean(1, keepdim=True) * hole).flatten(1).sum(1)
        unit = distance / hole.flatten(1).sum(1).clamp(min=1e-6)
        pull = (made - wanted) / unit.clamp(min=1e-3).view(-1, 1, 1, 1, 1)
        target = predicted - pull
    return 0.5 * weighted_mse(predicted, target, hole)


def critic_loss(module: nn.Module, batch: dict[str, Any], shift: float) -> dict[str, Tensor]:
    """Return the flow's loss of the critic on `predicted`, which the trained model left there."""
    predicted, missing = batch["predicted"], batch["missing"].float()
    noisy, t, velocity = _noised(predicted, shift)
    found = module(noisy, missing, batch["masked_latent"].float(), t, None)
    return {"loss": weighted_mse(found, velocity, missing.amax(1, keepdim=True).clamp(min=0.05))}


def _noised(latent: Tensor, shift: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return z_t, t and the velocity at random times."""
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    t = draw_timesteps(len(latent), one_step=0, shift=shift, generator=generator).to(latent.device)
    t = t.clamp(*TIMES)
    noisy, velocity = flow_noise(latent, torch.randn_like(latent), t)
    return noisy, t, velocity
