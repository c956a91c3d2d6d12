"""What the recipes minimise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_ERROR = 0.01
"""Of a first fill, to which a correction's error is compared: below it is good enough."""


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


def edge_loss(a: Tensor, b: Tensor) -> Tensor:
    """Return the L1 distance of the slopes along x and y of `[..., H, W]`: it keeps edges sharp."""
    d = a - b
    return (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's hinge loss ("Geometric GAN", 2017)."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def judge_both(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss, by one call on both: DDP wants one to a backward pass."""
    verdicts = judge(torch.cat([real, fake]))
    return hinge_discriminator(*verdicts.split([len(real), len(fake)]))


def verdict(judge: nn.Module, video: Tensor) -> Tensor:
    """Return what the plain (not DDP's) discriminator says, with gradients for the video alone."""
    judge.requires_grad_(False)
    try:
        return judge(video)
    finally:
        judge.requires_grad_(True)


def adaptive_weight(reference: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Return by how much two losses differ in their gradients at the last layer's weight.

    Times it, the adversarial loss pulls as hard as the other ("Taming Transformers", 2021, Eq. 7).
    """
    norms = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
        for loss in (reference, adversarial)
    ]
    return (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()


class PatchDiscriminator3D(nn.Module):
    """Judges patches of a clip (PatchGAN of "Image-to-Image Translation", 2017, in three axes)."""

    def __init__(self, width: int = 64, layers: int = 3, channels: int = 3):
        super().__init__()
        blocks: list[nn.Module] = [
            nn.Conv3d(channels, width, (3, 4, 4), (1, 2, 2), (1, 1, 1)),
            nn.LeakyReLU(0.2),
        ]
        for i in range(1, layers + 1):
            before, after = width * min(2 ** (i - 1), 8), width * min(2**i, 8)
            stride = (1, 1, 1) if i == layers else (2 if i == 1 else 1, 2, 2)
            blocks += [
                nn.Conv3d(before, after, (3, 4, 4), stride, (1, 1, 1), bias=False),
                nn.GroupNorm(min(8, after), after),
                nn.LeakyReLU(0.2),
            ]
        last = width * min(2**layers, 8)
        self.blocks = nn.Sequential(*blocks, nn.Conv3d(last, 1, (3, 4, 4), 1, (1, 1, 1)))

    def forward(self, video: Tensor) -> Tensor:
        """Judge `[B, channels, T, H, W]` in [0, 1]; higher = more real."""
        return self.blocks(video * 2 - 1)
