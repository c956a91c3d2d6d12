"""The pixels' last word: a small network that sees the first fill at full resolution.

Latents cannot carry the fine grain of what lies around a hole. After "Designing a Better Asymmetric
VQGAN for StableDiffusion" (2023), whose decoder is told the known pixels and the mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..types import OcclusionMask, Video

FINE, COARSE = 4, 8
"""Pixels of a cell's side at the two scales that it works on."""
WIDTHS = (32, 64)
BLOCKS = 4
"""At the coarse scale; the fine one has one on the way down and one on the way up."""


class Refiner(nn.Module):
    """Adds to frames filled by a residual transformer what their latents could not carry.

    Args:
        operations: namespace of `Conv2d`; torch.nn's, or others that cast weights as they run.
    """

    def __init__(self, operations: Any = nn):
        super().__init__()
        fine, coarse = WIDTHS
        self.enter = operations.Conv2d(7 * FINE**2, fine, 3, padding=1)
        self.down = _Residual(fine, operations)
        self.shrink = operations.Conv2d(fine, coarse, 2, stride=2)
        self.middle = nn.Sequential(*(_Residual(coarse, operations) for _ in range(BLOCKS)))
        self.grow = operations.Conv2d(coarse, 4 * fine, 1)
        self.up = _Residual(fine, operations)
        self.leave = operations.Conv2d(fine, 3 * FINE**2, 3, padding=1)

    def initialize_weights(self) -> None:
        """Draw the weights for a training from scratch; it starts by adding nothing."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
            elif isinstance(module, _Residual):
                nn.init.zeros_(module.second.weight)
        nn.init.zeros_(self.leave.weight)

    def forward(self, filled: Video, first: Video, occlusion_mask: OcclusionMask) -> Video:
        """Return better frames `[T, 3, H, W]`, any H and W.

        Args:
            filled: the first fill with the decoded correction, `[T, 3, H, W]`.
            first: the first fill, `[T, 3, H, W]`; known pixels are themselves.
            occlusion_mask: `[T, 1, H, W]`, 1 in the holes that were inpainted.
        """
        height, width = filled.shape[-2:]
        x = torch.cat([filled - first, first - 0.5, occlusion_mask], dim=1).to(self.enter.weight)
        x = F.pad(x, (0, -width % COARSE, 0, -height % COARSE), mode="replicate")
        fine = self.down(self.enter(F.pixel_unshuffle(x, FINE)))
        coarse = self.middle(F.relu(self.shrink(fine)))
        fine = self.up(fine + F.pixel_shuffle(self.grow(coarse), 2))
        added = F.pixel_shuffle(self.leave(F.relu(fine)), FINE)
        return filled + added[..., :height, :width].to(filled)


class _Residual(nn.Module):
    def __init__(self, width: int, operations: Any):
        super().__init__()
        self.first = operations.Conv2d(width, width, 3, padding=1)
        self.second = operations.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))
