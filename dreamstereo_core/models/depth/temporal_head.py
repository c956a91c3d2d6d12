"""Video-Depth-Anything's head: DPT with attention over time, under its published names.

It follows Chen et al., "Video Depth Anything: Consistent Depth Estimation for Super-Long Videos"
(CVPR 2025). The attention over time is AnimateDiff's motion module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dinov2 import PATCH

WINDOW = 32
"""Largest number of frames that attend to each other."""

_HEADS = 8
_GROUPS = 32
_OUT_WIDTH = 32  # channels before the last convolution
_FRAMES_AT_ONCE = 4  # frames, in the parts of high resolution that work on single frames
_VALUES_AT_ONCE = 2**25  # values in the widest layer of the attention over time


class TemporalHead(nn.Module):
    """Depth of a window of frames, from four layers of an encoder's tokens.

    Args:
        dim: width of the encoder's tokens.
        features: channels in the pyramid.
        widths: channels of the four layers, fine to coarse.
    """

    def __init__(self, dim: int, features: int, widths: Sequence[int]):
        super().__init__()
        first, second, _, fourth = widths
        self.projects = nn.ModuleList(nn.Conv2d(dim, width, 1) for width in widths)
        self.resize_layers = nn.ModuleList(
            (
                nn.ConvTranspose2d(first, first, 4, 4),
                nn.ConvTranspose2d(second, second, 2, 2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, 2, 1),
            )
        )
        self.scratch = _Pyramid(features, widths)
        self.motion_modules = nn.ModuleList(
            _MotionModule(width) for width in (*widths[2:], features, features)
        )

    def forward(self, tokens: Tensor, size: tuple[int, int], count: int | None = None) -> Tensor:
        """Return the depth ``[count, 1, H, W]`` of the first `count` frames, at least 0.

        Args:
            tokens: ``[T, 4, H/14 * W/14, dim]``, T at most 32; each frame sees them all.
            size: (H, W) of the frames.
            count: frames wanted; None = all.
        """
        grid = (size[0] // PATCH, size[1] // PATCH)
        scratch = self.scratch
        third = self.motion_modules[0](self._layer(tokens, 2, grid))  # [T, C, h, w]
        fourth = self.motion_modules[1](self._layer(tokens, 3, grid))  # [T, C, h/2, w/2]
        third, fourth = scratch.layer3_rn(third), scratch.layer4_rn(fourth)
        x = self.motion_modules[2](scratch.refinenet4(fourth, None, grid))
        double = (2 * grid[0], 2 * grid[1])
        x = self.motion_modules[3](scratch.refinenet3(x, third, double))
        frames = zip(
            x[:count].split(_FRAMES_AT_ONCE), tokens[:count].split(_FRAMES_AT_ONCE), strict=True
        )
        return torch.cat([self._refine(part, kept, grid, size) for part, kept in frames])

    def _layer(self, tokens: Tensor, i: int, grid: tuple[int, int]) -> Tensor:
        """Return one layer of tokens as a picture ``[T, C, h, w]``."""
        picture = tokens[:, i].transpose(1, 2).unflatten(2, grid)
        return self.resize_layers[i](self.projects[i](picture))

    def _refine(
        self, x: Tensor, tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        """Enlarge to the full size, each frame by itself."""
        scratch = self.scratch
        second = scratch.layer2_rn(self._layer(tokens, 1, grid))
        first = scratch.layer1_rn(self._layer(tokens, 0, grid))
        x = scratch.refinenet2(x, second, (4 * grid[0], 4 * grid[1]))
        x = scratch.refinenet1(x, first, (8 * grid[0], 8 * grid[1]))
        x = _resize(scratch.output_conv1(x), size)
        with torch.autocast(x.device.type, enabled=False):  # depth needs more than 11 bits
            return scratch.output_conv2(x.float())


class _Pyramid(nn.Module):
    def __init__(self, features: int, widths: Sequence[int]):
        super().__init__()
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(width, features, 3, padding=1, bias=False) for width in widths
        )
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = (
            _Fusion(features) for _ in widths
        )
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, _OUT_WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_OUT_WIDTH, 1, 1),
            nn.ReLU(),
        )


class _Fusion(nn.Module):
    """Add a finer layer and enlarge to a size."""

    def __init__(self, features: int):
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        self.resConfUnit1 = _ResidualConv(features)  # the coarsest layer has it as well, unused
        self.resConfUnit2 = _ResidualConv(features)

    def forward(self, x: Tensor, finer: Tensor | None, size: tuple[int, int]) -> Tensor:
        if finer is not None:
            x = x + self.resConfUnit1(finer)
        return self.out_conv(_resize(self.resConfUnit2(x), size))


class _ResidualConv(nn.Module):
    def __init__(self, features: int):
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


class _MotionModule(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.temporal_transformer = _TemporalTransformer(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.temporal_transformer(x)


class _TemporalTransformer(nn.Module):
    """Let each pixel of ``[T, C, h, w]`` attend to the same pixel in the other frames."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, dim, eps=1e-6)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([_TemporalBlock(dim)])
        self.proj_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).permute(2, 0, 1)  # [h * w, T, C]
        # Pixels are independent, so only some are computed at once, which bounds the memory.
        at_once = max(1, _VALUES_AT_ONCE // (8 * pixels[0].numel()))
        moved = torch.cat([self._attend(part) for part in pixels.split(at_once)])
        return x + moved.permute(1, 2, 0).unflatten(2, x.shape[2:])

    def _attend(self, x: Tensor) -> Tensor:
        x = self.proj_in(x)
        for block in self.transformer_blocks:
            x = block(x)
        return self.proj_out(x)


class _TemporalBlock(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.attention_blocks = nn.ModuleList(_TemporalAttention(dim) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.ff = _FeedForward(dim)
        self.ff_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))


class _TemporalAttention(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.pos_encoder = _Positions(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pos_encoder(x)
        query, key, value = (
            project(x).unflatten(2, (_HEADS, -1)).transpose(1, 2)  # [pixels, heads, T, head_dim]
            for project in (self.to_q, self.to_k, self.to_v)
        )
        x = F.scaled_dot_product_attention(query, key, value)
        return self.to_out[0](x.transpose(1, 2).flatten(2))


class _Positions(nn.Module):
    """Add sines and cosines of each frame's place in the window (Vaswani et al., 2017)."""

    pe: Tensor

    def __init__(self, dim: int):
        super().__init__()
        frequencies = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
        angles = torch.outer(torch.arange(WINDOW), frequencies)
        waves = torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
        self.register_buffer("pe", waves[None])  # published as a weight, so in the file

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[:, : x.shape[1]].to(x.dtype)


class _FeedForward(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        # The published list has a dropout between the two.
        self.net = nn.ModuleList((_Gated(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class _Gated(nn.Module):
    def __init__(self, dim: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)
