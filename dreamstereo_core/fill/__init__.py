"""Inpainters: what fills the holes that the warp opens."""

from __future__ import annotations

from ..checks import check_choice
from .classic import ClassicInpainter
from .inpainter import Inpainter, MaskedFrame

__all__ = ["INPAINTERS", "ClassicInpainter", "Inpainter", "MaskedFrame", "load_inpainter"]

INPAINTERS = ("classic",)
"""Names that `load_inpainter` knows."""


def load_inpainter(name: str = "classic") -> Inpainter:
    """Load an inpainter by name.

    Raises:
        ValueError: the name is unknown.
    """
    check_choice("fill", name, INPAINTERS)
    return ClassicInpainter()
