"""Guess whether a supplied depth has near and far exchanged; this only leads to a warning."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from ..filters import shrink
from ..types import Video
from .cues import EmbeddedDepth

_FRAMES = 5  # how many frames are looked at
_EVERY = 12  # frames from one that is looked at to the next
_AGAINST = -0.3  # mean correlation below which a cue speaks against the depth
_SIZE = 128  # px, the longer side at which they are compared


@dataclass
class InversionGuess:
    """Compares a depth with two cues: lower is nearer, and the estimator without weights.

    Each of them is often wrong in a frame, so both must speak against the depth over several.
    """

    _seen: list[tuple[float, float]] = field(default_factory=list)

    def wants(self, index: int) -> bool:
        """Tell whether the film's frame `index` is to be looked at."""
        return index % _EVERY == 0 and len(self._seen) < _FRAMES

    def look(self, inverse_depth: Tensor, frame: Video) -> bool:
        """Look at a depth ``[1, 1, h, w]`` and its frame ``[1, 3, H, W]``; return True if inverted.

        True is returned once at most, when enough frames have been seen.
        """
        depth = shrink(inverse_depth.float(), _SIZE)
        size = depth.shape[2:]
        height = torch.linspace(0, 1, size[0], device=depth.device).view(1, 1, -1, 1)
        estimate, _ = EmbeddedDepth().predict(frame, None, new_shot=True)
        estimate = F.interpolate(estimate, size, mode="bilinear", antialias=True)
        ground = _correlation(depth, height.expand_as(depth))
        self._seen.append((ground, _correlation(depth, estimate)))
        if len(self._seen) < _FRAMES:
            return False
        return all(sum(cue) / _FRAMES < _AGAINST for cue in zip(*self._seen, strict=True))


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-9))
