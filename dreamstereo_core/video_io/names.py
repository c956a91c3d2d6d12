"""File names by which players recognise a stereo layout."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .containers import FORMATS, WRITABLE_IMAGES
from .source import IMAGE_SUFFIXES, NUMBER_PATTERN

_NAME_BYTES = 255  # that file systems allow
_LAYOUT_TAGS = {
    "full_sbs": "LRF_Full_SBS",
    "half_sbs": "LR",
    "full_tb": "TBF_Full_TB",
    "half_tb": "TB",
    "left": "left",
    "right": "right",
    "depth": "depth",
    "mask": "mask",
}


def stereo_name(source: Path, layout: str, suffix: str | None = None) -> Path:
    """Return the name beside `source` by which players know the layout.

    ``clip.mkv`` becomes ``clip_LRF_Full_SBS.mkv``; a folder of images and a pattern
    (``frame_%05d.png``) become a video. `suffix` (".mp4") replaces the source's own; a source whose
    suffix cannot be written gets .mp4, an image .png.

    Raises:
        ValueError: an unknown layout.
    """
    tag = "anaglyph" if layout.startswith("anaglyph") else _LAYOUT_TAGS.get(layout)
    if tag is None:
        known = ", ".join([*_LAYOUT_TAGS, "anaglyph"])
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
