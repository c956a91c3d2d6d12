"""A small network that sees a fill at full resolution, and what is around it, and makes it better.

It is `mini`'s, and the last word behind a residual transformer, whose latents cannot carry the fine
grain of what lies around a hole: after "Designing a Better Asymmetric VQGAN for StableDiffusion"
(2023), whose decoder is told the known pixels and the mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..types import OcclusionMask, Video
from .checkpoint_file import CheckpointError, open_checkpoint, save_checkpoint
from .vae_base import channels_innermost

CELL = 4
"""Pixels of a cell's side at the finest scale that it works on; the next are twice as large."""
WIDTHS = (32, 64, 96)
"""Channels at each scale."""
BLOCKS = (1, 2, 4)
"""At each scale; all but the coarsest have as many on the way up again."""
KIND = "refiner"


class Refiner(nn.Module):
    """Adds to filled holes what the fill has got wrong; known pixels stay as they are.

    A U-Net on cells of pixels.

    Args:
        operations: namespace of `Conv2d`; torch.nn's, or others that cast weights as they run.
    """

    def __init__(self, operations: Any = nn):
        super().__init__()

        def blocks(width: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(_Residual(width, operations) for _ in range(count)))

        pairs = list(pairwise(WIDTHS))
        self.enter = operations.Conv2d(7 * CELL**2, WIDTHS[0], 3, padding=1)
        self.down = nn.ModuleList(blocks(w, n) for w, n in zip(WIDTHS[:-1], BLOCKS, strict=False))
        self.shrink = nn.ModuleList(operations.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.middle = blocks(WIDTHS[-1], BLOCKS[-1])
        self.grow = nn.ModuleList(operations.Conv2d(b, 4 * a, 1) for a, b in pairs)
        self.up = nn.ModuleList(blocks(w, n) for w, n in zip(WIDTHS[:-1], BLOCKS, strict=False))
        self.leave = operations.Conv2d(WIDTHS[0], 3 * CELL**2, 3, padding=1)

    def initialize_weights(self) -> None:
        """Draw the weights for a training from scratch; it starts by adding nothing."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
        for module in self.modules():
            if isinstance(module, _Residual):
                nn.init.zeros_(module.second.weight)
        nn.init.zeros_(self.leave.weight)
        # Without a transformer there is no correction to look at, and nothing to learn from it.
        nn.init.zeros_(self.enter.weight[:, : 3 * CELL**2])

    def forward(self, filled: Video, first: Video, occlusion_mask: OcclusionMask) -> Video:
        """Return better frames `[T, 3, H, W]`, any H and W.

        Args:
            filled: frames with their holes filled, `[T, 3, H, W]`.
            first: what a transformer's correction was added to, `[T, 3, H, W]`; else `filled`.
            occlusion_mask: `[T, 1, H, W]`, 1 in the holes that are to be refined, else 0.
        """
        height, width = filled.shape[-2:]
        x = torch.cat([filled - first, first - 0.5, occlusion_mask], dim=1).to(self.enter.weight)
        coarsest = CELL * 2 ** (len(WIDTHS) - 1)
        x = F.pad(x, (0, -width % coarsest, 0, -height % coarsest), mode="replicate")
        x = self.enter(F.pixel_unshuffle(x, CELL).contiguous(memory_format=torch.channels_last))
        passed = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            passed.append(blocks(x))
            x = shrink(F.relu(passed[-1]))
        x = self.middle(x)
        for blocks, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = blocks(passed.pop() + F.pixel_shuffle(grow(x), 2))
        added = F.pixel_shuffle(self.leave(F.relu(x)), CELL)[..., :height, :width]
        return filled + added.to(filled) * occlusion_mask.to(filled)


class _Residual(nn.Module):
    def __init__(self, width: int, operations: Any):
        super().__init__()
        self.first = operations.Conv2d(width, width, 3, padding=1)
        self.second = operations.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


def save_refiner(
    refiner: Refiner,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file that `load_refiner` reads."""
    weights = {
        name: weight.detach().to("cpu", dtype) for name, weight in refiner.state_dict().items()
    }
    config = json.dumps({"cell": CELL, "widths": WIDTHS, "blocks": BLOCKS})
    save_checkpoint(path, weights, kind=KIND, config=config, metadata=metadata)


def load_refiner(
    path: str | Path, *, device: str | torch.device = "cpu", operations: Any = nn
) -> Refiner:
    """Load a refiner; it computes in float32.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it holds no refiner, or one of other sizes.
    """
    file = open_checkpoint(path)
    if file.kind != KIND:
        raise CheckpointError(f"{file.path}: expected a DreamStereo refiner")
    with torch.device("meta"):
        refiner = Refiner(operations)
    expected = {name: tuple(weight.shape) for name, weight in refiner.state_dict().items()}
    if expected != dict(file.shapes):
        raise CheckpointError(
            f"{file.path}: expected a refiner of widths {WIDTHS} and blocks {BLOCKS}, "
            f"got {file.config}"
        )
    weights = {name: file.read(name).float() for name in expected}
    refiner.load_state_dict(weights, assign=True)
    channels_innermost(refiner)
    return refiner.to(device).eval().requires_grad_(False)
