"""The adversary of the distillations: it tells true clips from made ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchDiscriminator3D(nn.Module):
    """Logits of patches of a clip (PatchGAN, "Image-to-Image Translation", 2017, in three axes)."""

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
        """Return logits of `[B, channels, T, H, W]` in [0, 1]; higher = more real."""
        return self.blocks(video * 2 - 1)


def hinge_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the discriminator's hinge loss ("Geometric GAN", 2017)."""
    return 0.5 * (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean())


def discriminator_loss(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss by one call on both: DDP wants one to a backward pass."""
    logits = discriminator(torch.cat([real, fake]))
    return hinge_loss(*logits.split([len(real), len(fake)]))


def adversarial_loss(discriminator: nn.Module, video: Tensor) -> Tensor:
    """Return how fake the plain (not DDP's) discriminator finds a video; it gets no gradients."""
    discriminator.requires_grad_(False)
    try:
        return -discriminator(video).mean()
    finally:
        discriminator.requires_grad_(True)


def adaptive_weight(reference: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Return by how much two losses differ in their gradients at the last layer's weight.

    Times it, the adversarial loss pulls as hard as the other ("Taming Transformers", 2021, Eq. 7).
    """
    norms = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
        for loss in (reference, adversarial)
    ]
    return (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()
