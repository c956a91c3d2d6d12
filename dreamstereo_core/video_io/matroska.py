"""Correct the display size in a Matroska file, which PyAV cannot pass on to FFmpeg's muxer."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

# StereoMode, DisplayWidth and DisplayHeight, as the muxer writes them one after the other.
_DISPLAY = re.compile(
    rb"\x53\xb8\x81.(?P<width>\x54\xb0\x81.|\x54\xb0\x82..|\x54\xb0\x83...)"
    rb"(?P<height>\x54\xba\x81.|\x54\xba\x82..|\x54\xba\x83...)",
    re.DOTALL,
)
_HEADER = 1 << 20


def scale_display_size(path: Path, aspect: Fraction) -> None:
    """Multiply the display aspect of a stereo track by `aspect`, in place.

    The muxer writes the size of one eye with square pixels. The width or the height is made
    smaller, never larger, so that it still fits its bytes. The file must have no checksums.
    """
    with path.open("rb+") as file:
        match = _DISPLAY.search(file.read(_HEADER))
        if match is None:
            raise ValueError(f"{path}: no display size in the Matroska header")
        group = "width" if aspect < 1 else "height"
        start, end = match.start(group) + 3, match.end(group)
        value = int.from_bytes(match[group][3:], "big")
        scaled = max(1, round(value * min(aspect, 1 / aspect)))
        file.seek(start)
        file.write(scaled.to_bytes(end - start, "big"))
