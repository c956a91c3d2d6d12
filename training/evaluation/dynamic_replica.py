"""Dynamic Replica's disparities: its depth pictures, and the cameras of its annotations.

Karaev et al., "DynamicStereo: Consistent Dynamic Depth from Stereo Videos" (CVPR 2023). A depth is
a 16-bit PNG whose bits are those of a float16; focal lengths and positions stand in
`frame_annotations_SPLIT.jgz`, in PyTorch3D's units, beside the sequences or beside their folder.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from data.files import DataError

DEPTHS = "depths"
LEAST = 1e-5
"""Depth below which there is none."""


def replica_disparities(depths: Path, frames: int) -> Tensor:
    """Return the disparity `[T, 1, H, W]` in pixels of `NAME_left/depths`, 0 where unknown.

    Raises:
        DataError: there are fewer depths, or no annotations of both cameras.
    """
    files = sorted(depths.glob("*.png"))[:frames]
    if len(files) < frames:
        raise DataError(f"{depths}: expected depths of {frames} frames, got {len(files)}")
    scale = _focal_times_baseline(depths.parent)
    return torch.cat([_disparity(path, scale) for path in files])


def _disparity(path: Path, scale: float) -> Tensor:
    bits = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if bits is None or bits.dtype != np.uint16 or bits.ndim != 2:
        raise DataError(f"{path}: expected a depth as a grey PNG of 16 bits")
    depth = bits.view(np.float16).astype(np.float32)
    disparity = np.where(depth > LEAST, scale / np.maximum(depth, LEAST), 0)
    return torch.from_numpy(disparity.astype(np.float32))[None, None]


def _focal_times_baseline(left: Path) -> float:
    """Return the focal length in pixels times the distance of both cameras."""
    folder = left.parent
    paths = [*folder.glob("frame_annotations*.jgz"), *folder.parent.glob("frame_annotations*.jgz")]
    first = left.name
    second = first.removesuffix("_left") + "_right"
    cameras: dict[str, dict[str, Any]] = {}
    for path in paths:
        for frame in _annotations(path):
            name = Path(frame["image"]["path"]).parts[-3]
            if name in (first, second):
                cameras.setdefault(name, frame)
    if len(cameras) < 2:
        raise DataError(
            f"{left}: expected frame_annotations_SPLIT.jgz with its cameras in {folder} or "
            f"{folder.parent}, got {', '.join(p.name for p in paths) or 'none'}"
        )
    view = cameras[first]["viewpoint"]
    height, width = cameras[first]["image"]["size"]
    isotropic = view.get("intrinsics_format", "ndc_norm_image_bounds").lower() == "ndc_isotropic"
    focal = view["focal_length"][0] * (min(height, width) if isotropic else width) / 2
    return focal * abs(view["T"][0] - cameras[second]["viewpoint"]["T"][0])


@lru_cache(maxsize=2)
def _annotations(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as annotations ({error})") from error
