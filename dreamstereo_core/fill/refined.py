"""A fill made better by a network that sees it in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch

from ..models.refiner import Refiner
from ..types import Video
from .classic import ClassicInpainter
from .frames import NARROW, first_filled
from .inpainter import Inpainter, MaskedFrame


@dataclass
class RefinedInpainter(Inpainter):
    """Fill by another inpainter, and refine what it put into holes that are not narrow.

    Frames are refined one by one: what moves and holds still over time is the first fill's.
    """

    refiner: Refiner
    first_fill: Inpainter = field(default_factory=ClassicInpainter)
    narrow: int = NARROW
    """Pixels along a row from which a hole is refined."""
    name: str = "mini"

    @torch.no_grad()
    def _refine(self, filled: Video, wide: Video) -> Video:
        if not wide.any():
            return filled
        weight = self.refiner.enter.weight
        video, mask = filled.to(weight), wide.to(weight)
        return self.refiner(video, video, mask).clamp(0, 1).to(filled)

    def stream(
        self, frames: Iterable[MaskedFrame], *, num_steps: int = 1, dilation: int = 5, seed: int = 0
    ) -> Iterator[Video]:
        """Fill one shot; the options are of no use here."""
        for frame in first_filled(frames, self.first_fill, self.narrow):
            yield self._refine(frame.video, frame.wide)
