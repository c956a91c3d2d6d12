"""Stereo videos with their right view as the truth (the paper's Table 2), in several layouts.

A scene is a folder whose entries end in left, right and, if there is one, disparity: videos, or
folders of frames; or NAME_left/images beside NAME_right/images, as Dynamic Replica has them, with
its depths; or a file with both eyes side by side, above each other or as its tags say. A disparity
is that of the left view in pixels: a folder of one file a frame, or an array [T, H, W]; 0,
negative, infinite and NaN are unknown. Without one, the two views are matched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data.files import DataError
from dreamstereo_core import DecodeOptions, VideoError, read_frames
from evaluation.clips import (
    DISPARITIES,
    DISPARITY,
    LEFT,
    RIGHT,
    Clip,
    Selection,
    read_disparity,
    stereo_clip,
)
from evaluation.dynamic_replica import DEPTHS, replica_disparities
from evaluation.stereo_matching import match, reach_of

REPLICA = ("_left", "_right", "images")
BOTH = (".mp4", ".mkv", ".mov", ".m4v", ".webm", ".avi")
"""Suffixes of files that hold both eyes."""
MOST = 0.1
"""Disparity up to which views are matched, as a part of their width."""
LAYOUTS = ("auto", "sbs", "tb")


@dataclass(frozen=True)
class Scene:
    """Where a scene's parts are."""

    name: str
    left: Path
    right: Path
    """The same file as `left` where it holds both eyes."""
    disparity: Path | None = None


def stereo_video_clips(
    folder: Path, selection: Selection, *, matched: bool = False, layout: str = "auto"
) -> Iterator[Clip]:
    """Yield each scene: the left view warped by its disparity, beside the true right view.

    Args:
        folder: of scenes, or one scene.
        selection: how many frames, from the first one on, and their size.
        matched: match the views where there is no disparity; else that is an error.
        layout: of files with both eyes: "sbs", "tb", or "auto", as their tags say.

    Raises:
        DataError: there is no scene, or a scene lacks frames, or a disparity.
    """
    for scene in find_scenes(folder)[: selection.limit]:
        if scene.disparity is None and not matched:
            raise DataError(
                f"{scene.left}: expected a disparity beside it, whose name ends in "
                f"{' or '.join(DISPARITY)}, or --match to match the views"
            )
        left, right, disparity = read_scene(scene, selection, layout)
        name = selection.check_length(scene.name, len(left))
        yield stereo_clip(name, left, right, disparity, kind=f"stereo videos of {folder.name}")


def find_scenes(folder: Path) -> list[Scene]:
    """Return the scenes of a folder, which may itself be one, in the order of their names.

    Raises:
        DataError: there is none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder, there is none")
    entries = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    alone = _scene(folder)
    if alone is not None:
        return [alone]
    scenes = []
    for entry in entries:
        other = entry.with_name(entry.name.removesuffix(REPLICA[0]) + REPLICA[1])
        if (entry / REPLICA[2]).is_dir() and entry.name.endswith(REPLICA[0]):
            if not (other / REPLICA[2]).is_dir():
                raise DataError(f"{entry}: expected {other.name}/{REPLICA[2]} beside it")
            names = (*DISPARITY, DEPTHS)
            disparity = next((entry / n for n in names if (entry / n).exists()), None)
            views = (entry / REPLICA[2], other / REPLICA[2])
            scenes.append(Scene(entry.name.removesuffix(REPLICA[0]), *views, disparity))
        elif entry.is_dir() and (scene := _scene(entry)) is not None:
            scenes.append(scene)
        elif entry.suffix.lower() in BOTH:
            disparity = _entry(folder, DISPARITY, entry.stem)
            scenes.append(Scene(entry.stem, entry, entry, disparity))
    if not scenes:
        raise DataError(
            f"{folder}: expected scenes (left and right in a folder each, NAME_left/images beside "
            "NAME_right/images, or files with both eyes), got none"
        )
    return scenes


def read_scene(scene: Scene, selection: Selection, layout: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the views `[T, 3, H, W]` and the left one's disparity `[T, 1, H, W]`, 0 = unknown.

    Raises:
        DataError: a part cannot be read, or they do not fit together.
    """
    both = scene.left == scene.right
    try:
        views = [
            _read_view(path, eye if both else "both", layout if both else "auto", selection.frames)
            for path, eye in ((scene.left, "left"), (scene.right, "right"))
        ]
    except VideoError as error:
        raise DataError(str(error)) from error
    left, right = views
    if left.shape != right.shape:
        raise DataError(
            f"{scene.left}: expected views of one shape, got {list(left.shape)} and "
            f"{list(right.shape)}"
        )
    width, height = selection.size
    if scene.disparity is None:
        left, right = (_resize(view, height, width) for view in views)
        return left, right, torch.cat([_match(*pair) for pair in zip(left, right, strict=True)])
    disparity = _read_disparities(scene.disparity, len(left))
    scale = width / disparity.shape[-1]
    disparity = F.interpolate(disparity, (height, width), mode="nearest") * scale
    return _resize(left, height, width), _resize(right, height, width), disparity


def _scene(folder: Path) -> Scene | None:
    left, right = (_entry(folder, ends) for ends in (LEFT, RIGHT))
    if left is None or right is None:
        return None
    return Scene(folder.name, left, right, _entry(folder, DISPARITY))


def _entry(folder: Path, ends: tuple[str, ...], start: str = "") -> Path | None:
    """Return the only entry whose name without suffix ends so, and begins with `start`."""
    found = [
        p
        for p in sorted(folder.iterdir())
        if p.stem.endswith(ends) and p.stem.startswith(start) and not (p / REPLICA[2]).is_dir()
    ]
    return found[0] if len(found) == 1 else None


def _read_view(path: Path, eye: str, layout: str, frames: int) -> Tensor:
    options = DecodeOptions(source_eye=eye, source_layout=layout if eye != "both" else "2d")
    return torch.stack([f.pixels for f in islice(read_frames(path, options=options), frames)])


def _resize(video: Tensor, height: int, width: int) -> Tensor:
    if video.shape[-2:] == (height, width):
        return video
    return F.interpolate(video, (height, width), mode="bilinear", antialias=True).clamp(0, 1)


def _read_disparities(path: Path, frames: int) -> Tensor:
    """Return the first `frames` of a folder of files or of an array, `[T, 1, H, W]`, 0 = unknown.

    Raises:
        DataError: there are fewer, or one cannot be read.
    """
    if path.name == DEPTHS:
        return replica_disparities(path, frames)
    try:
        if path.is_dir():
            files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in DISPARITIES]
            found = [read_disparity(p) for p in files[:frames]]
            disparity = torch.cat(found) if found else torch.zeros(0, 1, 1, 1)
        else:
            loaded = np.load(path, allow_pickle=False)
            array = loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
            array = array[None] if array.ndim == 2 else array[:frames]
            disparity = torch.from_numpy(array.astype(np.float32)).unsqueeze(1)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a disparity ({error})") from error
    if disparity.ndim != 4 or len(disparity) < frames:
        raise DataError(
            f"{path}: expected disparities of {frames} frames, got {list(disparity.shape)}"
        )
    return torch.where(disparity.isfinite() & (disparity > 0), disparity, 0)


def _match(left: Tensor, right: Tensor) -> Tensor:
    """Return the disparity `[1, 1, H, W]` of views `[3, H, W]`, 0 where matching is not sure."""
    reach = reach_of(MOST * left.shape[-1])
    return match(to_bgr(left), to_bgr(right), reach).nan_to_num(0.0)


def to_bgr(view: Tensor) -> np.ndarray:
    """Return `[3, H, W]` in [0, 1] as OpenCV's 8-bit picture."""
    levels = (view.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    return cv2.cvtColor(np.ascontiguousarray(levels), cv2.COLOR_RGB2BGR)
