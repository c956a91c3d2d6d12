"""Which kinds of stereo photographs there are, and their names."""

from __future__ import annotations

from pathlib import Path

PHOTO_LAYOUTS = {
    "mpo": ("", ".mpo"),
    "jps": ("", ".jps"),
    "spatial_photo": ("_spatial", ".heic"),
    "wiggle_gif": ("_wiggle", ".gif"),
    "wiggle_webp": ("_wiggle", ".webp"),
    "wiggle_mp4": ("_wiggle", ".mp4"),
}
"""Layout -> what is put behind a photograph's name, and its suffix."""
_DEFAULT = "full_sbs"
PHOTO_SUFFIXES = (".mpo", ".jps", ".heic", ".gif")
"""Those of them that nothing else is written with; each one names its layout."""


def photo_layout(target: Path | None, layout: str) -> str | None:
    """Return the photograph's layout that a target's suffix or the layout asks for, or None."""
    if layout in PHOTO_LAYOUTS:
        return layout
    if layout != _DEFAULT:  # the depth, or one eye, as a file that cannot hold it
        return None
    suffix = "" if target is None else Path(target).suffix.lower()
    by_suffix = {".mpo": "mpo", ".jps": "jps", ".heic": "spatial_photo", ".gif": "wiggle_gif"}
    return by_suffix.get(suffix)


def photo_name(source: Path, layout: str) -> Path:
    """Return the name beside a photograph of its stereo version."""
    tag, suffix = PHOTO_LAYOUTS[layout]
    return source.with_name(f"{source.stem}{tag}{suffix}")
