"""The outer part of `mini`: convolutions on cells of pixels, down to tokens and up again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..types import OcclusionMask, Video

CELL = 4
"""Side in pixels of a cell at the finest scale; at each further scale it is twice as large."""
WIDTHS = (32, 64)
"""Channels at each scale except the coarsest."""
BLOCKS = (1, 2)
"""Residual blocks at each of these scales, on the way down and again on the way up."""
COARSEST = CELL * 2 ** len(WIDTHS)
"""Side in pixels of a cell at the coarsest scale, the same as a token of Wan's."""


class UNet(nn.Module):
    """Takes filled frames with their holes, and returns what is to be added to them.

    The caller processes the features of the coarsest scale between `encode` and `decode`.

    Args:
        width: channels at the coarsest scale.
        operations: a namespace with `Conv2d`: torch.nn, or one whose layers cast their weights.
    """

    def __init__(self, width: int, operations: Any = nn):
        super().__init__()

        def blocks(width: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(_Residual(width, operations) for _ in range(count)))

        pairs = list(pairwise([*WIDTHS, width]))
        self.enter = operations.Conv2d(4 * CELL**2, WIDTHS[0], 3, padding=1)
        self.down = nn.ModuleList(blocks(w, n) for w, n in zip(WIDTHS, BLOCKS, strict=True))
        self.shrink = nn.ModuleList(operations.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.grow = nn.ModuleList(operations.Conv2d(b, 4 * a, 1) for a, b in pairs)
        self.up = nn.ModuleList(blocks(w, n) for w, n in zip(WIDTHS, BLOCKS, strict=True))
        self.leave = operations.Conv2d(WIDTHS[0], 3 * CELL**2, 3, padding=1)

    def initialize_weights(self) -> None:
        """Draw the weights for training from scratch, so that at first nothing is added."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
        for module in self.modules():
            if isinstance(module, _Residual):
                nn.init.zeros_(module.second.weight)
        nn.init.zeros_(self.leave.weight)

    def encode(self, filled: Video, occlusion_mask: OcclusionMask) -> list[Tensor]:
        """Return features of frames, one `[T, C, h, w]` for each scale, the coarsest last.

        Args:
            filled: frames with their holes filled, `[T, 3, H, W]`, any H and W.
            occlusion_mask: `[T, 1, H, W]`, 1 in the holes, else 0.
        """
        height, width = filled.shape[-2:]
        x = torch.cat([filled - 0.5, occlusion_mask], dim=1)
        x = F.pad(x, (0, -width % COARSEST, 0, -height % COARSEST), mode="replicate")
        x = self.enter(F.pixel_unshuffle(x, CELL).contiguous(memory_format=torch.channels_last))
        features = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            features.append(blocks(x))
            x = shrink(F.relu(features[-1]))
        return [*features, x]

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Video:
        """Return what is to be added, `[T, 3, H, W]`, given the features of all scales."""
        *finer, x = features
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = blocks(finer.pop() + F.pixel_shuffle(grow(x), 2))
        return F.pixel_shuffle(self.leave(F.relu(x)), CELL)[..., : size[0], : size[1]]


class _Residual(nn.Module):
    def __init__(self, width: int, operations: Any):
        super().__init__()
        self.first = operations.Conv2d(width, width, 3, padding=1)
        self.second = operations.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))
