"""Tell a folder of photographs from the frames of a film."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .probe import probe
from .source import Source, VideoError, image_paths

_ORIENTATION = 0x0112  # an EXIF tag; from the value 5 on the picture lies on its side


def separate_pictures(source: Source) -> list[Path] | None:
    """Return the pictures of a folder if they are no film: one alone, or sizes or kinds differ.

    The result is None if they are the frames of a film, or if `source` is no folder. A printf
    pattern always names a film.

    Raises:
        VideoError: the folder has no image.
    """
    if not isinstance(source, str | Path) or not os.path.isdir(source):
        return None
    paths = image_paths(source) or []
    if len(paths) == 1 or len({path.suffix.lower() for path in paths}) > 1:
        return paths
    return paths if _differ(paths) else None


def _differ(paths: Iterable[Path]) -> bool:
    sizes = set()
    for path in paths:
        try:
            sizes.add(_size(path))
        except VideoError:  # the error is reported when it is converted
            continue
        if len(sizes) > 1:
            return True
    return False


def _size(path: Path) -> tuple[int, int]:
    """Return width and height as displayed, from the header if Pillow knows the format."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            lies = image.getexif().get(_ORIENTATION, 1) >= 5
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        info = probe(path)
        return info.width, info.height
    return (height, width) if lies else (width, height)
