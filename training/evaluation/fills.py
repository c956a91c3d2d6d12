"""Inpainters as the plain functions that the evaluation compares."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dreamstereo_core import ClassicInpainter, Inpainter
from dreamstereo_core.fill import MiniInpainter
from dreamstereo_core.masks import wide_parts
from dreamstereo_core.models.conditioning import missing_channels, to_latent_mask
from dreamstereo_core.models.inpainter import touched_tokens
from dreamstereo_core.models.sparse import select_tokens

Fill = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Video, holes and disparity to a video: see `baselines`."""
DENSE = "dense"


class ModelFill:
    """An inpainter as a `Fill`, with its options."""

    def __init__(
        self, inpainter: Inpainter, *, num_steps: int, dilation: int | str, seed: int
    ) -> None:
        self.inpainter, self.num_steps, self.seed = inpainter, num_steps, seed
        self.dilation = dilation

    def __call__(self, video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
        """Fill one clip."""
        return self.inpainter.inpaint(
            video,
            mask,
            disparity=disparity,
            num_steps=self.num_steps,
            dilation=kernel(self.dilation, mask),
            seed=self.seed,
        )

    def tokens_kept(self, mask: Tensor) -> float:
        """Return the share of tokens that are computed for `[T, 1, H, W]`."""
        dilation = kernel(self.dilation, mask)
        if isinstance(self.inpainter, MiniInpainter):
            wide = wide_parts(mask, self.inpainter.narrow)
            return float(touched_tokens(wide, dilation).float().mean())
        frames, _, height, width = mask.shape
        pad = (0, -width % 16, 0, -height % 16, 0, 0, 0, -(frames - 1) % 4)
        video = torch.nn.functional.pad(mask, pad).transpose(0, 1)[None]
        latent = to_latent_mask(missing_channels(video))
        return select_tokens(latent, dilation=dilation).shape[1] / (latent.numel() / 4)


def has_tokens(inpainter: Inpainter) -> bool:
    """Return whether it computes tokens around the holes."""
    return not isinstance(inpainter, ClassicInpainter)


def kernel(dilation: int | str, mask: Tensor) -> int:
    """Return a dilation in tokens; "dense" reaches over the whole frame from anywhere."""
    return 2 * (max(mask.shape[-2:]) // 16 + 1) + 1 if dilation == DENSE else int(dilation)
