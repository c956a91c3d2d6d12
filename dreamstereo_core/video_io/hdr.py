"""HDR10's static metadata: the display that a film was graded on, and its brightness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av import VideoFrame

from .color import raw_view

_CHROMATICITY, _LUMINANCE = 50_000, 10_000
"""How many units of SMPTE ST 2086 make 1 in CIE x and y, and 1 cd/m2."""


@dataclass(frozen=True)
class HdrMetadata:
    """SMPTE ST 2086 and CTA-861.3 values in the standards' own integer units."""

    primaries: tuple[int, ...] | None = None
    """x and y of green, blue, red and white, in 1/50000."""
    luminance: tuple[int, int] | None = None
    """Brightest and darkest level of the display, in 1/10000 cd/m2."""
    content_light: tuple[int, int] | None = None
    """MaxCLL and MaxFALL in cd/m2."""


def hdr_metadata(frame: VideoFrame) -> HdrMetadata | None:
    """Return the HDR10 metadata of a decoded frame, or None if it has none."""
    try:
        display = frame.side_data.get("MASTERING_DISPLAY_METADATA")
        light = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    except ValueError:  # PyAV does not know some newer kinds of side data
        return None
    primaries = luminance = content_light = None
    if display is not None:
        # AVMasteringDisplayMetadata: rationals for red, green, blue, white (x, y), minimum and
        # maximum luminance, then whether the two groups hold anything.
        values = raw_view(display, np.int32).astype(np.int64)
        ratios = values[:20].reshape(10, 2)
        numbers = ratios[:, 0] / np.maximum(ratios[:, 1], 1)
        if values[20]:
            chromaticity = np.rint(numbers[[2, 3, 4, 5, 0, 1, 6, 7]] * _CHROMATICITY)
            primaries = tuple(int(v) for v in chromaticity)
        if values[21]:
            darkest, brightest = (int(v) for v in np.rint(numbers[8:] * _LUMINANCE))
            luminance = (brightest, darkest)
    if light is not None:
        most, average = (int(v) for v in raw_view(light, np.uint32)[:2])
        content_light = (most, average)
    if display is None and light is None:
        return None
    return HdrMetadata(primaries, luminance, content_light)


def encoder_options(hdr: HdrMetadata | None, codec: str) -> list[str]:
    """Return HDR10 metadata as parameters (name=value) of x264, x265 or SVT-AV1."""
    if hdr is None:
        return []
    names = {
        "h264": ("mastering-display", "cll"),
        "hevc": ("master-display", "max-cll"),
        "av1": ("mastering-display", "content-light"),
    }
    display, light = names[codec]
    options = []
    if hdr.primaries is not None and hdr.luminance is not None:
        values = [*hdr.primaries, *hdr.luminance]
        if codec == "av1":  # SVT-AV1 takes plain numbers
            units = [_CHROMATICITY] * 8 + [_LUMINANCE] * 2
            values = [value / unit for value, unit in zip(values, units, strict=True)]
        pairs = zip(("G", "B", "R", "WP", "L"), values[::2], values[1::2], strict=True)
        options.append(
            f"{display}=" + "".join(f"{name}({x:.10g},{y:.10g})" for name, x, y in pairs)
        )
    if hdr.content_light is not None:
        options.append("{}={},{}".format(light, *hdr.content_light))
    return options
