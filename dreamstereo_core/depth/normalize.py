"""One scale per shot: robust percentiles over the shot so far and a look-ahead, never per frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..types import InverseDepth

_PERCENTILES = (0.02, 0.98)
_RESOLUTION = 1024  # values that stand for a shot's whole distribution
_SAMPLES = 16384  # pixels of a frame that are looked at


@dataclass(frozen=True)
class ShotScale:
    """The raw inverse depth that becomes 0, the one that becomes 1, and the median."""

    low: float
    high: float
    median: float


class ShotNormalizer:
    """Find each frame's scale while the frames stream by.

    A frame's percentiles are pooled over its shot from the first frame to `lookahead` frames after
    it (or the shot's end), all frames weighing the same. So the scale is constant over a short shot
    and drifts ever more slowly over a long one. Memory is constant: the pool is a sketch of
    1,024 values.
    """

    def __init__(self, lookahead: int = 8) -> None:
        if lookahead < 0:
            raise ValueError(f"lookahead: expected 0 or more frames, got {lookahead}")
        self.lookahead = lookahead
        self._pushed = 0
        self._waiting = 0
        self._pool: Tensor | None = None
        self._frames_in_pool = 0

    def push(self, raw: Tensor, new_shot: bool = False) -> list[ShotScale]:
        """Take one frame's raw inverse depth ``[1, h, w]``; return the scales that are now known.

        Scales come in the frames' order: those of a finished shot, or that of the frame
        `lookahead` frames ago.

        Raises:
            ValueError: a value is NaN or infinite.
        """
        quantiles = self._quantiles(raw)
        known = self.flush() if new_shot else []
        self._add(quantiles)
        self._pushed += 1
        self._waiting += 1
        if self._waiting > self.lookahead:
            known += self._release(1)
        return known

    def flush(self) -> list[ShotScale]:
        """End the shot and return the scales of its last frames."""
        known = self._release(self._waiting)
        self._pool, self._frames_in_pool = None, 0
        return known

    def _release(self, count: int) -> list[ShotScale]:
        self._waiting -= count
        if count == 0 or self._pool is None:
            return []
        low, high = (float(self._pool[int(p * _RESOLUTION)]) for p in _PERCENTILES)
        return [ShotScale(low, high, float(self._pool[_RESOLUTION // 2]))] * count

    def _quantiles(self, raw: Tensor) -> Tensor:
        """Return a frame's `_RESOLUTION` quantiles, ascending."""
        values = raw.detach().flatten().float().cpu()
        # A sum is finite unless a term is not (or it overflows, which the slow count settles).
        if not torch.isfinite(values.sum()):
            bad = int((~torch.isfinite(values)).sum())
            if bad:
                raise ValueError(
                    f"inverse depth of frame {self._pushed}: expected finite values, "
                    f"got {bad} that are NaN or infinite"
                )
        values = values[:: max(1, len(values) // _SAMPLES)].sort().values
        index = (torch.arange(_RESOLUTION) * len(values)) // _RESOLUTION
        return values[index]

    def _add(self, quantiles: Tensor) -> None:
        """Merge a frame into the pool: sort both, pick `_RESOLUTION` values at even weights."""
        if self._pool is None:
            self._pool = quantiles
        else:
            values, order = torch.cat((self._pool, quantiles)).sort()
            weights = torch.where(order < _RESOLUTION, self._frames_in_pool, 1)
            total = self._frames_in_pool + 1
            middle = torch.arange(_RESOLUTION) * total + total // 2
            self._pool = values[torch.searchsorted(weights.cumsum(0), middle, right=True)]
        self._frames_in_pool += 1


def normalize(raw: Tensor, low: float | Tensor, high: float | Tensor) -> InverseDepth:
    """Map raw inverse depth to [0, 1]: `low` to 0, `high` to 1; a flat scale gives 0.5."""
    low = torch.as_tensor(low, dtype=torch.float32, device=raw.device)
    high = torch.as_tensor(high, dtype=torch.float32, device=raw.device)
    extent = high - low
    flat = extent <= 1e-6 * torch.maximum(low.abs(), high.abs())
    scaled = ((raw.float() - low) / torch.where(flat, 1.0, extent)).clamp(0, 1)
    return torch.where(flat, 0.5, scaled)
