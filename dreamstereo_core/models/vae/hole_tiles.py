"""Decode only the tiles that have holes, for a decoder that sees the picture.

Elsewhere the picture is known. A decoder of video remembers earlier frames: where a tile starts,
the latents before it are decoded there, too, as far back as its layers reach. So a tile is the same
as in the whole picture.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import VideoVAE
from .tiles import Memory, Region, first_growing, grid, lookback, plan, run_region, run_steps

TILE = 192
"""Side of a tile in pixels."""
_MARGIN = 16
"""Pixels around a tile in which a hole counts, too: tones are compared that far around holes."""


class HoleDecoder:
    """Decodes a shot, latent by latent.

    Args:
        vae: one that is `conditioned`.
        tile: side of a tile in pixels, a multiple of 8.
    """

    def __init__(self, vae: VideoVAE, tile: int = TILE):
        self.vae, self.tile = vae, tile
        self._whole: Memory = None
        self._tiles: dict[Region, Memory] = {}
        self._idle: dict[Region, int] = {}  # latents since a tile's last hole
        self._recent: deque[tuple[Tensor, Tensor]] | None = None

    @torch.no_grad()
    def decode(self, latent: Tensor, picture: Tensor) -> Tensor:
        """Return the frames ``[B, 3, T, 8 h, 8 w]`` in [0, 1]; tiles without holes are the picture.

        Args:
            latent: ``[B, 16, 1, h, w]``, the next one of the shot.
            picture: ``[B, 4, T, 8 h, 8 w]`` of `see`, of its frames: one at first, then four.

        Raises:
            ValueError: the picture has another shape.
        """
        beside = self.vae.beside(latent, picture)
        assert beside is not None  # it is conditioned
        steps = self.vae.decoder_steps(beside)
        border = first_growing(steps)
        growing = steps[border:]
        x, self._whole = run_steps(steps[:border], self.vae.decoder_input(latent), self._whole)
        if self._recent is None:
            self._recent = deque(maxlen=lookback(growing) + 1)
        video = picture[:, :3].float() / 2 + 0.5
        height, width = x.shape[-2:]
        for region in self._active(picture):
            crops = plan(growing, height, width, region)
            if region not in self._tiles:
                self._tiles[region] = self._warmed(border, crops)
            tile, self._tiles[region] = run_region(growing, x, self._tiles[region], crops)
            region.crop(video).copy_(self.vae.from_network(tile).clamp(0, 1))
        self._recent.append((x, beside))
        return video

    def _active(self, picture: Tensor) -> list[Region]:
        """Return the tiles that have holes, or had one as short ago as the decoder reaches back."""
        height, width = picture.shape[-2:]
        regions = grid(height, width, self.tile)
        missing = (picture[:, 3:] <= 0).float().amax((0, 1, 2))[None, None]
        missing = F.max_pool2d(missing, 2 * _MARGIN + 1, 1, _MARGIN)
        touched = F.max_pool2d(missing, self.tile, ceil_mode=True).flatten().tolist()
        most = (self._recent.maxlen or 0) if self._recent is not None else 0
        for region, hole in zip(regions, touched, strict=True):
            self._idle[region] = 0 if hole else self._idle.get(region, most) + 1
            if self._idle[region] > most:
                self._tiles.pop(region, None)
        return [region for region in regions if self._idle[region] <= most]

    def _warmed(self, border: int, crops: list[Region]) -> Memory:
        """Return a tile's memory of the latents before."""
        if not self._recent:
            return None
        x, beside = (torch.cat(parts, 2) for parts in zip(*self._recent, strict=True))
        steps = self.vae.decoder_steps(beside)[border:]
        return run_region(steps, x, None, crops)[1]
