"""What the stages know at a frame, in a file."""

from __future__ import annotations

import os
import pickle
from collections import deque
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..depth.cues import EmbeddedState
from ..depth.normalize import Pool
from ..depth.steady import Memory as SteadyMemory
from ..depth.steady import SteadyState
from ..fill.mini import Past
from ..models.inpainter import Memory
from ..shots.histogram import ShotState
from ..types import Bars
from .marks import Recalled

_KINDS: dict[str, Any] = {
    "Bars": Bars,
    "EmbeddedState": EmbeddedState,
    "Memory": Memory,
    "Past": Past,
    "Pool": Pool,
    "Recalled": Recalled,
    "ShotState": ShotState,
    "SteadyMemory": SteadyMemory,
    "SteadyState": SteadyState,
}
_NAMES: dict[type, str] = {kind: name for name, kind in _KINDS.items()}
_KIND, _TUPLE, _DEQUE = "kind", "tuple", "deque"


class NotesError(Exception):
    """A file of notes cannot be used."""


def write_notes(path: Path, recalled: Recalled) -> None:
    """Write notes, safe from a cut of the power when this returns.

    Raises:
        OSError: the disk is full, or refuses.
        TypeError: a stage's state is of a kind that this does not know.
    """
    fresh = path.with_name(f"{path.name}.part")
    try:
        with fresh.open("wb") as file:
            torch.save(_plain(recalled), file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # torch's own for a full disk
        raise OSError(str(error)) from error
    os.replace(fresh, path)


def read_notes(path: Path) -> Recalled:
    """Read notes; nothing but numbers, names and tensors is taken from the file.

    Raises:
        NotesError: the file is missing or damaged.
    """
    try:
        recalled = _lively(torch.load(path, weights_only=True))
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise NotesError(f"{path}: cannot be used ({' '.join(str(error).split())})") from error
    if not isinstance(recalled, Recalled):
        raise NotesError(f"{path}: expected notes, got {type(recalled).__name__}")
    return recalled


def _plain(value: Any) -> Any:
    """Return a state made of dicts, lists, numbers and tensors that hold nothing else."""
    if isinstance(value, Tensor):
        return value.detach().clone()  # a view would bring along what it is a view of
    if is_dataclass(value) and not isinstance(value, type):
        return {
            _KIND: _NAMES[type(value)],
            **{f.name: _plain(getattr(value, f.name)) for f in fields(value)},
        }
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, tuple | deque):
        return {
            _KIND: _TUPLE if isinstance(value, tuple) else _DEQUE,
            "parts": [_plain(part) for part in value],
        }
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"notes: expected a state of known kinds, got {type(value).__name__}")


def _lively(value: Any) -> Any:
    """Return what `_plain` was given."""
    if isinstance(value, list):
        return [_lively(part) for part in value]
    if not isinstance(value, dict):
        return value
    parts = {key: _lively(part) for key, part in value.items()}
    kind = parts.pop(_KIND, None)
    if kind is None:
        return parts
    if kind == _TUPLE:
        return tuple(parts["parts"])
    if kind == _DEQUE:
        return deque(parts["parts"])
    return _KINDS[kind](**parts)
