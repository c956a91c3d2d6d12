"""Where the finished pieces of a film wait when its conversion was stopped, or ComfyUI ended."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import folder_paths

from ..dreamstereo_core.pieces import describe_source
from ..dreamstereo_core.version import read_version

FOLDER = "dreamstereo_unfinished"
"""In ComfyUI's output folder: the temp folder is emptied when ComfyUI starts."""
KEPT = 3
"""Films whose pieces are kept beside the one that is made; older ones are removed."""


def unfinished_folder(
    source: str, depth: dict[str, Any], fill: dict[str, Any], how: dict[str, Any]
) -> Path:
    """Return the folder of a film and its options; the same ones give the same folder.

    Args:
        source: the film.
        depth: the estimator's `about`.
        fill: the inpainter's `about`.
        how: the options.
    """
    about = (read_version(), describe_source(source), depth, fill, sorted(how.items()))
    place = Path(folder_paths.get_output_directory()) / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    folder = place / hashlib.sha256(repr(about).encode()).hexdigest()[:16]
    others = [path for path in place.iterdir() if path.is_dir() and path != folder]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
