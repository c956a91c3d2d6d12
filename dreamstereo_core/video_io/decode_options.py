"""Options for reading a source."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..checks import check_choice

DEINTERLACING = ("auto", "off", "on")
SOURCE_EYES = ("both", "left", "right")
SOURCE_LAYOUTS = ("auto", "2d", "sbs", "tb")
_COLORS = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}
_HEX = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class DecodeOptions:
    """How to read a source; the defaults suit nearly every one."""

    deinterlace: str = "auto"
    """"auto" deinterlaces frames that are tagged as interlaced, "on" every frame, "off" none."""
    background: str = "black"
    """What transparent parts lie on: black, white, grey, or RRGGBB in hexadecimal digits."""
    source_eye: str = "both"
    """Of a source that is 3D already, "left" or "right" takes one eye; "both" leaves it."""
    source_layout: str = "auto"
    """How the two eyes lie in it: "auto" reads its tags; "sbs", "tb" and "2d" override them."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one of them is wrong; the message names it.
        """
        check_choice("deinterlace", self.deinterlace, DEINTERLACING)
        check_choice("source_eye", self.source_eye, SOURCE_EYES)
        check_choice("source_layout", self.source_layout, SOURCE_LAYOUTS)
        if self.background not in _COLORS and not _HEX.fullmatch(self.background):
            known = ", ".join(_COLORS)
            raise ValueError(
                f"background: expected {known} or RRGGBB in hexadecimal digits, "
                f"got {self.background!r}"
            )

    @property
    def background_rgb(self) -> tuple[float, float, float]:
        """Red, green and blue of the background in [0, 1]."""
        match = _HEX.fullmatch(self.background)
        levels = [int(v, 16) for v in match.groups()] if match else _COLORS[self.background]
        return levels[0] / 255, levels[1] / 255, levels[2] / 255
