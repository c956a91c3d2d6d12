"""`mini`: a network corrects a fill, given the picture and the frames before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..models.inpainter import InpaintingNetwork, Memory
from ..optical_flow import optical_flow, resize_flow, warp_points
from ..prefetch import in_background
from ..types import Video
from .classic import ClassicInpainter
from .holes import NARROW, HoledFrame, first_filled
from .inpainter import DEFAULTS, FillOptions, Inpainter, MaskedFrame, digest

AHEAD = 1
"""Frames that get their first fill while one frame is refined."""
KEPT = 0.8
"""Share of the past in the correction of a frame, where the fill has only moved."""
LIKE = 0.05
"""Colour difference along the flow at which that share falls to 1/e."""
FLOW_WIDTH = 128
"""Width in pixels of the grid on which the fill's motion is estimated."""


@dataclass(frozen=True)
class Past:
    """The frame before, as far as it is averaged in."""

    video: Video
    """With its holes filled."""
    wide: Tensor
    """Its holes that were refined, bool `[1, 1, H, W]`."""
    colours: Tensor
    """What was added in them, `[n]`; it is 0 elsewhere."""

    def whole(self, like: Tensor) -> Tensor:
        """Return what was added, `[1, 3, H, W]`."""
        added = torch.zeros_like(like)
        added[self.wide.expand_as(added)] = self.colours
        return added


@dataclass
class MiniInpainter(Inpainter):
    """Fill by another inpainter, and refine its fill of holes that are not narrow.

    What the network adds is averaged over time along the fill's own motion, so that it does not
    flicker.
    """

    network: InpaintingNetwork
    first_fill: Inpainter = field(default_factory=ClassicInpainter)
    narrow: int = NARROW
    """Least width in pixels of a hole that is refined."""
    name: str = "mini"

    @property
    def about(self) -> dict[str, Any]:
        """Return a digest of its weights, and what the first fill says."""
        weights = digest(self.network.state_dict())
        return {"name": self.name, "narrow": self.narrow, "weights": weights,
                "first": self.first_fill.about}  # fmt: skip

    @property
    def resumable(self) -> bool:
        """Whether the first fill is."""
        return self.first_fill.resumable

    @property
    def warm_up(self) -> int:
        """Return the first fill's."""
        return self.first_fill.warm_up

    @torch.no_grad()
    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill one shot; of the options the dilation of the tokens alone is of use here."""
        memory = Memory()
        past: Past | None = None
        first = first_filled(frames, self.first_fill, self.narrow)
        with closing(in_background(first, AHEAD)) as filled:
            for frame in filled:
                if frame.warm_up:
                    yield frame.video
                    continue
                if frame.notes is not None:
                    state = memory.copy(), past
                    memory, past = frame.notes.keep("fill", state)
                    memory = memory.copy()
                added = self._added(frame, memory, options.dilation)
                if not frame.wide.any():
                    past = None
                    yield frame.video
                    continue
                if past is not None:
                    added = average(added, frame, past, past.whole(added))
                past = Past(frame.video, frame.wide, added[frame.wide.expand_as(added)])
                result = added.add_(frame.video).clamp_(0, 1)
                del frame, added  # what is named here would stay while the next one is made
                yield result
                del result

    def _added(self, frame: HoledFrame, memory: Memory, dilation: int) -> Tensor:
        weight = self.network.unet.enter.weight
        video, mask = frame.video.to(weight), frame.wide.to(weight)
        better = self.network.step(video, mask, memory, dilation=dilation)
        return (better - video).to(frame.video)


def average(
    added: Tensor, frame: HoledFrame, before: HoledFrame | Past, before_added: Tensor
) -> Tensor:
    """Return what is to be added to `frame`, the past's along the fill's motion mixed in.

    Args:
        added: what the network adds to the frame, `[1, 3, H, W]`, 0 outside of wide holes.
        frame: with its holes filled.
        before: the frame before, likewise.
        before_added: what was added to that.
    """
    row, column = frame.wide[0, 0].nonzero(as_tuple=True)  # nothing is added elsewhere
    flow = optical_flow(frame.video, before.video, width=FLOW_WIDTH)
    flow = resize_flow(flow, frame.video.shape[-2:])
    flow = flow[0][:, row, column]
    past_added, was_hole, past_video = (
        warp_points(image, flow, row, column)
        for image in (before_added, before.wide.to(before_added), before.video)
    )
    difference = (past_video - frame.video[0][:, row, column]).abs().mean(0)
    kept = KEPT * was_hole * torch.exp(-difference / LIKE)
    result = added.clone()
    result[0][:, row, column] = torch.lerp(added[0][:, row, column], past_added, kept)
    return result
