"""Sizes of pictures as they are written: width before height."""

from __future__ import annotations

import argparse
import re


def read_size(text: str, least: int = 1) -> tuple[int, int]:
    """Return width and height in pixels of "1280x720".

    Papers write the height first, so a size that is taller than wide could mean either: an upright
    one is to be written as "720wx1280h".

    Args:
        text: the size.
        least: pixels of either side.

    Raises:
        ArgumentTypeError: it is none, too small, or may mean two things.
    """
    plain = re.fullmatch(r"(\d+)x(\d+)", text)
    marked = re.fullmatch(r"(\d+)wx(\d+)h", text)
    found = plain or marked
    if found is None or min(int(found[1]), int(found[2])) < least:
        raise argparse.ArgumentTypeError(
            f"expected WIDTHxHEIGHT from {least}x{least} up, got {text!r}"
        )
    width, height = int(found[1]), int(found[2])
    if plain and height > width:
        raise argparse.ArgumentTypeError(
            f"expected the width first, got {text!r}: write {height}x{width}, or for an upright "
            f"picture {width}wx{height}h"
        )
    return width, height


def write_size(width: int, height: int) -> str:
    """Return a size as `read_size` reads it."""
    return f"{width}x{height}" if height <= width else f"{width}wx{height}h"
