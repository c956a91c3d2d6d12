"""Weights of 16 bits kept in 8: e4m3 with a factor for each output channel.

Pass `FP8` as `operations` to a loader. The numbers of e4m3 are exact in bfloat16, so that a layer
differs from its 16-bit one by the rounding of its weights alone, a few percent of each.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max


class Fp8Linear(nn.Linear):
    """A linear layer that stores in 8 bits what it is given in 16 when its weights are loaded.

    Weights in float32 stay as they are: a file has them so because they are few and matter.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.factor: Tensor | None = None
        """`[out]` float32, by which the stored rows are multiplied."""

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.weight.dtype.itemsize == 2 and not self.weight.is_meta:
            self.compress()

    def compress(self) -> None:
        """Round the weights to e4m3, each row by its own factor."""
        weight = self.weight.detach().float()
        factor = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST  # [out, 1]
        self.weight = nn.Parameter((weight / factor).to(E4M3), requires_grad=False)
        del self.factor
        self.register_buffer("factor", factor[:, 0], persistent=False)

    def expand(self, dtype: torch.dtype) -> None:
        """Take the weights back to `dtype`, so that something can be added to them."""
        if self.factor is not None:
            weight = self.weight.float() * self.factor[:, None]
            self.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
            del self.factor
            self.factor = None

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer to `[..., in]`, in the input's dtype."""
        if self.factor is None:
            return super().forward(input)
        y = F.linear(input, self.weight.to(input.dtype)) * self.factor.to(input.dtype)
        return y if self.bias is None else y + self.bias


FP8 = SimpleNamespace(
    **{name: getattr(nn, name) for name in ("Conv2d", "Conv3d", "LayerNorm", "RMSNorm")},
    Linear=Fp8Linear,
)
"""Operations for `Transformer`, whose linear layers are nearly all of its weights."""
