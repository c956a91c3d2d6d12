"""How a stored picture must be turned and mirrored to be shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from av import VideoFrame

from .color import raw_view


class Orientation(NamedTuple):
    """How to show a stored picture."""

    quarters: int = 0
    """Counter-clockwise quarter turns, after the mirroring."""
    mirrored: bool = False
    """Whether left and right are exchanged."""

    def then_turned(self, quarters: int) -> Orientation:
        """Return this followed by counter-clockwise quarter turns."""
        return Orientation((self.quarters + quarters) % 4, self.mirrored)

    def then_mirrored(self, *, top_to_bottom: bool) -> Orientation:
        """Return this followed by an exchange of the sides, or of top and bottom."""
        turn = 2 if top_to_bottom else 0
        return Orientation((turn - self.quarters) % 4, not self.mirrored)


def orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation that a frame's display matrix describes.

    Call it once for a stream, since PyAV's side data keeps a frame alive until garbage collection.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know some newer kinds of side data
        return Orientation(round(frame.rotation / 90) % 4)
    if data is None:
        return Orientation()
    a, b, _, c, d = (int(v) for v in raw_view(data, np.int32)[:5])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if abs(a) >= abs(b):
        return Orientation(0 if a > 0 else 2, mirrored)
    return Orientation(3 if b > 0 else 1, mirrored)
