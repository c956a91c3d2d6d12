"""Find one scale for each shot: percentiles over the shot so far and a few frames ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..types import InverseDepth, ShotScale

_PERCENTILES = (0.02, 0.98)
_RESOLUTION = 1024  # quantiles that represent a shot's whole distribution
_SAMPLES = 16384  # pixels of a frame that are looked at, about
_SUBJECT_QUANTILE = 0.7  # three tenths of the frame's middle are nearer than the subject
_SUBJECT_SIGMA = 0.4  # width of the middle's Gaussian weight, in halves of the frame's sides
_SUBJECT_SAMPLES = 64  # rows and columns that are looked at, at most


class ShotNormalizer:
    """Find each frame's scale while the frames stream by.

    A frame's percentiles are pooled over its shot, from the first frame to `lookahead` frames after
    this one (or the shot's end). All frames weigh the same. So the scale is constant over a short
    shot and drifts ever more slowly over a long one. Memory is constant, since the pool is a sketch
    of 1,024 values.
    """

    def __init__(self, lookahead: int = 8) -> None:
        if lookahead < 0:
            raise ValueError(f"lookahead: expected 0 or more frames, got {lookahead}")
        self.lookahead = lookahead
        self.pool = Pool()
        """Of the frames that have come in."""

    def stream(self, raws: Iterable[tuple[Tensor, bool]]) -> Iterator[ShotScale]:
        """Yield the scale of each frame, `lookahead` frames late or at the shot's end.

        Args:
            raws: each frame's raw inverse depth ``[..., h, w]`` and whether it starts a shot.

        Raises:
            ValueError: a value is NaN or infinite.
        """
        subjects = deque[float]()
        self.pool = Pool()

        def next_scale() -> ShotScale:
            subject = float(torch.tensor(list(subjects)).median())
            subjects.popleft()
            return ShotScale(*self.pool.scale(), subject)

        for index, (raw, new_shot) in enumerate(raws):
            quantiles = _quantiles(raw, index)
            if new_shot:
                while subjects:
                    yield next_scale()
                self.pool = Pool()
            self.pool = self.pool.with_frame(quantiles)
            subjects.append(_subject(raw))
            if len(subjects) > self.lookahead:
                yield next_scale()
        while subjects:
            yield next_scale()


@dataclass(frozen=True)
class Pool:
    """The values of a shot's frames so far, as a sketch."""

    values: Tensor = field(default_factory=lambda: torch.empty(0))
    frames: int = 0

    def scale(self) -> tuple[float, float, float]:
        """Return the values that become 0 and 1, and the median."""
        low, high = (float(self.values[int(p * _RESOLUTION)]) for p in _PERCENTILES)
        return low, high, float(self.values[_RESOLUTION // 2])

    def with_frame(self, quantiles: Tensor) -> Pool:
        """Merge a frame's quantiles: sort both sets, pick `_RESOLUTION` values of equal weight."""
        if self.frames:
            values, order = torch.cat((self.values, quantiles)).sort()
            weights = torch.where(order < _RESOLUTION, self.frames, 1)
            total = self.frames + 1
            middle = torch.arange(_RESOLUTION) * total + total // 2
            quantiles = values[torch.searchsorted(weights.cumsum(0), middle, right=True)]
        return Pool(quantiles, self.frames + 1)


def _quantiles(raw: Tensor, index: int) -> Tensor:
    """Return a frame's `_RESOLUTION` quantiles, ascending."""
    values = raw.detach().flatten().float().cpu()
    # A sum is finite unless a term is not (or it overflows, which the slow count settles).
    if not torch.isfinite(values.sum()):
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            raise ValueError(
                f"inverse depth of frame {index}: expected finite values, "
                f"got {bad} that are NaN or infinite"
            )
    values = values[:: max(1, len(values) // _SAMPLES)].sort().values
    return values[(torch.arange(_RESOLUTION) * len(values)) // _RESOLUTION]


def normalize(raw: Tensor, low: float | Tensor, high: float | Tensor) -> InverseDepth:
    """Map raw inverse depth to [0, 1], `low` to 0 and `high` to 1; if they are equal, to 0.5."""
    low = torch.as_tensor(low, dtype=torch.float32, device=raw.device)
    high = torch.as_tensor(high, dtype=torch.float32, device=raw.device)
    extent = high - low
    flat = extent <= 1e-6 * torch.maximum(low.abs(), high.abs())
    scaled = ((raw.float() - low) / torch.where(flat, 1.0, extent)).clamp(0, 1)
    return torch.where(flat, 0.5, scaled)


def _subject(raw: Tensor) -> float:
    """Return an upper quantile of a frame ``[..., h, w]``, in which the middle weighs more."""
    h, w = raw.shape[-2:]
    step_y, step_x = -(-h // _SUBJECT_SAMPLES), -(-w // _SUBJECT_SAMPLES)
    raw = raw.detach().reshape(-1, h, w)[0, ::step_y, ::step_x].float().cpu()
    y, x = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in raw.shape)
    weight = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * _SUBJECT_SIGMA**2))
    values, order = raw.flatten().sort()
    below = weight.flatten()[order].cumsum(0)
    return float(values[torch.searchsorted(below, _SUBJECT_QUANTILE * below[-1])])
