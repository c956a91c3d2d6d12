"""Open files of tensors lazily: safetensors in one file or in shards, and PyTorch files."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import CheckpointError as CheckpointError

WEIGHTS = Path(__file__).parents[2] / "weights"
"""The embedded models."""
SAFETENSORS = (".safetensors", ".sft")
PICKLED = (".pth", ".pt", ".ckpt", ".bin")
KIND_KEY = "dreamstereo_model"
CONFIG_KEY = "dreamstereo_config"

_SAFE_TORCH = (2, 6)  # in older versions a pickle could run code even with weights_only
# What torch's readers raise about a file that is not theirs, beside their own errors.
_UNREADABLE = (
    *(RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, struct.error),
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, ImportError),
    *(MemoryError, OverflowError),
)
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}")


@dataclass(frozen=True)
class CheckpointFile:
    """The tensors of a file by name; each is read only when it is needed."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor] = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str | None:
        """The kind of a DreamStereo file, as given to `save_checkpoint`; None for other files."""
        return self.metadata.get(KIND_KEY)

    @property
    def config(self) -> str | None:
        """The config of a DreamStereo file, JSON; None for other files."""
        return self.metadata.get(CONFIG_KEY)

    def read_weight(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Read a weight in `dtype`, or in the file's if that is None.

        Raises:
            CheckpointError: its numbers are not floating point, or not all finite.
        """
        tensor = self.read(name)
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{self.path}: {name}: expected floating point numbers, got {tensor.dtype}"
            )
        return self.require_finite(name, tensor if dtype is None else tensor.to(dtype))

    def require_finite(self, name: str, tensor: Tensor) -> Tensor:
        """Return a tensor that was made of this file's `name`.

        Raises:
            CheckpointError: it has NaN or infinite values.
        """
        # Torch has neither a test for infinity nor extremes of 8-bit numbers.
        numbers = tensor.float() if tensor.element_size() == 1 else tensor
        if numbers.numel() and not torch.isfinite(torch.stack(numbers.aminmax())).all():
            raise CheckpointError(
                f"{self.path}: {name}: expected finite weights, got NaN or infinity"
            )
        return tensor

    def require_blocks(self, blocks: int) -> None:
        """Require that the file can hold all blocks of a config, before they are built.

        Raises:
            CheckpointError: the file has fewer tensors than its config has blocks.
        """
        if blocks > len(self.shapes):
            raise CheckpointError(
                f"{self.path}: expected a tensor or more for each of the config's {blocks} blocks, "
                f"got {len(self.shapes)} in all"
            )


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


def mark_of(path: str | Path) -> str | None:
    """Return what a DreamStereo file says that it holds; None for any other, also a damaged one."""
    path = Path(path)
    if path.suffix not in SAFETENSORS or not path.is_file():
        return None
    try:
        return open_checkpoint(path).kind
    except CheckpointError:
        return None  # whoever loads it says what is wrong


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
        metadata = file.metadata() or {}
    except (SafetensorError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: expected a complete safetensors file; it is truncated or corrupt "
            f"({_one_line(error)})"
        ) from error

    def read(name: str) -> Tensor:
        try:
            return file.get_tensor(name)
        except (SafetensorError, *_UNREADABLE) as error:
            raise CheckpointError(
                f"{path}: {name}: expected a tensor that this torch can read ({_one_line(error)})"
            ) from error

    return CheckpointFile(path, shapes, read, metadata)


def _open_shards(index: Path) -> CheckpointFile:
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = {place: index.parent / Path(place).name for place in sorted(set(places.values()))}
        missing = [shard.name for shard in shards.values() if not shard.is_file()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise CheckpointError(
            f"{index}: expected an index with a weight_map of names and files"
        ) from error
    if missing or not shards:
        lost = ", ".join(missing) or "shards at all"
        raise CheckpointError(f"{index}: expected its shards beside it, no {lost}")
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
        next(iter(files.values())).metadata,
    )


def _open_pickled(path: Path) -> CheckpointFile:
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < _SAFE_TORCH:
        raise CheckpointError(
            f"{path}: expected torch 2.6 or newer to open such a file safely, got "
            f"{torch.__version__}; a .safetensors file is safe with any"
        )
    path.open("rb").close()  # that it may not be read is another fault than what follows
    try:
        # Only the zip format can be mapped into memory.
        tensors: Any = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except (OSError, *_UNREADABLE) as error:
        raise CheckpointError(
            f"{path}: expected a complete PyTorch file of tensors alone; it is truncated, corrupt "
            f"or holds code"
        ) from error
    for key in ("state_dict", "module", "model"):
        if isinstance(tensors, dict) and isinstance(tensors.get(key), dict):
            tensors = tensors[key]
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise CheckpointError(f"{path}: expected a dictionary of tensors")
    for name, tensor in tensors.items():
        _check_plain(path, name, tensor)
    shapes = {name: tuple(x.shape) for name, x in tensors.items()}
    return CheckpointFile(path, shapes, tensors.__getitem__)


def _check_plain(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is larger than its data in the file, or that is not dense."""
    plain = tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized)
    # With strides of 0 a few bytes may claim to be any number of weights.
    if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {name}: expected a plain tensor, all of it in the file")


def _one_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
