"""The table of public media that the embedded models learn from and are measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from making.packages import Kind

TABLE = Path(__file__).parents[1] / "configs" / "media.yaml"


@dataclass(frozen=True)
class Files:
    """Which files of a package go where."""

    pattern: str
    """Regular expression for a whole path in the package, archives in it being folders."""
    to: str
    r"""Path in the folder; \1 is the pattern's first group."""
    kind: Literal["copy", "photo", "clip"] = "copy"
    """`photo`: a JPEG of 1280 pixels at most; `clip`: an animated picture as H.264."""
    count: int = 1
    only: tuple[str, ...] = ()
    """Values of the first group that are wanted, instead of a count."""


@dataclass(frozen=True)
class Package:
    """One package of PyPI or Debian."""

    name: str
    version: str
    kind: Kind
    licence: str
    files: tuple[Files, ...]
    options: tuple[str, ...] = ()
    """For `pip download`."""


@dataclass(frozen=True)
class Media:
    """The table."""

    suites: tuple[str, ...]
    """Debian releases the versions are from."""
    packages: tuple[Package, ...]
    held_out: tuple[str, ...] = ()
    """Photographs of the evaluation's composites: they go to eval/photos instead."""
