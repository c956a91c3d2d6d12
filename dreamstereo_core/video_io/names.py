"""File names by which players recognise a stereo layout."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .containers import FORMATS, WRITABLE_IMAGES
from .source import IMAGE_SUFFIXES, NUMBER_PATTERN

_NAME_BYTES = 255  # that file systems allow
_LAYOUT_TAGS = {
    # Kodi wants 3D and SBS or TAB; Jellyfin FSBS or FTAB, and no SBS right behind 3D, which would
    # be half; Pigasus LRF; DeoVR and Skybox SBS, LR or TB; televisions H-SBS, H-TAB or H-OU.
    "full_sbs": "3D_LRF_FSBS_SBS",
    "half_sbs": "3D_LR_H-SBS",
    "full_tb": "3D_TBF_FTAB_TAB_TB",
    "half_tb": "3D_TB_H-TAB_H-OU",
    # Not VR180, which Skybox takes for a fisheye picture; LR comes last for Meta's player.
    "vr180": "180_180x180_3dh_LR",
    "mv_hevc": "MV-HEVC",
    "full_rgbd": "RGBD",
    "half_rgbd": "RGBD_half",
}
_PLAIN = ("left", "right", "depth", "mask", "cross_eyed", "row_interleaved", "column_interleaved",
          "frame_sequential")  # fmt: skip
"""Layouts that no player reads from a name, which bears the layout's own."""


def stereo_name(source: Path, layout: str, suffix: str | None = None) -> Path:
    """Return the name beside `source` by which players know the layout.

    ``clip.mkv`` becomes ``clip_3D_LRF_FSBS_SBS.mkv``; a folder of images and a pattern
    (``frame_%05d.png``) become a video. `suffix` (".mp4") replaces the source's own; a source whose
    suffix cannot be written gets .mp4, an image .png.

    Raises:
        ValueError: an unknown layout.
    """
    tag = _LAYOUT_TAGS.get(layout, layout if layout in _PLAIN else None)
    if layout.startswith("anaglyph"):
        tag = "anaglyph"
    if tag is None:
        known = ", ".join([*_LAYOUT_TAGS, *_PLAIN, "anaglyph"])
        raise ValueError(f"layout: expected one of {known}, got {layout!r}")
    stem, own = source.stem, source.suffix.lower()
    if os.path.isdir(source):
        stem, own = source.name, ""
    elif own in IMAGE_SUFFIXES and NUMBER_PATTERN.search(stem):
        stem = re.sub(rf"[_. -]*{NUMBER_PATTERN.pattern}", "", stem) or source.parent.name
        own = ""
    if suffix is None and own in IMAGE_SUFFIXES:
        suffix = own if own in WRITABLE_IMAGES else ".png"
    elif suffix is None:
        suffix = own if own in FORMATS else ".mp4"
    ending = f"_{tag}{suffix}"
    return source.with_name(_shortened(stem or "frames", _NAME_BYTES - len(ending)) + ending)


def _shortened(text: str, size: int) -> str:
    """Cut a text to so many bytes, between characters."""
    return (
        text if len(os.fsencode(text)) <= size else os.fsencode(text)[:size].decode(errors="ignore")
    )
