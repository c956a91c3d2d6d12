"""Filling without weights, from the background around a hole and from other frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..types import Video
from .inpainter import DEFAULTS, FillOptions, Inpainter, MaskedFrame
from .propagation import BackgroundMotion, FilledFrame, background_motion, fill_frame, propagate
from .sharpness import match_sharpness


@dataclass
class ClassicInpainter(Inpainter):
    """Fill holes with background that neighbouring frames reveal, else by extending it.

    Each frame is filled by itself first (`coherence`). Then every hole pixel follows the
    background's motion to the frames `reach` before and behind: where one of them shows the
    background, that is the truth and is taken; elsewhere the neighbours' own fills are averaged in,
    so that the fill moves with the background and does not flicker. At last it is made as soft as
    its surroundings (`sharpness`). What a frame becomes depends on
    the `reach[-1]` frames around it only, not on how the shot is cut into chunks.
    """

    reach: tuple[int, ...] = (1, 2, 4, 6)
    name: str = "classic"

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill one shot, `reach[-1]` frames behind the input; the options are of no use here."""
        horizon = max(self.reach, default=0)
        window: deque[FilledFrame] = deque(maxlen=2 * horizon + 1)
        motions: deque[BackgroundMotion] = deque(maxlen=2 * horizon)
        pending = 0  # frames of the window that have not been yielded; the last ones
        for frame in frames:
            window.append(fill_frame(frame))
            if len(window) > 1 and horizon:
                motions.append(background_motion(window[-2], window[-1]))
            pending += 1
            if pending > horizon:
                yield self._finish(window, motions, len(window) - pending)
                pending -= 1
        for at in range(len(window) - pending, len(window)):
            yield self._finish(window, motions, at)

    def _finish(
        self, window: deque[FilledFrame], motions: deque[BackgroundMotion], at: int
    ) -> Video:
        filled = propagate(window, motions, at, self.reach)
        return match_sharpness(filled, window[at].mask)
