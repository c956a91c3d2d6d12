"""Fill without weights, from the background around a hole and from other frames."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from ..types import Video
from .inpainter import DEFAULTS, FillOptions, Inpainter, MaskedFrame
from .propagation import BackgroundMotion, FilledFrame, background_motion, fill_frame, propagate
from .sharpness import match_sharpness

REACH_OF_LARGE = ((16_000_000, 1), (4_000_000, 2))
"""Frames of more than so many pixels look no more than so many frames before and behind."""


@dataclass
class ClassicInpainter(Inpainter):
    """Fill holes with background that other frames reveal, else by extending the background.

    Each frame is filled by itself first (`coherence`). Then every hole pixel follows the
    background's motion to the frames `reach` before and behind: where one of them shows the
    background, that is the truth and is taken; elsewhere the neighbours' own fills are averaged in,
    so that the fill moves with the background and does not flicker. At last it is made as soft as
    its surroundings (`sharpness`). What a frame becomes depends on
    the `reach[-1]` frames around it only, not on how the shot is cut into chunks. Large frames have
    a shorter reach (`REACH_OF_LARGE`): memory.
    """

    reach: tuple[int, ...] = (1, 2, 4, 6)
    name: str = "classic"

    resumable = True

    @property
    def warm_up(self) -> int:
        """Return the frames that a frame's fill looks back at."""
        return max(self.reach, default=0)

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill one shot, `reach[-1]` frames behind the input; the options are of no use here."""
        iterator = iter(frames)
        first = next(iterator, None)
        if first is None:
            return
        reach = self._reach(first)
        horizon = max(reach, default=0)
        window: deque[FilledFrame] = deque(maxlen=2 * horizon + 1)
        motions: deque[BackgroundMotion] = deque(maxlen=2 * horizon)
        pending = 0  # frames of the window that have not been yielded; the last ones
        film = chain([first], iterator)
        del first  # or its pixels would stay to the end
        for frame in film:
            window.append(fill_frame(frame))
            if len(window) > 1 and horizon:
                motions.append(background_motion(window[-2], window[-1]))
            pending += 1
            if pending > horizon:
                yield self._finish(window, motions, len(window) - pending, reach)
                pending -= 1
        for at in range(len(window) - pending, len(window)):
            yield self._finish(window, motions, at, reach)

    def _reach(self, frame: MaskedFrame) -> tuple[int, ...]:
        pixels = frame.occlusion_mask[0, 0].numel()
        most = next((most for least, most in REACH_OF_LARGE if pixels > least), math.inf)
        return tuple(distance for distance in self.reach if distance <= most)

    def _finish(
        self,
        window: deque[FilledFrame],
        motions: deque[BackgroundMotion],
        at: int,
        reach: tuple[int, ...],
    ) -> Video:
        filled = propagate(window, motions, at, reach)
        return match_sharpness(filled, window[at].mask)
