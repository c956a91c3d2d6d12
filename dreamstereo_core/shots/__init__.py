"""Shots: the cuts between them, and the bars around their pictures."""

from __future__ import annotations

from ..checks import check_choice
from .bars import BarDetector, Bars
from .detector import CutDetector
from .histogram import ShotDetector

__all__ = ["DETECTORS", "BarDetector", "Bars", "CutDetector", "ShotDetector", "load_shot_detector"]

DETECTORS = ("auto", "histogram", "transnet")
"""The names that `load_shot_detector` knows."""


def load_shot_detector(name: str = "auto") -> CutDetector:
    """Return the detector of a name: "histogram" (built in), "transnet" (the extra `scenes`).

    "auto" is the built-in one: it is about as good (docs/shots.md) and decides at once, where
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
