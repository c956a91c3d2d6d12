"""Where the files lie that a workflow names: inside ComfyUI's folders, and nowhere else.

A workflow may come from a stranger, and an input that is wired to a text may hold any, whatever
the form's choices are. Links that the user made inside the folders are followed.
"""

import os
import re
from glob import glob
from pathlib import Path

import folder_paths

from ..dreamstereo_core.depth import NAMES, VIDEO_MODEL

NOT_DATA = ("custom_nodes", "configs")
"""Folders that ComfyUI lists beside those of its models; they hold programs."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def inside(path: str, folders: list[str]) -> str | None:
    """Return the path, absolute and without `..`, if it lies in one of the folders; else None."""
    absolute = os.path.abspath(path)
    for folder in map(os.path.abspath, folders):
        try:
            if os.path.commonpath([absolute, folder]) == folder and absolute != folder:
                return absolute
        except ValueError:  # another drive, or a zero byte
            continue
    return None


def media_folders() -> list[str]:
    """Return ComfyUI's input, output and temp folders."""
    return [
        folder_paths.get_input_directory(),
        folder_paths.get_output_directory(),
        folder_paths.get_temp_directory(),
    ]


def model_folders() -> list[str]:
    """Return the folders of ComfyUI's models, those of extra_model_paths.yaml included."""
    listed = folder_paths.folder_names_and_paths.items()
    others = [folder for name, (paths, _) in listed if name not in NOT_DATA for folder in paths]
    return [folder_paths.models_dir, *others]


def media_path(name: str) -> str:
    """Return where a file lies that a workflow names, as "film.mp4" or "film.mp4 [output]".

    Raises:
        ValueError: it lies outside ComfyUI's input, output and temp folders.
    """
    # Not `get_annotated_filepath`, which refuses links of the user's in newer cores.
    name_in_folder, folder = folder_paths.annotated_filepath(name)
    folder = folder or folder_paths.get_input_directory()
    path = inside(os.path.join(folder, name_in_folder), media_folders())
    if path is None:
        raise ValueError(
            f"file: expected a file in ComfyUI's input, output or temp folder, got {name!r}"
        )
    return path


def media_files(names: str) -> list[str]:
    """Return the files that lines name, as "video/film_part_*.mp4"; a pattern's come sorted.

    They count from the output folder, where results lie, if they name no other: "a.mp4 [input]".

    Raises:
        ValueError: a line names no file, or one outside ComfyUI's input, output and temp folders.
    """
    found: list[str] = []
    for line in filter(None, map(str.strip, names.splitlines())):
        name, folder = folder_paths.annotated_filepath(line)
        folder = folder or folder_paths.get_output_directory()
        exact = os.path.join(folder, name)
        paths = [exact] if os.path.isfile(exact) else sorted(glob(exact))
        files = [path for path in paths if os.path.isfile(path)]
        allowed = [path for path in files if inside(path, media_folders())]
        if not files or allowed != files:
            raise ValueError(
                f"parts: expected files in ComfyUI's output, input or temp folder, got {line!r}"
            )
        found += allowed
    return found


def depth_spec(spec: str) -> str:
    """Return what `load_depth` may be asked for: a name, a hub id, or a path inside the folders.

    A path is absolute, or counts from the input, the output or the models' folder.

    Raises:
        ValueError: it is a path outside of them.
    """
    spec = spec.strip()
    if spec in NAMES or spec == VIDEO_MODEL:
        return spec
    folders = [*media_folders(), *model_folders()]
    for base in folders:
        path = inside(os.path.join(base, spec), folders)
        # Of a printf pattern the folder is there, and no file of its name.
        if path is not None and (os.path.exists(path) or _is_pattern(path)):
            return path
    if _HUB_ID.fullmatch(spec) and not os.path.exists(spec):
        return spec
    raise ValueError(
        f"depth: expected a model's name, a hub id (owner/name), or a file or folder inside "
        f"ComfyUI's input, output or models folder, got {spec!r}"
    )


def _is_pattern(path: str) -> bool:
    return "%" in os.path.basename(path) and Path(path).parent.is_dir()
