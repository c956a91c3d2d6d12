"""Real holes: the shipped clip's second shot with embedded depth, warped at any size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import (
    gapw_warp,
    inverse_depth_to_disparity,
    load_depth,
    read_frames,
    select_tokens,
)
from dreamstereo_core.depth import normalize, upsample_inverse_depth
from dreamstereo_core.masks import dilate
from dreamstereo_core.models.conditioning import missing_channels, to_latent_mask
from dreamstereo_core.types import OcclusionMask, TokenIndex

DEMO = Path(__file__).parents[2] / "docs" / "demo.mp4"
SHOT = (35, 116)  # 81 frames
CELL = 16  # px of a token's side
DILATIONS = (3, 5)


@dataclass(frozen=True)
class KeptTokens:
    """Tokens to keep, and how they came about."""

    tokens: TokenIndex
    count: int
    """Of all tokens, N."""
    max_disparity: float
    dilation: int
    real_retention: float
    """Before tokens were taken away or added to meet the rate that was asked for."""
    touched: TokenIndex
    """Those of the kept ones that the holes themselves touch."""

    @property
    def retention(self) -> float:
        """Kept tokens / N."""
        return self.tokens.shape[1] / self.count


@dataclass(frozen=True)
class Clip:
    """The inverse depth `[T, 1, H, W]` of the shot's first T frames."""

    inverse_depth: Tensor

    def __hash__(self) -> int:
        return id(self)

    @cache  # noqa: B019  the clip lives as long as the benchmark
    def mask(self, max_disparity: float) -> OcclusionMask:
        """Return the holes `[T, 1, H, W]` of the right eye, as the pipeline makes them."""
        holes = []
        for depth in self.inverse_depth.split(1):
            grown = dilate(depth, round(depth.shape[-1] / 640))
            disparity = inverse_depth_to_disparity(
                grown, max_disparity=max_disparity, convergence=float(depth.median())
            )
            holes.append(gapw_warp(depth.expand(-1, 3, -1, -1), disparity).occlusion_mask)
        return torch.cat(holes)

    def keep(self, max_disparity: float, dilation: int) -> KeptTokens:
        """Return the tokens around the holes."""
        latent_mask = latent_mask_of(self.mask(max_disparity))
        tokens = select_tokens(latent_mask, dilation=dilation)
        count = latent_mask.numel() // 4
        touched = select_tokens(latent_mask, dilation=1)
        retention = tokens.shape[1] / count
        return KeptTokens(tokens, count, max_disparity, dilation, retention, touched)

    def keep_share(self, retention: float) -> KeptTokens:
        """Return that share of the tokens, from the holes that come nearest to it by themselves.

        What is missing is added, what is too much taken away, evenly over the clip.
        """
        candidates = [self._search(retention, dilation) for dilation in DILATIONS]
        # Of two that fit, the one whose depth is nearer to the usual 3 % of the width.
        best = min(
            candidates,
            key=lambda c: (abs(c.retention - retention) > 0.01, abs(c.max_disparity - 3)),
        )
        tokens = exactly(best.tokens, best.count, round(retention * best.count))
        touched = best.touched[torch.isin(best.touched, tokens)][None]
        return replace(best, tokens=tokens, touched=touched)

    def _search(self, retention: float, dilation: int) -> KeptTokens:
        low, high = 0.0, 16.0
        tried = []
        for _ in range(8):
            middle = (low + high) / 2
            tried.append(self.keep(middle, dilation))
            if tried[-1].retention < retention:
                low = middle
            else:
                high = middle
        return min(tried, key=lambda kept: abs(kept.retention - retention))


def load_clip(height: int, width: int, frames: int) -> Clip:
    """Estimate the depth of the shot's first frames at that size, on one scale."""
    start, stop = SHOT
    if not 1 <= frames <= stop - start:
        raise ValueError(f"frames: expected 1 to {stop - start}, got {frames}")
    estimator = load_depth("cues")
    state, raw, pictures = None, [], []
    for frame in read_frames(DEMO, start, start + frames):
        picture = frame.pixels[None]
        depth, state = estimator.predict(picture, state, new_shot=state is None)
        raw.append(depth)
        pictures.append(F.interpolate(picture, (height, width), mode="bilinear", antialias=True))
    low, high = (float(extreme) for extreme in torch.cat(raw).aminmax())
    return Clip(
        torch.cat(
            [
                upsample_inverse_depth(normalize(depth, low, high), picture)
                for depth, picture in zip(raw, pictures, strict=True)
            ]
        )
    )


def latent_mask_of(mask: OcclusionMask) -> Tensor:
    """Bring holes `[T, 1, H, W]` to latents, filled up to whole tokens and groups of frames."""
    frames, _, height, width = mask.shape
    padded = F.pad(mask, (0, -width % CELL, 0, -height % CELL))
    padded = torch.cat([padded, padded[-1:].expand((1 - frames) % 4, -1, -1, -1)])
    return to_latent_mask(missing_channels(padded.movedim(1, 0)[None]))


def exactly(tokens: TokenIndex, count: int, wanted: int) -> TokenIndex:
    """Take away kept tokens `[1, K]`, or add others of the `count`, evenly, until K = wanted."""
    kept = tokens[0]
    if len(kept) > wanted:
        return kept[_spread(len(kept), wanted)][None]
    dropped = torch.ones(count, dtype=torch.bool)
    dropped[kept] = False
    others = dropped.nonzero()[:, 0]
    added = others[_spread(len(others), wanted - len(kept))]
    return torch.cat([kept, added]).sort().values[None]


def _spread(length: int, count: int) -> Tensor:
    """Return `count` different indices below `length`, evenly spaced."""
    return torch.arange(count) * length // max(count, 1)
