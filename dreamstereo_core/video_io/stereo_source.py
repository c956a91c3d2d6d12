"""Sources that are 3D already: read their tags, and take one eye of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av import VideoFrame
from torch import Tensor

from .color import raw_view
from .decode_options import DecodeOptions
from .source import VideoError

_log = logging.getLogger(__name__)

_NAMES = {"sbs": "side by side", "tb": "top-bottom"}
_MATROSKA = {  # StereoMode -> how the eyes lie, and whether the right one comes first
    "left_right": ("sbs", False),
    "right_left": ("sbs", True),
    "top_bottom": ("tb", False),
    "bottom_top": ("tb", True),
}
_SIDE_DATA = {1: "sbs", 2: "tb", 3: "frame by frame", 4: "checkerboard", 5: "checkerboard",
              6: "line by line", 7: "column by column"}  # fmt: skip
_INVERTED = 1
# Pictures wider than the first (side by side), or narrower than the second (top-bottom), hold eyes
# of full size. A film of 2.39:1 with squeezed eyes stays within these limits.
_FULL_SBS, _FULL_TB = Fraction(5, 2), Fraction(6, 5)


@dataclass(frozen=True)
class Packing:
    """How the two eyes lie in one picture."""

    layout: str
    """"sbs", "tb", or the name of a layout that cannot be taken apart here."""
    right_first: bool = False


def tagged_packing(metadata: dict[str, str], frame: VideoFrame) -> Packing | None:
    """Return the packing that the stream's metadata or the frame's side data name, or None."""
    mode = {key.lower(): value for key, value in metadata.items()}.get("stereo_mode", "")
    if mode in _MATROSKA:
        return Packing(*_MATROSKA[mode])
    if mode and mode not in ("mono", "left", "right", "unspecified"):
        return Packing(mode.replace("_", " "))
    try:
        data = frame.side_data.get("STEREO3D")
    except ValueError:  # PyAV does not know some newer kinds of side data
        return None
    if data is None:
        return None
    kind, flags = (int(v) for v in raw_view(data, np.int32)[:2])
    layout = _SIDE_DATA.get(kind)
    return None if layout is None else Packing(layout, bool(flags & _INVERTED))


def chosen_packing(tagged: Packing | None, options: DecodeOptions, name: str) -> Packing | None:
    """Return the packing of which one eye is to be taken, or None if the picture stays whole.

    Raises:
        VideoError: one eye is wanted, but it is not known where it lies.
    """
    if options.source_layout == "2d":
        return None
    if options.source_layout in _NAMES:
        given = Packing(options.source_layout)
        same = tagged is not None and tagged.layout == given.layout
        tagged = tagged if same else given
    if options.source_eye == "both":
        return None
    if tagged is None:
        raise VideoError(
            f"{name}: source_eye: expected tags that say how the two eyes lie, it has none; "
            "name it with source_layout: sbs or tb"
        )
    if tagged.layout not in _NAMES:
        raise VideoError(
            f"{name}: source_eye: expected side by side or top-bottom, its tags say {tagged.layout}"
        )
    return tagged


def warn_of_stereo(tagged: Packing | None, options: DecodeOptions, name: str) -> None:
    """Warn that a source is 3D already, unless the options show that the user knows."""
    if tagged is None or (options.source_layout, options.source_eye) != ("auto", "both"):
        return
    layout = _NAMES.get(tagged.layout, tagged.layout)
    way_out = "take one eye of it (source_eye: left or right), or say that it is 2D"
    _log.warning(
        "%s: is 3D already (%s) by its tags; %s (source_layout: 2d)", name, layout, way_out
    )


def eye_size(
    width: int, height: int, aspect: Fraction, packing: Packing
) -> tuple[int, int, Fraction]:
    """Return width, height and pixel aspect of one eye of a picture."""
    shape = width * aspect / height
    if packing.layout == "sbs":
        return max(1, width // 2), height, aspect if shape > _FULL_SBS else 2 * aspect
    return width, max(1, height // 2), aspect if shape < _FULL_TB else aspect / 2


def take_eye(picture: Tensor, packing: Packing, eye: str) -> Tensor:
    """Cut one eye out of a picture ``[..., H, W]``."""
    last = (eye == "right") != packing.right_first
    side = -1 if packing.layout == "sbs" else -2
    half = max(1, picture.shape[side] // 2)
    return picture.narrow(side, picture.shape[side] - half if last else 0, half).contiguous()
