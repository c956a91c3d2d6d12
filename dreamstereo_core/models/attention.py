"""Attention over tokens, with rotary positions in three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Attention: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query, key, value) -> result, each `[B, heads, L, head_dim]`."""
KeyValue: TypeAlias = tuple[Tensor, Tensor]
"""Key and value, each `[B, heads, L, head_dim]`."""
Rotation: TypeAlias = tuple[Tensor, Tensor]
"""Cosine and sine of each token's angles, each `[B, 1, K, head_dim / 2]` float32."""
Grid: TypeAlias = tuple[int, int, int]
"""Tokens along time, height and width."""

THETA = 10000.0


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return torch's own attention, `[B, heads, L, head_dim]`."""
    return F.scaled_dot_product_attention(query, key, value)


def rope_axes(head_dim: int) -> Grid:
    """Split a head's complex pairs over time, height and width as Wan does: 128 -> 22, 21, 21."""
    space = head_dim // 6
    return head_dim // 2 - 2 * space, space, space


def rope_rotation(tokens: Tensor, grid: Grid, head_dim: int, *, start: int = 0) -> Rotation:
    """Return the rotations of tokens at their absolute positions in the grid.

    Args:
        tokens: `[B, K]` int64, indices into the grid, width fastest.
        grid: tokens along time, height and width.
        head_dim: width of one attention head.
        start: number of the grid's first frame.
    """
    coordinates = [torch.arange(n, dtype=torch.float64, device="cpu") for n in grid]
    coordinates[0] += start
    _, height, width = grid
    positions = (tokens // (height * width), tokens // width % height, tokens % width)
    angles = [
        _axis_angles(axis, pairs)  # [length, pairs], on the CPU, since not every device has float64
        for axis, pairs in zip(coordinates, rope_axes(head_dim), strict=True)
    ]
    cosine, sine = (
        torch.cat(
            [
                function(angle).float().to(tokens.device)[position]
                for angle, position in zip(angles, positions, strict=True)
            ],
            dim=-1,
        ).unsqueeze(1)  # [B, 1, K, head_dim / 2]
        for function in (torch.cos, torch.sin)
    )
    return cosine, sine


def _axis_angles(coordinates: Tensor, pairs: int) -> Tensor:
    frequencies = THETA ** -(torch.arange(pairs, dtype=torch.float64, device="cpu") / pairs)
    return torch.outer(coordinates, frequencies)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate neighbouring channels of `[B, heads, K, head_dim]` as complex numbers, in float32."""
    # Complex numbers take one pass over memory, where sums of products take seven.
    numbers = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    turned = numbers * torch.complex(*rotation)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


class SelfAttention(nn.Module):
    """Attention of every token to every token, with queries and keys normalised over all heads."""

    def __init__(
        self, dim: int, num_heads: int, eps: float, *, operations: Any = nn, attention: Attention
    ):
        super().__init__()
        self.num_heads = num_heads
        self.attention = attention
        self.q = operations.Linear(dim, dim)
        self.k = operations.Linear(dim, dim)
        self.v = operations.Linear(dim, dim)
        self.o = operations.Linear(dim, dim)
        self.norm_q = operations.RMSNorm(dim, eps=eps)
        self.norm_k = operations.RMSNorm(dim, eps=eps)

    def forward(self, x: Tensor, rotation: Rotation, visible: Tensor | None = None) -> Tensor:
        """Attend within `[B, K, dim]`, to the tokens that are `visible`, `[B, 1, 1, K]` bool."""
        query, key, value = self.project(x, rotation)
        if visible is None:
            return self.merge(self.attention(query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return self.merge(attended)

    def project(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries, keys and values of `[B, K, dim]`; the first two are rotated."""
        query = rotate(self._heads(self.norm_q(self.q(x))), rotation)
        key = rotate(self._heads(self.norm_k(self.k(x))), rotation)
        return query, key, self._heads(self.v(x))

    def merge(self, x: Tensor) -> Tensor:
        """Join the heads of `[B, heads, K, head_dim]` into `[B, K, dim]`."""
        return self.o(x.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class CrossAttention(SelfAttention):
    """Attention to a context, and to image tokens if the model has that branch."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        eps: float,
        *,
        image: bool,
        operations: Any = nn,
        attention: Attention,
    ):
        super().__init__(dim, num_heads, eps, operations=operations, attention=attention)
        self.image = image
        if image:
            self.k_img = operations.Linear(dim, dim)
            self.v_img = operations.Linear(dim, dim)
            self.norm_k_img = operations.RMSNorm(dim, eps=eps)

    def keys_values(self, context: Tensor, image: Tensor | None) -> tuple[KeyValue, ...]:
        """Project a context `[B, L, dim]` and image tokens `[B, I, dim]` once for many calls."""
        pairs = [(self.norm_k(self.k(context)), self.v(context))]
        if self.image:
            pairs.append((self.norm_k_img(self.k_img(image)), self.v_img(image)))
        return tuple((self._heads(key), self._heads(value)) for key, value in pairs)

    def forward(self, x: Tensor, keys_values: tuple[KeyValue, ...]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Attend from `[B, K, dim]`; the results of the branches are added."""
        query = self._heads(self.norm_q(self.q(x)))
        batch = query.shape[0]
        first, *others = (
            self.attention(query, key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1))
            for key, value in keys_values
        )
        return self.merge(sum(others, first))
