"""Disparity of rectified stereo pairs without known depth, by semi-global matching."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from data.files import DataError
from evaluation.baselines import nearest_background

REACH = 96
"""Disparities looked at, in pixels."""
_WINDOW = 5
_AGREEMENT = 1.5  # px by which the two directions may differ


def matched_pairs(folder: Path, reach: int = REACH) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, left view `[1, 3, H, W]` and disparity `[1, 1, H, W]`, NaN where it is not sure.

    Args:
        folder: with `*_left.png` and `*_right.png`, rectified.
        reach: disparities looked at, in pixels, a multiple of 16.

    Raises:
        DataError: there are none, or one of a pair cannot be read.
    """
    for name, left, right in read_pairs(folder):
        picture = torch.from_numpy(left[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
        yield name, picture, match(left, right, reach)


def read_pairs(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, left and right view `[H, W, 3]`, BGR in 8 bits, of a folder as `matched_pairs`'s.

    Raises:
        DataError: there are none, or one of a pair cannot be read.
    """
    lefts = sorted(folder.glob("*_left.png"))
    if not lefts:
        raise DataError(f"{folder}: expected pairs of *_left.png and *_right.png, got none")
    for path in lefts:
        other = path.with_name(path.name.replace("_left", "_right"))
        views = [cv2.imread(str(x), cv2.IMREAD_COLOR) for x in (path, other)]
        if views[0] is None or views[1] is None or views[0].shape != views[1].shape:
            raise DataError(f"{path}: expected it and {other.name} to be pictures of one size")
        yield path.stem.removesuffix("_left"), views[0], views[1]


def match(left: np.ndarray, right: np.ndarray, reach: int = REACH) -> Tensor:
    """Return the disparity `[1, 1, H, W]` in pixels of BGR views, NaN where it is not sure.

    H. Hirschmueller, "Stereo Processing by Semiglobal Matching and Mutual Information" (PAMI
    2008), OpenCV's; kept where matching from right to left says the same.

    Args:
        left: `[H, W, 3]` in 8 bits.
        right: the same, rectified.
        reach: disparities looked at, in pixels, a multiple of 16.
    """
    grey = [cv2.cvtColor(view, cv2.COLOR_BGR2GRAY) for view in (left, right)]

    def matcher(least: int) -> cv2.StereoSGBM:
        cost = _WINDOW**2
        return cv2.StereoSGBM.create(
            least, reach, _WINDOW, 8 * cost, 32 * cost, 1, 63, 12, 120, 2, cv2.STEREO_SGBM_MODE_HH
        )

    forth, sure = _both_ways(matcher(0), matcher(-reach), grey[0], grey[1], least=0.5)
    return torch.from_numpy(np.where(sure, forth, np.nan))[None, None]


def reach_of(largest: float) -> int:
    """Return the reach in which a disparity of that many pixels lies."""
    return 16 * math.ceil((largest + 1) / 16)


def match_densely(left: np.ndarray, right: np.ndarray, reach: int = REACH) -> tuple[Tensor, Tensor]:
    """Return a disparity `[1, 1, H, W]` in pixels of BGR views, and where it is sure, 1 or 0.

    Colours are compared. What is not sure has the disparity of the farther end of its gap; then a
    median over 5 x 5 pixels smooths all of it.

    Args:
        left: `[H, W, 3]` in 8 bits.
        right: the same, rectified.
        reach: disparities looked at, in pixels, a multiple of 16.

    Raises:
        DataError: nothing is sure.
    """

    def matcher(least: int) -> cv2.StereoSGBM:
        cost = _WINDOW**2
        return cv2.StereoSGBM.create(
            least, reach, _WINDOW, 8 * cost, 32 * cost, 1, 63, 10, 100, 2, cv2.STEREO_SGBM_MODE_SGBM
        )

    forth, sure = _both_ways(matcher(0), matcher(-reach), left, right, least=0)
    if not sure.any():
        raise DataError("matching: expected a pair with some likeness, got none")
    far = np.where(sure, forth, forth[sure].min())
    disparity, known = (torch.from_numpy(x)[None, None] for x in (far, sure.astype(np.float32)))
    dense = nearest_background(disparity, 1 - known, disparity)[0, 0].numpy()
    return torch.from_numpy(cv2.medianBlur(dense, 5))[None, None], known


def _both_ways(
    forth: cv2.StereoSGBM, back: cv2.StereoSGBM, left: np.ndarray, right: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the left view's disparity `[H, W]`, and where it is more and both ways agree."""
    disparity = forth.compute(left, right).astype(np.float32) / 16
    other = -back.compute(right, left).astype(np.float32) / 16
    x = np.arange(disparity.shape[1])[None] - np.round(disparity).astype(int)
    there = np.take_along_axis(other, x.clip(0, x.shape[1] - 1), axis=1)
    agree = np.abs(there - disparity) < _AGREEMENT
    return disparity, (disparity > least) & (x >= 0) & agree
