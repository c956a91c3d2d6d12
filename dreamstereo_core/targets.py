"""What a conversion writes: the files of a film and of separate pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from .packing import MV_HEVC
from .video_io import (
    Source,
    VideoError,
    separate_pictures,
    stereo_name,
    suggest_suffix,
)
from .video_io.containers import check_layout
from .video_io.photo_layouts import PHOTO_LAYOUTS, photo_name
from .video_io.source import image_paths

SEQUENCE_NAME = "frame_%05d.png"
"""Names of images that are made from images and written to a folder."""


def conversion_targets(source: Source, target: Path | None, layout: str) -> tuple[Path, ...]:
    """Return the files that `convert_file` writes with these arguments.

    Raises:
        VideoError: the source is missing or unreadable.
        ValueError: the source has no name, and `target` does not give one.
    """
    views = views_of(layout)
    if (pictures := separate_pictures(source)) is not None:
        places = picture_targets(pictures, cast(str, source), target, layout)
        return tuple(path for picture, place in places.items()
                     for path in conversion_targets(picture, place, layout))  # fmt: skip
    found = tuple(_target(source, target, view, len(views) > 1) for view in views)
    for view, path in zip(views, found, strict=True):
        check_layout(path, view)
    return found


def picture_targets(
    pictures: list[Path], source: str | Path, target: Path | None, layout: str
) -> dict[Path, Path]:
    """Return the target of each separate picture of a folder, no two of them the same."""
    if target is None:
        if layout in PHOTO_LAYOUTS:
            name = layout
        else:
            name = "3d" if layout == "separate" else stereo_name(Path("a"), layout).stem[2:]
        target = Path(source).absolute().with_name(f"{Path(source).absolute().name}_{name}")
    elif not is_folder(target):
        raise VideoError(
            f"{source}: its pictures differ in size or kind, so each one becomes a picture; "
            f"expected a folder to put them in, got {target} (a pattern such as frame_%05d.png "
            "as input makes a film)"
        )
    found: dict[Path, Path] = {}
    for picture in pictures:
        try:
            suffix = suggest_suffix(picture)
        except VideoError:  # the error is reported when it is converted
            suffix = ".png"
        for stem in (picture.stem, picture.name):
            place = target / f"{stem}{suffix}"
            if layout in PHOTO_LAYOUTS:
                place = photo_name(place, layout)
            elif layout != "separate":
                place = stereo_name(place, layout, suffix)
            if place not in found.values():
                break
        found[picture] = place
    return found


def makes_folder(source: Source, target: Path | None) -> bool:
    """Tell whether `convert_file` may have to make the folder that it writes into."""
    if target is None:
        return separate_pictures(source) is not None
    return is_folder(Path(target))


def is_folder(target: Path) -> bool:
    """Tell whether a target is a folder, existing or to be made."""
    return os.path.isdir(target) or not target.suffix


def views_of(layout: str) -> tuple[str, ...]:
    """Return the layouts of the files that a layout stands for: one, but for "separate"."""
    return ("left", "right") if layout == "separate" else (layout,)


def _target(source: Source, target: Path | None, view: str, separate: bool) -> Path:
    target = None if target is None else Path(target)
    folder = target is not None and is_folder(target)
    if target is not None and folder and image_paths(source) is not None:
        target, folder = target / SEQUENCE_NAME, False
    if target is not None and not folder:
        return target.with_stem(f"{target.stem}_{view}") if separate else target
    if not isinstance(source, str | Path):
        raise ValueError("target: expected a path, since the source is a stream without a name")
    if view in PHOTO_LAYOUTS:
        named = photo_name(Path(source), view)
    else:
        suffix = suggest_suffix(source)
        if view == MV_HEVC and suffix == ".mkv":
            suffix = ".mov"
        named = stereo_name(Path(source), view, suffix)
    return named if target is None else target / named.name
