"""Depth files for the clips of a folder: found by name, cut as the clips are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.files import DataError
from dreamstereo_core import load_depth, probe
from dreamstereo_core.depth import DepthError
from dreamstereo_core.types import InverseDepth
from making.clips import Place

ARCHIVES = (".npz",)
"""DepthCrafter's own format: `depth`, `[T, h, w]`, 1 = nearest."""
ENDINGS = ("", "_depth")
"""What may stand between a clip's name and the suffix; DepthCrafter writes `NAME_depth.mp4`."""


def find_depths(folder: Path, sources: Iterable[Path]) -> dict[Path, Path]:
    """Return the depth file (or folder of images) of each source.

    `NAME.npz` is taken first, since it has not been rounded to 8 bits.

    Raises:
        DataError: the folder is not there, a source has no file, or two have the same name.
    """
    if not folder.is_dir():
        raise DataError(f"depths: expected a folder, got {folder}")
    found, missing, by_stem = {}, [], {}
    for source in sources:
        other = by_stem.setdefault(source.stem, source)
        if other != source:
            raise DataError(f"depths: expected clips of different names, got {other} and {source}")
        names = {source.stem + ending for ending in ENDINGS}
        files = [path for path in sorted(folder.iterdir()) if path.stem in names]
        files.sort(key=lambda path: path.suffix not in ARCHIVES)
        if files:
            found[source] = files[0]
        else:
            missing.append(source.name)
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        raise DataError(
            f"depths: expected NAME.npz, NAME_depth.* or NAME.* in {folder} for every source, "
            f"found none for {shown}"
        )
    return found


def supplied_depth(
    path: Path, source: Path, start: int, count: int, place: Place | None = None
) -> InverseDepth:
    """Return `[count, 1, h, w]` of a source's frames from `start` on, in the file's own size.

    Args:
        path: of `find_depths`.
        source: the clip or photo.
        start: its first frame.
        count: of frames.
        place: what part of the frames the clip shows; None is all.

    Raises:
        DepthError: the file does not have a depth for each frame.
    """
    if path.suffix in ARCHIVES:
        depth = _from_archive(path, source)[start : start + count]
    else:
        info = probe(source)
        estimator = load_depth(path, start=start).for_film(info, start + count)
        # Predictions are no larger than the frames, of which nothing else is looked at.
        frames = torch.zeros(1, 1, 1, 1).expand(count, 3, info.height, info.width)
        depth, _ = estimator.predict(frames, new_shot=True)
        if not estimator.normalized:
            depth = _from_0_to_1(depth)
    if len(depth) != count:
        raise DepthError(f"{path}: expected a depth for the frames {start} to {start + count - 1}")
    return depth if place is None else place.cut_depth(depth)


def _from_archive(path: Path, source: Path) -> Tensor:
    try:
        with np.load(path, allow_pickle=False) as archive:
            depth = torch.from_numpy(np.asarray(archive["depth"], dtype=np.float32))
    except (OSError, ValueError, KeyError) as error:
        raise DepthError(f"{path}: expected an archive with `depth` [T, h, w] ({error})") from error
    if depth.ndim != 3 or not depth.isfinite().all():
        raise DepthError(f"{path}: depth: expected finite [T, h, w], got {list(depth.shape)}")
    info = probe(source)
    frames = 1 if info.is_image else info.frame_count
    if frames and len(depth) != frames:
        raise DepthError(
            f"{path}: expected {frames} frames as in {source.name}, got {len(depth)}: run "
            "DepthCrafter with --target_fps -1 --process_length -1"
        )
    return _from_0_to_1(depth).unsqueeze(1)


def _from_0_to_1(depth: Tensor) -> Tensor:
    low, high = depth.aminmax()
    return (depth - low) / (high - low).clamp(min=1e-6)
