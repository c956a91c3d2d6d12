"""The version, which `pyproject.toml` states."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NAME = "dreamstereo"
UNKNOWN = "unknown"
_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_LINE = re.compile(r'^(name|version) = "([^"]+)"', re.MULTILINE)


def read_version(project: Path = _PROJECT) -> str:
    """Return the version of the code that runs.

    A checkout, or a pack in ComfyUI's folder, has its `pyproject.toml` beside it and may not be
    installed, or may lie beside another version that is; an installed package has its metadata.
    """
    if project.is_file():
        stated = dict(_LINE.findall(project.read_text("utf-8")))
        if stated.get("name") == NAME:
            return stated["version"]
    try:
        return version(NAME)
    except PackageNotFoundError:  # neither: a copy of the folder alone
        return UNKNOWN
