"""Training pairs on disk: safetensors files of encoded pictures, written beside and renamed.

A pair is a clip, its holes and, where it was made, their first fill. Frames are H.264 at full
colour resolution, JPEG or PNG, masks one-bit PNG, and of a fill only the blocks with holes are
kept, so that a shard is a percent of the raw pixels; the file's metadata lists the pairs, the
sources that are finished with it, and the settings they were made with. A source never spans two
shards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data.files import DataError
from data.films import decode_film, encode_film
from data.shards import ShardWriter, decode_picture, read_metadata, read_tensors

SHARD_BYTES = 128 * 2**20
LOSSLESS = 0
"""A quality: PNG instead of JPEG."""
FILL_QUALITY = 95
"""Of the first fills' JPEG where frames are H.264."""
BLOCK = 8
"""Pixels of a JPEG block's side."""


@dataclass(frozen=True)
class Pair:
    """A clip `[T, 3, H, W]` uint8, its holes `[T, H, W]` bool, and where it is from."""

    frames: Tensor
    mask: Tensor
    info: dict[str, Any]
    fill: Tensor | None = None
    """The clip with its holes filled at first, `[T, 3, H, W]` uint8; None = none was made."""


@dataclass(frozen=True)
class PairEntry:
    """One pair's place, size and origin."""

    path: Path
    index: int
    info: dict[str, Any]

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, height, width."""
        t, h, w = self.info["size"]
        return t, h, w

    @property
    def has_fill(self) -> bool:
        """Whether a first fill was stored."""
        return "fill_bytes" in self.info

    def read(self) -> Pair:
        """Decode the pair.

        Raises:
            DataError: the shard is not there any more, or damaged.
        """
        frames, mask = self.read_frames(0, self.size[0]), self.read_mask()
        fill = None
        if self.has_fill:
            fill = torch.where(mask.unsqueeze(1), self.read_fill(0, self.size[0]), frames)
        return Pair(frames, mask, self.info, fill)

    def read_frames(self, start: int, stop: int) -> Tensor:
        """Decode the frames start <= index < stop, `[T, 3, H, W]` uint8."""
        if "frame_bytes" not in self.info:
            (blob,) = read_tensors(self.path, [f"{self.index}.film"])
            return decode_film(blob, start, stop, self.path)
        return self._colours("frames", "frame_bytes", slice(start, stop))

    def read_fill(self, start: int, stop: int) -> Tensor:
        """Decode the first fill of these frames, `[T, 3, H, W]` uint8; it is right in holes only.

        Raises:
            DataError: there is none, or the shard is damaged.
        """
        self.check_fill()
        return self._colours("fills", "fill_bytes", slice(start, stop))

    def check_fill(self) -> None:
        """Make sure that there is a first fill.

        Raises:
            DataError: there is none.
        """
        if not self.has_fill:
            raise DataError(
                f"{self.path}: expected pairs with a first fill, which is to be made better, "
                "got none; build them again with build_pairs.py --fill"
            )

    def _colours(self, name: str, sizes: str, wanted: slice) -> Tensor:
        pictures = self._decode(name, sizes, cv2.IMREAD_COLOR, wanted)
        video = torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1]))
        return video.permute(0, 3, 1, 2).contiguous()

    def read_mask(self) -> Tensor:
        """Decode the holes, `[T, H, W]` bool."""
        masks = self._decode("masks", "mask_bytes", cv2.IMREAD_GRAYSCALE, slice(None))
        return torch.from_numpy(masks > 0)

    def _decode(self, name: str, sizes: str, flag: int, wanted: slice) -> np.ndarray:
        (blob,) = read_tensors(self.path, [f"{self.index}.{name}"])
        parts = blob.split(self.info[sizes])[wanted]
        return np.stack([decode_picture(part, flag, self.path) for part in parts])


def list_pairs(folder: str | Path) -> list[PairEntry]:
    """Return the pairs of a folder in the order in which they were written.

    Raises:
        DataError: there is none, or a shard is damaged.
    """
    entries = []
    for path in sorted(Path(folder).glob("pairs-*.safetensors")):
        entries += [PairEntry(path, i, info) for i, info in enumerate(_read(path)["pairs"])]
    if not entries:
        raise DataError(
            f"{folder}: expected pairs-*.safetensors of build_pairs.py with at least one pair"
        )
    return entries


@dataclass
class PairWriter:
    """Writes pairs; `done` are the sources that earlier runs have finished.

    Raises:
        DataError: the folder holds pairs of other settings, or the disk takes no more.
    """

    folder: Path
    settings: dict[str, Any]
    quality: int | None = 95
    """Of JPEG; `LOSSLESS` = PNG; None = H.264."""
    shard_bytes: int = SHARD_BYTES
    done: set[str] = field(default_factory=set)
    written: int = 0
    """Pairs in the folder."""
    part: str = ""
    """What tells this writer's files from those of others that write at the same time."""

    def __post_init__(self) -> None:
        self._shards = ShardWriter(self.folder, f"pairs-{self.part}" if self.part else "pairs")
        self._pairs: list[dict[str, Any]] = []
        self._sources: list[str] = []
        for path in sorted(self.folder.glob("pairs-*.safetensors")):
            metadata = _read(path)
            if metadata["settings"] != json.loads(json.dumps(self.settings)):
                raise DataError(
                    f"{path}: was made with other settings; expected an empty folder or the same"
                )
            self.done |= set(metadata["sources"])
            self.written += len(metadata["pairs"])

    def add(self, source: str, pairs: list[Pair]) -> None:
        """Take all pairs of one source; write a shard when enough has come together."""
        for pair in pairs:
            parts = {"mask": [_encode_mask(mask) for mask in pair.mask]}
            if self.quality is not None:
                parts["frame"] = [_encode_frame(frame, self.quality) for frame in pair.frames]
            if pair.fill is not None:
                fill, quality = _blocks_with_holes(pair.fill, pair.mask), self.quality
                quality = FILL_QUALITY if quality is None else quality
                parts["fill"] = [_encode_frame(frame, quality) for frame in fill]
            t, _, h, w = pair.frames.shape
            sizes = {f"{name}_bytes": [len(x) for x in blobs] for name, blobs in parts.items()}
            self._pairs.append({**pair.info, "source": source, "size": [t, h, w], **sizes})
            blobs = {f"{name}s": np.concatenate(blobs) for name, blobs in parts.items()}
            if self.quality is None:
                blobs["film"] = encode_film(pair.frames)
            self._shards.add(blobs)
        self._sources.append(source)
        if self._shards.bytes >= self.shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what has been added."""
        if not self._pairs:
            return
        metadata = {"pairs": self._pairs, "sources": self._sources, "settings": self.settings}
        self._shards.write(metadata)
        self.written += len(self._pairs)
        self.done |= set(self._sources)
        self._pairs, self._sources = [], []


def _read(path: Path) -> dict[str, Any]:
    return read_metadata(path, "build_pairs.py", "pairs", "sources", "settings")


def _blocks_with_holes(fill: Tensor, mask: Tensor) -> Tensor:
    """Blacken the other blocks: the clip has them, and they cost next to nothing when black."""
    blocks = F.max_pool2d(mask.unsqueeze(1).float(), BLOCK, ceil_mode=True)
    kept = blocks.repeat_interleave(BLOCK, -1).repeat_interleave(BLOCK, -2)
    return fill * kept[..., : fill.shape[-2], : fill.shape[-1]].to(fill)


def _encode_frame(frame: Tensor, quality: int) -> np.ndarray:
    image = frame.permute(1, 2, 0).flip(-1).contiguous().numpy()  # BGR
    if quality == LOSSLESS:
        return cv2.imencode(".png", image)[1]
    # Colour at full resolution: a hole's border is a border of colour too.
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    return cv2.imencode(".jpg", image, options)[1]


def _encode_mask(mask: Tensor) -> np.ndarray:
    image = mask.to(torch.uint8).mul(255).numpy()
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_BILEVEL, 1])[1]
