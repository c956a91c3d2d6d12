"""Tokens of a latent: select them (SASI, paper Sec. 3.3), gather and scatter them."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_choice
from ..types import LatentMask, TokenIndex
from .attention import Grid
from .config import PATCH


def select_tokens(
    latent_mask: LatentMask,
    *,
    dilation: int = 5,
    temporal_stride: int | None = None,
    grid: Literal["tokens", "latents"] = "tokens",
) -> TokenIndex:
    """Return the tokens that the mask touches, dilated (Phi in the paper, Sec. 3.3), ascending.

    A batch has one K, the largest of its clips. A clip that needs fewer tokens also gets the first
    of its other tokens, so that every clip keeps all that it needs.

    Args:
        latent_mask: `[B, 1, T', H', W']`, any value above 0 = inpaint; H' and W' even.
        dilation: side of the square, odd, by which the mask grows in each latent frame; 1 leaves it
            as it is.
        temporal_stride: keep `max(1, T' // stride)` latent frames whole, the first one and then
            every `stride`-th; None keeps none. Of 21 latent frames, 20 keeps the first, and 10 the
            first and the eleventh, which agrees with the shares in Table 4.
        grid: the unit of the dilation's square. The paper does not name it; "tokens" agrees best
            with the shares in Table 4.

    Returns:
        `[B, K]` int64; K is 0 if the mask is empty, whatever the stride.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 2, 8, 8)  # 5 frames of 64x64 pixels, 2 x 4 x 4 tokens
        >>> mask[0, 0, 0, 0, 0] = 1  # a hole in the first token of the first latent frame
        >>> select_tokens(mask, dilation=1)
        tensor([[0]])
        >>> select_tokens(mask, dilation=3)
        tensor([[0, 1, 4, 5]])
    """
    if latent_mask.ndim != 5 or latent_mask.shape[1] != 1:
        raise ValueError(
            f"latent_mask: expected shape [B, 1, T', H', W'], got {list(latent_mask.shape)}"
        )
    token_grid(latent_mask, "latent_mask")
    if not bool((latent_mask >= 0).all()):
        raise ValueError("latent_mask: expected values in [0, 1], got negative ones or NaN")
    if temporal_stride is not None and temporal_stride < 1:
        raise ValueError(f"temporal_stride: expected None or at least 1, got {temporal_stride}")

    check_choice("grid", grid, ("tokens", "latents"))

    missing = (latent_mask[:, 0] > 0).float()  # [B, T', H', W']
    if grid == "latents":
        missing = dilate_tokens(missing, dilation).float()
    touched = F.max_pool2d(missing, PATCH[1:])  # [B, T', H'/2, W'/2]
    keep = dilate_tokens(touched, dilation if grid == "tokens" else 1)
    if temporal_stride is not None:
        whole = max(1, keep.shape[1] // temporal_stride) * temporal_stride
        keep[:, :whole:temporal_stride] |= keep.any(dim=(1, 2, 3), keepdim=True)
    keep = keep.flatten(1)  # [B, N]
    count = int(keep.sum(1).max())
    order = keep.int().argsort(dim=1, descending=True, stable=True)
    return order[:, :count].sort(dim=1).values


def dilate_tokens(touched: Tensor, dilation: int) -> Tensor:
    """Grow the touched tokens of `[..., h, w]`, 1 or 0, by a square of side `dilation`; bool.

    Raises:
        ValueError: the dilation is not an odd number.
    """
    if dilation < 1 or dilation % 2 == 0:
        raise ValueError(f"dilation: expected an odd number of tokens from 1 up, got {dilation}")
    return F.max_pool2d(touched, dilation, stride=1, padding=dilation // 2) > 0


def token_grid(latent: Tensor, name: str = "latent") -> Grid:
    """Return the tokens along each axis of `[B, C, T', H', W']`.

    Raises:
        ValueError: it is empty, has another rank, or H' or W' is odd.
    """
    shape = list(latent.shape)
    if len(shape) != 5 or 0 in shape or shape[3] % PATCH[1] or shape[4] % PATCH[2]:
        raise ValueError(
            f"{name}: expected shape [B, C, T', H', W'] with H' and W' even (frames padded to "
            f"multiples of 16 pixels), got {shape}"
        )
    return shape[2], shape[3] // PATCH[1], shape[4] // PATCH[2]


def patchify(latent: Tensor) -> Tensor:
    """Cut `[B, C, T', H', W']` into tokens `[B, N, C * 4]`, channels slowest."""
    return rearrange(latent, "b c t (h p) (w q) -> b (t h w) (c p q)", p=PATCH[1], q=PATCH[2])


def unpatchify(tokens: Tensor, grid: Grid) -> Tensor:
    """Put tokens `[B, N, 4 * C]`, channels fastest (Wan's head), back to `[B, C, T', H', W']`."""
    t, h, _ = grid
    return rearrange(
        tokens, "b (t h w) (p q c) -> b c t (h p) (w q)", t=t, h=h, p=PATCH[1], q=PATCH[2]
    )


def gather_tokens(x: Tensor, tokens: TokenIndex) -> Tensor:
    """Take the kept tokens, `[B, N, D]` -> `[B, K, D]`."""
    return x.gather(1, repeat(tokens, "b k -> b k d", d=x.shape[-1]))


def scatter_tokens(x: Tensor, tokens: TokenIndex, count: int) -> Tensor:
    """Put kept tokens `[B, K, D]` back among `count`, `[B, N, D]`; the others are 0."""
    result = x.new_zeros(x.shape[0], count, x.shape[-1])
    return result.scatter(1, repeat(tokens, "b k -> b k d", d=x.shape[-1]), x)


def pad_tokens(tokens: TokenIndex, bucket: int) -> tuple[TokenIndex, Tensor]:
    """Fill `[B, K]` up to a multiple of `bucket`; also return which are real, `[B, 1, 1, K']` bool.

    Raises:
        ValueError: `bucket` is less than 1.
    """
    if bucket < 1:
        raise ValueError(f"bucket: expected at least 1, got {bucket}")
    batch, count = tokens.shape
    padded = F.pad(tokens, (0, -count % bucket))
    real = torch.arange(padded.shape[1], device=tokens.device) < count
    return padded, real.expand(batch, 1, 1, -1)


def token_mask(tokens: TokenIndex, shape: torch.Size) -> Tensor:
    """Return where the kept tokens lie in a latent of that shape, `[B, 1, T', H', W']` bool."""
    batch, _, t, height, width = shape
    h, w = height // PATCH[1], width // PATCH[2]
    kept = torch.zeros(batch, t * h * w, dtype=torch.bool, device=tokens.device)
    kept.scatter_(1, tokens, True)
    return repeat(kept, "b (t h w) -> b 1 t (h p) (w q)", t=t, h=h, w=w, p=PATCH[1], q=PATCH[2])


def blend_latents(inpainted: Tensor, masked_latent: Tensor, tokens: TokenIndex) -> Tensor:
    """Take unselected tokens from the masked video's latents (paper, the inner B of Eq. 15)."""
    return torch.where(token_mask(tokens, inpainted.shape), inpainted, masked_latent)
