"""Disparity of rectified stereo pairs without known depth, by semi-global matching."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from files import DataError
from torch import Tensor

REACH = 96
"""Disparities looked at, in pixels."""
_WINDOW = 5
_AGREEMENT = 1.5  # px by which the two directions may differ


def matched_pairs(folder: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, left view `[1, 3, H, W]` and disparity `[1, 1, H, W]`, NaN where it is not sure.

    Args:
        folder: with `*_left.png` and `*_right.png`, rectified.

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
        left = torch.from_numpy(views[0][..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
        yield path.stem.removesuffix("_left"), left, match(views[0], views[1])


def match(left: np.ndarray, right: np.ndarray) -> Tensor:
    """Return the disparity `[1, 1, H, W]` in pixels of BGR views, NaN where it is not sure.

    H. Hirschmueller, "Stereo Processing by Semiglobal Matching and Mutual Information" (PAMI
    2008), OpenCV's; kept where matching from right to left says the same.
    """
    grey = [cv2.cvtColor(view, cv2.COLOR_BGR2GRAY) for view in (left, right)]

    def matcher(least: int) -> cv2.StereoSGBM:
        cost = _WINDOW**2
        return cv2.StereoSGBM.create(
            least, REACH, _WINDOW, 8 * cost, 32 * cost, 1, 63, 12, 120, 2, cv2.STEREO_SGBM_MODE_HH
        )

    forth = matcher(0).compute(grey[0], grey[1]).astype(np.float32) / 16
    back = -matcher(-REACH).compute(grey[1], grey[0]).astype(np.float32) / 16
    x = np.arange(forth.shape[1])[None] - np.round(forth).astype(int)
    there = np.take_along_axis(back, x.clip(0, x.shape[1] - 1), axis=1)
    sure = (forth > 0.5) & (x >= 0) & (np.abs(there - forth) < _AGREEMENT)
    return torch.from_numpy(np.where(sure, forth, np.nan))[None, None]
