"""Pictures with inverse depth on disk: safetensors files of JPEGs and 16-bit PNGs.

Each view has a weight and, where its depth has gaps, 0 there: depth is stored from 1 to 65535 of
its view's largest value, so that 1 is infinitely far. A soft view's depth is right in its large
forms only, not in the place and sharpness of its edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.files import DataError
from data.shards import ShardWriter, decode_picture, read_metadata, read_tensors

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
        blobs = read_tensors(self.path, [f"{self.index}.picture", f"{self.index}.depth"])
        flag = cv2.IMREAD_UNCHANGED
        picture, depth = (decode_picture(blob, flag, self.path) for blob in blobs)
        inverse = (depth.astype(np.float32) - 1) / _LEVELS
        inverse[depth == 0] = np.nan
        return DepthView(np.ascontiguousarray(picture[..., ::-1]), inverse, self.weight, self.soft)


class DepthWriter:
    """Writes views to `<name>-00000.safetensors` and on; what is there already is kept."""

    def __init__(self, folder: Path, name: str = "views"):
        self._shards = ShardWriter(folder, name)
        self._marks: list[tuple[float, bool]] = []

    @property
    def shards(self) -> int:
        """Files of this name in the folder."""
        return self._shards.shards

    def add(self, view: DepthView) -> None:
        """Take a view; write a shard when there are enough.

        Raises:
            DataError: the disk takes no more.
        """
        self._marks.append((view.weight, view.soft))
        self._shards.add(encode(view))
        if len(self._marks) >= SHARD_VIEWS:
            self.flush()

    def flush(self) -> None:
        """Write what has been added."""
        if self._marks:
            weights, soft = zip(*self._marks, strict=True)
            self._shards.write({"weights": weights, "soft": soft})
            self._marks = []


def encode(view: DepthView) -> dict[str, np.ndarray]:
    """Return the `picture` as JPEG and the `depth` as 16-bit PNG, `[bytes]` uint8 each."""
    inverse = view.inverse_depth
    known = np.isfinite(inverse)
    largest = max(float(inverse[known].max(initial=0.0)), 1e-12)
    levels = np.round(np.where(known, inverse, 0) / largest * _LEVELS) + 1
    depth = np.where(known, levels, 0).astype(np.uint16)
    bgr = np.ascontiguousarray(view.picture[..., ::-1])
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    png = cv2.imencode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    return {"picture": jpeg.ravel(), "depth": png.ravel()}


def list_views(folder: str | Path) -> list[DepthEntry]:
    """Return the views of a folder, by file and number.

    Raises:
        DataError: there is none, or a shard is damaged.
    """
    entries = []
    for path in sorted(Path(folder).glob("*.safetensors")):
        metadata = read_metadata(path, "render_scenes.py", "weights", soft=None)
        weights = metadata["weights"]
        soft = metadata["soft"] or [False] * len(weights)
        for i, (weight, is_soft) in enumerate(zip(weights, soft, strict=True)):
            entries.append(DepthEntry(path, i, float(weight), bool(is_soft)))
    if not entries:
        raise DataError(f"{folder}: expected shards of render_scenes.py with at least one view")
    return entries
