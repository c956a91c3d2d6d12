"""Right eyes of true stereo pairs, end to end: left view and depth to the right view a camera saw.

A pair's depth is matched on the pair itself, so that it is about right, and then made as coarse as
a network's. `evaluation_silhouettes` has the cases without a pair. docs/evaluation.md says what the
columns mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data.files import DataError
from dreamstereo_core import (
    ConvertOptions,
    DepthEstimator,
    Inpainter,
    StereoPipeline,
    gapw_warp,
)
from dreamstereo_core.depth import ClipDepth
from dreamstereo_core.fill import DEFAULTS, FillOptions, MaskedFrame
from dreamstereo_core.types import Disparity, InverseDepth, Video
from evaluation.baselines import forward_warp, nearest_background
from evaluation.clips import DISPARITIES, DISPARITY, Selection, read_stereo_pair
from evaluation.metrics import psnr
from evaluation.perceptual import Perceptual
from evaluation.report import busiest_window, tile_row
from evaluation.scores import Scores
from evaluation.stereo_matching import REACH, match_densely, reach_of, read_pairs

COLUMNS = 384
"""Width of a good network's depth."""
JUMP = 2.0
"""Step of disparity from pixel to pixel, in pixels, beyond which a depth edge lies between them."""
BAND = (3, 13)
"""Rows and columns of the band around an end of a depth edge."""
MARGIN = 2
"""Columns left out beside those that the other view does not see."""
HOLE = 1.5
"""Stretch of the sheet beyond which a pixel is truly occluded."""
SHEET, FORWARD = "the sheet", "forward warp"


class KnownDepth(ClipDepth):
    """Inverse depth `[T, 1, h, w]` in [0, 1] that is taken as it is."""

    name = "known"
    normalized = True


class Sheet(Inpainter):
    """No fill: holes show the source as it is stretched over them."""

    name = SHEET

    def __init__(self, left: Video) -> None:
        self._left = iter(left.split(1))

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill one shot; the frames' disparity says from where."""
        for frame, left in zip(frames, self._left, strict=False):
            assert frame.disparity is not None
            last = left.shape[-1] - 1
            x = torch.arange(last + 1) + frame.disparity
            x = x.clamp(0, last)
            low = x.floor().long().clamp(max=max(0, last - 1))
            here, there = (
                left.gather(-1, i.expand_as(left)) for i in (low, (low + 1).clamp(max=last))
            )
            sheet = torch.lerp(here, there, x - low)
            yield torch.where(frame.occlusion_mask > 0, sheet, frame.video)


@dataclass(frozen=True)
class TruePair:
    """Two views of a scene, and what is known of its depth; all `[1, C, H, W]`."""

    name: str
    left: Video
    right: Video
    """Moved so that the farthest point lies on the screen."""
    disparity: Disparity
    """Of the left view, 0 = farthest: the true one, where there is one, else the matched one."""
    sure: Tensor
    """1 where matching is sure, else 0."""
    depths: Mapping[str, InverseDepth]
    """By kind: "matched", "small" (the same, `COLUMNS` wide), and "true" where it is known."""
    lost: int
    """Columns at the left that the moved view lacks."""

    @property
    def max_disparity(self) -> float:
        """In percent of the width, for `ConvertOptions`."""
        return 100 * self._reach / self.left.shape[-1]

    @property
    def _reach(self) -> float:
        return float(self.disparity.max())

    @property
    def columns(self) -> slice:
        """What both views see of the frame, whatever its depth."""
        return slice(self.lost + MARGIN, self.left.shape[-1] - int(self._reach) - MARGIN)

    @property
    def frame(self) -> Tensor:
        """1 in `columns`, else 0."""
        frame = torch.zeros_like(self.disparity)
        frame[..., self.columns] = 1
        return frame

    @property
    def known(self) -> Tensor:
        """1 where the left view has what the right view shows, else 0."""
        return (gapw_warp(self.left, self.disparity).stretch <= HOLE).float()


def true_pair(
    name: str, left: np.ndarray, right: np.ndarray, disparity: Tensor | None = None
) -> TruePair:
    """Match a pair of views `[H, W, 3]`, BGR in 8 bits; `disparity` is `[1, 1, H, W]`, 0 = unknown.

    Raises:
        DataError: nothing matches.
        ValueError: the pair has one depth only, or no room for its depth.
    """
    reach = REACH if disparity is None else reach_of(float(disparity.max()))
    matched, sure = match_densely(left, right, reach)
    reference = matched if disparity is None else _whole(disparity)
    low, high = math.floor(float(reference.min())), float(reference.max())
    width = left.shape[1]
    if not low < high < width / 2:
        raise ValueError(
            f"{name}: expected several disparities up to half the width, got {low} to {high:g} px "
            f"of {width}"
        )
    matched = ((matched - low) / (high - low)).clamp(0, 1)
    depths = {"matched": matched, "small": shrink(matched)}
    if disparity is not None:
        depths["true"] = (reference - low) / (high - low)
    views = [_picture(view) for view in (left, right)]
    moved = views[1].roll(low, -1)
    return TruePair(name, views[0], moved, reference - low, sure, depths, low)


def true_pairs(folder: Path, selection: Selection) -> Iterator[TruePair]:
    """Yield the pairs of a folder: NAME_left.png and NAME_right.png, or one pair with disparity.

    Raises:
        DataError: the folder has no pair.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder, there is none")
    names = [p for p in folder.iterdir() if p.suffix.lower() in DISPARITIES]
    if any(p.stem.endswith(DISPARITY) for p in names):
        left, right, disparity = read_stereo_pair(folder)
        yield true_pair(folder.name, _bgr(left), _bgr(right), disparity)
        return
    for name, left, right in read_pairs(folder):
        try:
            yield true_pair(name, left, right)
        except (DataError, ValueError) as error:
            selection.leave_out(f"{name}: {error}")


def own_depth(pair: TruePair, estimator: DepthEstimator) -> InverseDepth:
    """Return an estimator's depth of the left view, fitted by scale and shift, `COLUMNS` wide.

    It is fitted to the matched one, by least squares where that is sure.
    """
    estimate = estimator.estimate(pair.left)
    here = pair.sure > 0
    fit = np.polyfit(estimate[here].double().numpy(), pair.depths["matched"][here].numpy(), 1)
    return shrink(estimate * float(fit[0]) + float(fit[1])).clamp(0, 1)


def shrink(plane: Tensor) -> Tensor:
    """Average `[1, 1, H, W]` down to `COLUMNS` columns; what is narrower stays as it is."""
    height, width = plane.shape[-2:]
    if width <= COLUMNS:
        return plane
    size = (COLUMNS, round(height * COLUMNS / width))
    small = cv2.resize(plane[0, 0].float().numpy(), size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small)[None, None]


def edge_band(disparity: Disparity) -> Tensor:
    """Return 1 around both ends of each depth edge, where the right view shows them, else 0.

    Args:
        disparity: `[1, 1, H, W]` of the left view, in pixels.
    """
    width = disparity.shape[-1]
    row, right = ((disparity[0, 0].diff(dim=-1)).abs() > JUMP).nonzero(as_tuple=True)
    ends = torch.zeros_like(disparity)
    for column in (right, right + 1):
        place = (column - disparity[0, 0, row, column]).round().long()
        inside = (place >= 0) & (place < width)
        ends[0, 0, row[inside], place[inside]] = 1
    return F.max_pool2d(ends, BAND, stride=1, padding=(BAND[0] // 2, BAND[1] // 2))


def made_eyes(
    left: Video,
    inverse_depth: InverseDepth,
    inpainters: Mapping[str, Inpainter],
    max_disparity: float,
    convergence: float = 0.0,
) -> dict[str, Video]:
    """Return row -> right eye `[T, 3, H, W]` in 8 bits' steps: fills, the sheet, the baseline.

    Args:
        left: `[T, 3, H, W]`.
        inverse_depth: `[T, 1, h, w]` in [0, 1].
        inpainters: by row.
        max_disparity: in percent of the width.
        convergence: the inverse depth on the screen.
    """
    options = ConvertOptions(
        max_disparity=max_disparity,
        convergence=convergence,
        max_front=None,
        max_behind=None,
        bars=False,
    )
    eyes = {}
    for row, inpainter in {**inpainters, SHEET: Sheet(left)}.items():
        pipeline = StereoPipeline(KnownDepth(inverse_depth), inpainter, options)
        eyes[row] = torch.cat([chunk.right for chunk in pipeline.convert(left)])
    eyes[FORWARD] = forward_warp(
        left, inverse_depth, max_disparity=max_disparity, convergence=convergence
    )
    return {row: (eye.clamp(0, 1) * 255).round() / 255 for row, eye in eyes.items()}


def score_eye(
    eye: Video, pair: TruePair, band: Tensor, perceptual: Perceptual | None = None
) -> Scores:
    """Return the figures of a right eye `[1, 3, H, W]`; `band` is its `edge_band`."""
    scores = {
        "psnr_band": psnr(eye, pair.right, band),
        "psnr_band_known": psnr(eye, pair.right, band * pair.known),
        "psnr_frame": psnr(eye, pair.right, pair.frame),
    }
    if perceptual is not None:
        views = (view[..., pair.columns] for view in (eye, pair.right))
        with torch.inference_mode():
            scores["st_lpips_frame"] = float(perceptual(*views))
    return scores


def measure_pairs(
    folders: Sequence[Path],
    inpainters: Mapping[str, Inpainter],
    estimators: Mapping[str, DepthEstimator],
    perceptual: Perceptual | None,
    selection: Selection,
) -> Iterator[tuple[str, str, dict[str, Scores], np.ndarray]]:
    """Yield kind, pair, row -> figures, and a row of pictures: each pair by each of its depths.

    Raises:
        DataError: a folder has no pair.
        ValueError, VideoError: a pair with disparity cannot be read.
    """
    for folder in folders:
        for pair in true_pairs(folder, selection):
            own = {f"own ({name})": own_depth(pair, e) for name, e in estimators.items()}
            band = edge_band(pair.disparity) * pair.frame
            for depth, inverse_depth in {**pair.depths, **own}.items():
                eyes = made_eyes(pair.left, inverse_depth, inpainters, pair.max_disparity)
                rows = {row: score_eye(eye, pair, band, perceptual) for row, eye in eyes.items()}
                kind = f"right eyes of {folder.name}, depth: {depth}"
                tiles = {"left": pair.left, **eyes, "truth": pair.right}
                picture = tile_row(f"{kind}: {pair.name}", tiles, busiest_window(band))
                yield kind, pair.name, rows, picture


def _whole(disparity: Disparity) -> Disparity:
    """Give the unknown pixels of a disparity, 0, that of their gap's farther end."""
    known = (disparity > 0).float()
    farthest = torch.where(known > 0, disparity, disparity[known > 0].min())
    return nearest_background(farthest, 1 - known, farthest)


def _picture(view: np.ndarray) -> Video:
    return torch.from_numpy(view[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255


def _bgr(picture: Video) -> np.ndarray:
    levels = (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return np.ascontiguousarray(levels[..., ::-1])
