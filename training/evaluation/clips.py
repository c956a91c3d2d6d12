"""Where the evaluation's clips come from: real clips by PBDP, composites, true stereo pairs.

Each source yields one clip at a time, so that memory depends on a clip's size only. A file that
cannot be used is left out, and says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, islice, product
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data.files import DataError
from dreamstereo_core import (
    DepthEstimator,
    VideoError,
    build_pair,
    gapw_warp,
    inverse_depth_to_disparity,
    read_frames,
)
from dreamstereo_core.masks import dilate
from dreamstereo_core.shots import ShotDetector
from dreamstereo_core.video_io import Frame
from evaluation.baselines import nearest_background
from making.composites import layered_composite

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
DISPARITIES = (".npz", ".npy", ".pfm", ".png", ".tif", ".tiff")
DARK = 0.1
"""Mean level below which a frame is too dark to tell fills apart: a fade, a title."""
LEFT, RIGHT, DISPARITY = ("left", "_l", "L"), ("right", "_r", "R"), ("disp", "disparity", "GT")
"""How the stems of a stereo pair's files end."""


@dataclass(frozen=True)
class Clip:
    """A right view with holes, and its truth; `[T, 3, H, W]` and `[T, 1, H, W]`."""

    kind: str
    """Clips of one kind share a table."""
    name: str
    left: Tensor
    """The other eye's view."""
    warped: Tensor
    """The known pixels, 0 in whole holes."""
    mask: Tensor
    """1 in holes."""
    disparity: Tensor
    """Of this view."""
    truth: Tensor
    measured: Tensor
    """The holes whose truth is sure, 1 or 0; real clips and composites: all."""
    left_disparity: Tensor | None = None
    """Of the left view of a true pair, 0 where unknown."""
    sheet: Tensor | None = None
    """`warped` with the stretched picture in its holes, as the pipeline hands it to a fill."""


@dataclass
class Selection:
    """What of each file is taken, and what could not be."""

    size: tuple[int, int] = (854, 480)
    """Width and height of real clips and composites."""
    frames: int = 17
    starts: Sequence[int] = (30,)
    """First frames of real clips, each a clip of its own: films begin with logos."""
    limit: int | None = None
    """Files of a folder."""
    seed: int = 0
    """Of the composites."""
    exact: bool = False
    """Whether a clip of fewer frames than `frames` is an error."""
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, reason: object) -> None:
        """Note and print why a file is not measured."""
        line = " ".join(str(reason).split())
        self.left_out.append(line)
        print(f"left out: {line}", file=sys.stderr)

    def check_length(self, name: str, frames: int) -> str:
        """Return a clip's name, in which it says so where it has fewer frames than asked for.

        Raises:
            DataError: it has fewer, and `exact` is set.
        """
        if frames >= self.frames:
            return name
        if self.exact:
            raise DataError(
                f"{name}: expected {self.frames} frames up to the first cut, got {frames}; "
                "--start and --frames say which are taken"
            )
        return f"{name} ({frames} of {self.frames} frames)"

    def files(self, folder: Path, suffixes: Sequence[str] | None = None) -> list[Path]:
        """Return the files of a folder in the order of their names.

        Raises:
            ValueError: it is no folder, or none is in it.
        """
        if not folder.is_dir():
            raise ValueError(f"{folder}: expected a folder, there is none")
        files = [
            p
            for p in sorted(folder.iterdir())
            if p.is_file()
            and not p.name.startswith(".")
            and (suffixes is None or p.suffix.lower() in suffixes)
        ]
        if not files:
            what = "photographs" if suffixes else "videos"
            raise ValueError(f"{folder}: expected a folder of {what}, got none in it")
        return files


def real_videos(folder: Path, selection: Selection) -> Iterator[tuple[str, Tensor]]:
    """Yield name and frames `[T, 3, H, W]` of each video: up to `frames`, up to a cut.

    Dark frames at the start are passed over: on black every fill is right. The name of a clip with
    fewer frames says so.

    Raises:
        DataError: a clip has fewer frames and the selection is `exact`.
    """
    width, height = selection.size
    files = selection.files(folder)[: selection.limit]
    for path, start in product(files, selection.starts):
        name = path.name if len(selection.starts) == 1 else f"{path.name} from {start}"
        try:
            lit = dropwhile(_is_dark, read_frames(path, start))
            frames = [f.pixels for f in islice(lit, selection.frames)]
        except VideoError as error:
            selection.leave_out(error)
            continue
        if not frames:
            selection.leave_out(f"{path}: dark from frame {start} on")
            continue
        video = torch.stack(frames)
        video = F.interpolate(video, (height, width), mode="bilinear", antialias=True).clamp(0, 1)
        cuts = ShotDetector().cuts(video)[0].nonzero()[1:]
        video = video[: int(cuts[0])] if len(cuts) else video
        yield selection.check_length(name, len(video)), video


def _is_dark(frame: Frame) -> bool:
    return float(frame.pixels.mean()) < DARK


def pbdp_clips(
    folder: Path, depth: DepthEstimator, percents: Sequence[float], selection: Selection
) -> Iterator[Clip]:
    """Yield real clips with the holes that PBDP opens, by an estimated depth.

    Args:
        folder: of videos.
        depth: any estimator.
        percents: maximum disparities, of the width; 7 is the paper's.
        selection: what of each file is taken.
    """
    grow = round(selection.size[0] / 640)  # of near things, as the pipeline does
    for name, video in real_videos(folder, selection):
        inverse_depth = dilate(depth.estimate(video), grow)
        for percent in percents:
            disparity = inverse_depth_to_disparity(
                inverse_depth, max_disparity=percent, convergence=0.5
            )
            yield project_back(f"real clips, {percent:g} %", name, video, disparity)


def composite_clips(
    folder: Path, count: int, percents: Sequence[float], selection: Selection
) -> Iterator[Clip]:
    """Yield layered composites of a folder's photographs, whose depth is exact."""
    photos = selection.files(folder, PHOTOS)
    width, height = selection.size
    generator = torch.Generator().manual_seed(selection.seed)
    for index in range(count):
        chosen = torch.randint(len(photos), (2,), generator=generator).tolist()
        state = generator.get_state()
        try:
            layers = [next(read_frames(photos[i])).pixels for i in chosen]
        except VideoError as error:
            selection.leave_out(error)
            continue
        for percent in percents:
            generator.set_state(state)  # the same shape and motion at every percentage
            clip = layered_composite(
                layers[0],
                layers[1],
                frames=selection.frames,
                height=height,
                width=width,
                max_disparity=percent,
                generator=generator,
            )
            kind = f"composites, {percent:g} %"
            yield project_back(kind, f"composite {index}", clip.video, clip.disparity)


def project_back(kind: str, name: str, video: Tensor, disparity: Tensor) -> Clip:
    """Return a clip with the holes of `build_pair`, and with what else the measures ask for."""
    pair = build_pair(video, disparity)
    mask = pair.occlusion_mask
    return Clip(
        kind,
        name,
        pair.left,
        pair.masked,
        mask,
        pair.disparity,
        video,
        mask,
        sheet=pair.sheet,
    )


def stereo_clips(folders: Sequence[Path], selection: Selection) -> Iterator[Clip]:
    """Yield true stereo pairs: the left view warped by its true disparity, beside the right view.

    A folder holds a pair, or folders of pairs: a left and a right picture and the left one's
    disparity, told apart by how their names end (see `LEFT`, `RIGHT`, `DISPARITY`). 8-bit
    disparities are in pixels, 16-bit ones in 1/256 pixels (KITTI), arrays and PFM in pixels; 0,
    negative, infinite and NaN are unknown.

    Raises:
        ValueError: a folder is none, or has no pair.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: expected a folder, there is none")
        inner = [p for p in sorted(folder.iterdir()) if p.is_dir()]
        for place in inner or [folder]:
            try:
                left, right, disparity = read_stereo_pair(place)
            except (ValueError, VideoError) as error:
                selection.leave_out(error)
                continue
            yield stereo_clip(place.name, left, right, disparity)


def read_stereo_pair(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Return the left and right view `[1, 3, H, W]` and the disparity `[1, 1, H, W]`, 0 = unknown.

    Raises:
        ValueError: a file is missing or there are several, or sizes differ.
        VideoError: a picture cannot be read.
    """
    left, right = (
        next(read_frames(_the_file(folder, ends, PHOTOS))).pixels[None] for ends in (LEFT, RIGHT)
    )
    path = _the_file(folder, DISPARITY, DISPARITIES)
    disparity = read_disparity(path)
    if not left.shape[-2:] == right.shape[-2:] == disparity.shape[-2:]:
        shapes = ", ".join(str(list(x.shape[-2:])) for x in (left, right, disparity))
        raise ValueError(f"{folder}: expected left, right and disparity of one size, got {shapes}")
    if not (disparity > 0).any():
        raise ValueError(f"{path}: expected disparities above 0, got none")
    return left, right, disparity


def stereo_clip(
    name: str, left: Tensor, right: Tensor, disparity: Tensor, kind: str = "stereo pairs"
) -> Clip:
    """Warp a left view `[T, 3, H, W]` by its disparity `[T, 1, H, W]`, 0 where unknown.

    Unknown disparities are taken from the farther end of their row's gap. Measured are the holes
    between two pixels of known disparity; what lies beyond the left view's border is filled, but
    was never occluded and is not measured.
    """
    known, given = (disparity > 0).float(), disparity
    disparity = nearest_background(disparity, 1 - known, disparity)
    warp = gapw_warp(left, disparity, toward="right")
    mask = warp.occlusion_mask
    low = warp.coord_map.floor().long().clamp(0, left.shape[-1] - 1)
    high = (low + 1).clamp(max=left.shape[-1] - 1)
    sure = known.gather(-1, low) * known.gather(-1, high) * warp.stretch.isfinite()
    return Clip(
        kind,
        name,
        left,
        torch.where(mask < 1, warp.video, 0.0),  # a pixel that is a hole in part has its colour
        mask,
        warp.disparity,
        right,
        mask * sure,
        given,
        warp.video,
    )


def _the_file(folder: Path, ends: Sequence[str], suffixes: Sequence[str]) -> Path:
    found = [
        p
        for p in sorted(folder.iterdir())
        if p.suffix.lower() in suffixes and p.stem.endswith(tuple(ends))
    ]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise ValueError(
            f"{folder}: expected one file whose name ends in {' or '.join(ends)}, got {names}"
        )
    return found[0]


def read_disparity(path: Path) -> Tensor:
    """Return a file's disparity `[1, 1, H, W]` in pixels, 0 where unknown.

    Raises:
        ValueError: it is none.
    """
    if path.suffix.lower() in (".npz", ".npy"):
        loaded = np.load(path, allow_pickle=False)
        array = loaded[loaded.files[0]] if path.suffix.lower() == ".npz" else loaded
    else:
        array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None or array.ndim != 2:
        got = "nothing readable" if array is None else f"shape {list(array.shape)}"
        raise ValueError(f"{path}: expected a disparity of shape [H, W], got {got}")
    scale = 1 / 256 if array.dtype == np.uint16 else 1
    disparity = torch.from_numpy(array.astype(np.float32) * scale)[None, None]
    return torch.where(disparity.isfinite() & (disparity > 0), disparity, 0)
