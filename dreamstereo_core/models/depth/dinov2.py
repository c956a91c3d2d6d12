"""DINOv2, the image encoder of Depth Anything (Oquab et al., 2024), under its published names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 14
"""Side of a token in pixels."""

_EPS = 1e-6
# The published interpolation of positions aims a tenth of a token beyond the grid and samples at
# that scale. The weights were trained with it.
_BEYOND = 0.1


class DinoV2(nn.Module):
    """A vision transformer on patches of 14 x 14 pixels, without registers.

    Args:
        dim: width of a token.
        num_layers: number of the transformer's layers.
        num_heads: number of heads of each attention.
        grid: tokens along a side of the square pictures on which the positions were learned.
    """

    def __init__(self, dim: int, num_layers: int, num_heads: int, grid: int = 37):
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # for training, but in the file
        self.patch_embed = _PatchEmbed(dim)
        self.blocks = nn.ModuleList(_Block(dim, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim, eps=_EPS)

    def forward(self, pixels: Tensor, layers: Sequence[int]) -> Tensor:
        """Return the patches' features after the given layers, normalised.

        Args:
            pixels: ``[B, 3, H, W]``, normalised by ImageNet's mean and deviation; H and W are
                multiples of 14.
            layers: their numbers, from 0 on, ascending.

        Returns:
            ``[B, len(layers), H/14 * W/14, dim]``.
        """
        height, width = (side // PATCH for side in pixels.shape[2:])
        x = self.patch_embed(pixels)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1)
        x = x + self._positions(height, width)
        kept = []
        for i, block in enumerate(self.blocks[: layers[-1] + 1]):
            x = block(x)
            if i in layers:
                kept.append(self.norm(x)[:, 1:])
        return torch.stack(kept, dim=1)

    def _positions(self, height: int, width: int) -> Tensor:
        """Return the positions of the class token and of a grid, ``[1, 1 + height * width, dim]``.

        As published, they are interpolated unless the grid is the square that they were learned on.
        """
        if height == width == self.grid:
            return self.pos_embed
        first, patches = self.pos_embed.split((1, self.grid**2), dim=1)
        patches = patches.unflatten(1, (self.grid, self.grid)).movedim(3, 1)  # [1, dim, g, g]
        scale = ((height + _BEYOND) / self.grid, (width + _BEYOND) / self.grid)
        patches = F.interpolate(patches, scale_factor=scale, mode="bicubic")
        return torch.cat((first, patches.flatten(2).transpose(1, 2)), dim=1)


class _PatchEmbed(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).flatten(2).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=_EPS)
        self.attn = _Attention(dim, num_heads)
        self.ls1 = _LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = _Mlp(dim)
        self.ls2 = _LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # [B, L, 3, heads, head_dim]
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(query, key, value)
        return self.proj(x.transpose(1, 2).flatten(2))


class _LayerScale(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Mlp(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))
