"""The parts of a transformer beside attention: timestep, modulation, block, head."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import Attention, CrossAttention, KeyValue, Rotation, SelfAttention
from .config import PATCH, TransformerConfig

TIME_SCALE = 1000.0
"""Wan's timesteps run from 0 to 1000, ours from 0 to 1."""


def timestep_embedding(timestep: Tensor, dim: int) -> Tensor:
    """Return the sinusoids of timesteps in [0, 1], `[B]` -> `[B, dim]` float32, cosines first."""
    half = dim // 2
    # On the CPU, since not every device has float64 and these are only a few numbers.
    time = timestep.detach().cpu().double() * TIME_SCALE
    frequencies = 10000.0 ** -(torch.arange(half, dtype=torch.float64, device="cpu") / half)
    angles = torch.outer(time, frequencies)
    return torch.cat([angles.cos(), angles.sin()], dim=1).float().to(timestep.device)


def feed_forward(width: int, hidden: int, out: int, operations: Any) -> nn.Sequential:
    """Return two layers with a GELU between them, `[..., width]` -> `[..., out]`."""
    return nn.Sequential(
        operations.Linear(width, hidden),
        nn.GELU(approximate="tanh"),
        operations.Linear(hidden, out),
    )


def modulate(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Normalise `[B, K, dim]` without affine, then scale and shift by `[B, 1, dim]`, in float32."""
    normed = F.layer_norm(x.float(), (x.shape[-1],), eps=eps)
    return torch.addcmul(shift, normed, 1 + scale).to(x.dtype)


def gated_add(x: Tensor, update: Tensor, gate: Tensor) -> Tensor:
    """Add an update `[B, K, dim]` times its gate `[B, 1, dim]` to x, in float32."""
    return torch.addcmul(x.float(), update.float(), gate).to(x.dtype)


def modulation(dim: int, parts: int) -> nn.Parameter:
    """Return the learned offsets of `parts` modulations, `[1, parts, dim]`."""
    return nn.Parameter(torch.randn(1, parts, dim) / math.sqrt(dim))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward; the first and the last have gates."""

    def __init__(self, config: TransformerConfig, *, operations: Any, attention: Attention):
        super().__init__()
        dim, heads, eps = config.dim, config.num_heads, config.eps
        self.eps = eps
        self.modulation = modulation(dim, 6)
        self.self_attn = SelfAttention(dim, heads, eps, operations=operations, attention=attention)
        if config.cross_attention:
            self.norm3 = operations.LayerNorm(dim, eps=eps)
            self.cross_attn = CrossAttention(
                dim,
                heads,
                eps,
                image=config.image_dim is not None,
                operations=operations,
                attention=attention,
            )
        self.ffn = feed_forward(dim, config.ffn_dim, dim, operations)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        rotation: Rotation,
        keys_values: tuple[KeyValue, ...],
        visible: Tensor | None = None,
    ) -> Tensor:
        """Update tokens.

        Args:
            x: `[B, K, dim]`.
            modulation: `[B, 6, dim]` float32: shift, scale and gate of the self-attention, then of
                the feed-forward.
            rotation: the rotation of each token's position.
            keys_values: for the cross-attention; empty if the model has none.
            visible: as for the self-attention.
        """
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation.unsqueeze(2).unbind(1)
        attended = self.self_attn(modulate(x, shift, scale, self.eps), rotation, visible)
        x = gated_add(x, attended, gate)
        if keys_values:
            x = x + self.cross_attn(self.norm3(x), keys_values)
        return gated_add(x, self.ffn(modulate(x, ffn_shift, ffn_scale, self.eps)), ffn_gate)


class Head(nn.Module):
    """The last modulation and the projection to a token's latents."""

    def __init__(self, config: TransformerConfig, *, operations: Any):
        super().__init__()
        self.eps = config.eps
        self.modulation = modulation(config.dim, 2)
        self.head = operations.Linear(config.dim, math.prod(PATCH) * config.out_dim)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Turn `[B, K, dim]` into `[B, K, 4 * out_dim]`, channels fastest."""
        shift, scale = modulation.unsqueeze(2).unbind(1)
        return self.head(modulate(x, shift, scale, self.eps))


class ImageEmbedding(nn.Module):
    """Turn CLIP features into tokens of the model's width."""

    def __init__(self, image_dim: int, dim: int, *, operations: Any):
        super().__init__()
        self.proj = nn.Sequential(
            operations.LayerNorm(image_dim),
            operations.Linear(image_dim, image_dim),
            nn.GELU(),
            operations.Linear(image_dim, dim),
            operations.LayerNorm(dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn `[B, I, image_dim]` into `[B, I, dim]`."""
        return self.proj(features)
