"""Find the version, which `pyproject.toml` states."""

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

    A checkout, or a pack in ComfyUI's folder, has its `pyproject.toml` beside it. It may not be
    installed, or another version may be. An installed package has its metadata.
    """
    if project.is_file():
        stated = dict(_LINE.findall(project.read_text("utf-8")))
        if stated.get("name") == NAME:
            return stated["version"]
    try:
        return version(NAME)
    except PackageNotFoundError:  # a copy of the folder alone has neither
        return UNKNOWN
