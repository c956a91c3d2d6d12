"""Shards: numbered safetensors files of samples, each file whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data.files import DataError, write_safetensors


@dataclass
class ShardWriter:
    """Writes samples to `<name>-00000.safetensors` and on, after what is there."""

    folder: Path
    name: str
    samples: int = 0
    """That wait to be written."""
    bytes: int = 0
    """Of these samples."""
    _tensors: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shards = 1 + max((int(p.stem.split("-")[-1]) for p in self.paths()), default=-1)

    def paths(self) -> list[Path]:
        """Return the shards that are there, in order."""
        return sorted(self.folder.glob(f"{self.name}-*.safetensors"))

    def add(self, blobs: Mapping[str, np.ndarray]) -> None:
        """Take a sample's parts, bytes each: they become `<number in the shard>.<part>`."""
        for part, blob in blobs.items():
            self._tensors[f"{self.samples}.{part}"] = torch.from_numpy(blob)
            self.bytes += len(blob)
        self.samples += 1

    def write(self, metadata: Mapping[str, Any]) -> None:
        """Write the samples that wait as one shard.

        Raises:
            DataError: the disk takes no more.
        """
        path = self.folder / f"{self.name}-{self.shards:05d}.safetensors"
        write_safetensors(path, self._tensors, {k: json.dumps(v) for k, v in metadata.items()})
        self.shards, self.samples, self.bytes, self._tensors = self.shards + 1, 0, 0, {}


def read_tensors(path: Path, names: Sequence[str]) -> list[Tensor]:
    """Read some of a file's tensors.

    Raises:
        DataError: the file is not there any more, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return [file.get_tensor(name) for name in names]
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def read_metadata(path: Path, maker: str, *keys: str, **others: Any) -> dict[str, Any]:
    """Read what a shard says of its samples.

    Args:
        path: of the shard.
        maker: the script that writes such shards, for the message.
        keys: that have to be there.
        others: keys with what they are where they are not there.

    Raises:
        DataError: the file is damaged, or no shard of `maker`'s.
    """
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
        given = [*keys, *(key for key in others if key in texts)]
        return others | {key: json.loads(texts[key]) for key in given}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: expected a shard of {maker} ({error})") from error


def decode_picture(blob: Tensor, flag: int, path: Path) -> np.ndarray:
    """Decode a picture `[bytes]`, as OpenCV does by `flag`.

    Raises:
        DataError: it is none.
    """
    image = cv2.imdecode(blob.numpy(), flag) if len(blob) else None
    if image is None:
        raise DataError(f"{path}: holds a picture that cannot be decoded")
    return image
