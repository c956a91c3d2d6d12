"""Shots: the cuts between them, and the bars around their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..checks import check_choice
from ..stream import Frame, beside
from ..types import NO_BARS, Bars
from .bars import BarDetector
from .detector import CutDetector
from .histogram import ShotDetector

__all__ = [
    "DETECTORS",
    "BarDetector",
    "Bars",
    "CutDetector",
    "ShotDetector",
    "find_shots",
    "load_shot_detector",
]

DETECTORS = ("auto", "histogram", "transnet")
"""The names that `load_shot_detector` knows."""


def load_shot_detector(name: str = "auto") -> CutDetector:
    """Return the detector of a name: "histogram" (built in), "transnet" (the extra `scenes`).

    "auto" is the built-in one. It is about as good (docs/shots.md) and decides at once, while
    TransNet V2 holds up to 75 frames back.

    Raises:
        ImportError: "transnet" is not installed.
        ValueError: the name is unknown.
    """
    check_choice("shots", name, DETECTORS)
    if name != "transnet":
        return ShotDetector()
    from .transnet import TransNetDetector  # an extra, imported only when asked for

    return TransNetDetector()


def find_shots(
    frames: Iterable[Frame], detector: CutDetector, bars: BarDetector | None = None
) -> Iterator[Frame]:
    """Yield each frame, perhaps late, with its bars and with whether it starts a shot.

    A shot also starts where the bars change. Without a bar detector there are no bars.
    """
    cut = (replace(frame, new_shot=new) for frame, new in beside(frames, detector.stream))
    if bars is None:
        yield from cut
        return
    around = NO_BARS
    for frame, now in beside(cut, bars.stream, Frame.at_rest):
        if frame.notes is not None:
            around = frame.notes.keep("around", around)
        yield replace(frame.awake(), new_shot=frame.new_shot or now != around, bars=now)
        around = now
