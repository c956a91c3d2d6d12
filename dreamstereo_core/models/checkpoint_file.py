"""Files of tensors, opened lazily: safetensors in one file or in shards, and PyTorch's own."""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

WEIGHTS = Path(__file__).parent.parent / "weights"
"""The embedded models."""
SAFETENSORS = (".safetensors", ".sft")
PICKLED = (".pth", ".pt", ".ckpt", ".bin")
KIND_KEY = "dreamstereo_model"
CONFIG_KEY = "dreamstereo_config"

_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")


class CheckpointError(ValueError):
    """A file that is not the checkpoint it should be; the text is one line that names it."""


@dataclass(frozen=True)
class CheckpointFile:
    """The tensors of a file by name; each is read when it is asked for."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor] = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str | None:
        """What a DreamStereo file holds, as `save_checkpoint` was told; None for other files."""
        return self.metadata.get(KIND_KEY)

    @property
    def config(self) -> str | None:
        """The config of a DreamStereo file, JSON; None for other files."""
        return self.metadata.get(CONFIG_KEY)


def open_checkpoint(path: str | Path) -> CheckpointFile:
    """Open a file, an index of shards (`*.index.json`), or the folder of either.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is corrupt, or of another format.
    """
    path = Path(path)
    if path.is_dir():
        path = _file_in_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.name.endswith(".index.json"):
        return _open_shards(path)
    if path.suffix in SAFETENSORS:
        match = _SHARD.fullmatch(path.stem)
        if match:
            raise CheckpointError(
                f"{path}: this is one shard of several; expected {match[1]}{path.suffix}.index.json"
            )
        return _open_safetensors(path)
    if path.suffix in PICKLED:
        return _open_pickled(path)
    raise CheckpointError(
        f"{path}: expected a {', '.join((*SAFETENSORS, *PICKLED))} or .index.json file"
    )


def save_checkpoint(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    *,
    kind: str,
    config: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a DreamStereo file, which carries its config; an existing one is replaced at once.

    Args:
        path: `*.safetensors`.
        tensors: by name.
        kind: what it holds, as "transformer".
        config: JSON.
        metadata: more texts to keep.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    texts = {**(metadata or {}), "format": "pt", KIND_KEY: kind, CONFIG_KEY: config}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        save_file({name: x.contiguous() for name, x in tensors.items()}, temporary, metadata=texts)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _file_in_folder(folder: Path) -> Path:
    # The root of a diffusers pipeline has its transformer in a folder of that name.
    for place in (folder, folder / "transformer"):
        indices = sorted(place.glob("*.safetensors.index.json"))
        files = indices or sorted(place.glob("*.safetensors"))
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files)
            raise CheckpointError(f"{place}: expected one checkpoint, got {names}")
    raise CheckpointError(f"{folder}: expected a folder with a .safetensors file, got none")


def _open_safetensors(path: Path) -> CheckpointFile:
    try:
        file: Any = safe_open(path, framework="pt")
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: expected a complete safetensors file; it is truncated or corrupt ({error})"
        ) from error
    return CheckpointFile(path, shapes, file.get_tensor, file.metadata() or {})


def _open_shards(index: Path) -> CheckpointFile:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {place: index.parent / Path(place).name for place in sorted(set(places.values()))}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index}: expected an index with a weight_map of names and files"
        ) from error
    missing = [shard.name for shard in shards.values() if not shard.exists()]
    if missing:
        raise CheckpointError(f"{index}: expected its shards beside it, no {', '.join(missing)}")
    files = {place: _open_safetensors(shard) for place, shard in shards.items()}
    lost = [name for name, place in places.items() if name not in files[place].shapes]
    if lost:
        raise CheckpointError(
            f"{index}: expected {lost[0]} in {places[lost[0]]}, where it is not "
            f"({len(lost)} such names)"
        )
    return CheckpointFile(
        index,
        {name: files[place].shapes[name] for name, place in places.items()},
        lambda name: files[places[name]].read(name),
        next(iter(files.values())).metadata if files else {},
    )


def _open_pickled(path: Path) -> CheckpointFile:
    try:
        # Only the zip format can be mapped into memory.
        tensors: Any = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: expected a complete PyTorch file of tensors alone; it is truncated, corrupt "
            f"or holds code"
        ) from error
    for key in ("state_dict", "module", "model"):
        if isinstance(tensors, dict) and isinstance(tensors.get(key), dict):
            tensors = tensors[key]
    if not isinstance(tensors, dict) or not all(isinstance(x, Tensor) for x in tensors.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors")
    shapes = {name: tuple(x.shape) for name, x in tensors.items()}
    return CheckpointFile(path, shapes, tensors.__getitem__)
