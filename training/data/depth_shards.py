"""Pictures with inverse depth on disk: safetensors files of JPEGs and 16-bit PNGs.

Each view has a weight and, where its depth has gaps, 0 there: depth is stored from 1 to 65535 of
its view's largest value, so that 1 is infinitely far. A soft view's depth is right in its large
forms only, not in the place and sharpness of its edges.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from data.files import DataError, write_safetensors

SHARD_VIEWS = 500
_LEVELS = 65534


@dataclass(frozen=True)
class DepthView:
    """A picture `[H, W, 3]` uint8 RGB, its inverse depth `[H, W]` (NaN = unknown), its weight."""

    picture: np.ndarray
    inverse_depth: np.ndarray
    weight: float = 1.0
    soft: bool = False


@dataclass(frozen=True)
class DepthEntry:
    """One view's place."""

    path: Path
    index: int
    weight: float
    soft: bool = False

    def read(self) -> DepthView:
        """Decode the view; inverse depth is 1 at its nearest.

        Raises:
            DataError: the shard is not there any more, or damaged.
        """
        try:
            with safe_open(self.path, framework="np") as file:
                picture, depth = (
                    cv2.imdecode(file.get_tensor(f"{self.index}.{name}"), cv2.IMREAD_UNCHANGED)
                    for name in ("picture", "depth")
                )
        except (OSError, SafetensorError, cv2.error) as error:
            raise DataError(f"{self.path}: cannot be read ({error})") from error
        if picture is None or depth is None:
            raise DataError(f"{self.path}: holds a picture that cannot be decoded")
        inverse = (depth.astype(np.float32) - 1) / _LEVELS
        inverse[depth == 0] = np.nan
        return DepthView(np.ascontiguousarray(picture[..., ::-1]), inverse, self.weight, self.soft)


@dataclass
class DepthWriter:
    """Writes views to `<name>-00000.safetensors` and on; what is there already is kept."""

    folder: Path
    name: str = "views"
    views: list[tuple[np.ndarray, np.ndarray, float, bool]] = field(default_factory=list)
    shards: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shards = len(list(self.folder.glob(f"{self.name}-*.safetensors")))

    def add(self, view: DepthView) -> None:
        """Take a view; write a shard when there are enough.

        Raises:
            DataError: the disk takes no more.
        """
        self.views.append((*encode(view), view.weight, view.soft))
        if len(self.views) >= SHARD_VIEWS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added."""
        if not self.views:
            return
        tensors = {}
        for i, (picture, depth, *_) in enumerate(self.views):
            tensors |= {f"{i}.picture": torch.from_numpy(picture)}
            tensors |= {f"{i}.depth": torch.from_numpy(depth)}
        path = self.folder / f"{self.name}-{self.shards:05d}.safetensors"
        weights, soft = ([view[at] for view in self.views] for at in (2, 3))
        metadata = {"weights": json.dumps(weights), "soft": json.dumps(soft)}
        write_safetensors(path, tensors, metadata)
        self.shards += 1
        self.views = []


def encode(view: DepthView) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture as JPEG and the depth as 16-bit PNG, `[bytes]` uint8 each."""
    inverse = view.inverse_depth
    known = np.isfinite(inverse)
    largest = max(float(inverse[known].max(initial=0.0)), 1e-12)
    levels = np.round(np.where(known, inverse, 0) / largest * _LEVELS) + 1
    depth = np.where(known, levels, 0).astype(np.uint16)
    bgr = np.ascontiguousarray(view.picture[..., ::-1])
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    return jpeg.ravel(), cv2.imencode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].ravel()


def list_views(folder: str | Path) -> list[DepthEntry]:
    """Return the views of a folder, by file and number.

    Raises:
        DataError: there is none, or a shard is damaged.
    """
    entries = []
    for path in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                weights = json.loads(metadata["weights"])
                soft = json.loads(metadata.get("soft", "null")) or [False] * len(weights)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise DataError(f"{path}: expected a shard of render_scenes.py ({error})") from error
        for i, (weight, is_soft) in enumerate(zip(weights, soft, strict=True)):
            entries.append(DepthEntry(path, i, float(weight), bool(is_soft)))
    if not entries:
        raise DataError(f"{folder}: expected shards of render_scenes.py with at least one view")
    return entries
