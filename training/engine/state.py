"""A run's state on disk: written beside and renamed, so that a killed run's last one is whole.

Randomness is drawn anew from (seed, step) at every step and the learning rate is a function of the
step, so weights, their average, the optimisers and the step are all that there is to keep.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.optim import Optimizer

# The same calls serve one process, DDP and FSDP: whole tensors, on the CPU.
_OPTIONS = StateDictOptions(
    full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=False
)


class StateError(ValueError):
    """A checkpoint cannot be read or written, or is of another run; one line that names it."""


class Ema:
    """The running average of a module's trained weights."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.weights = {
            name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad
        }

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take the weights after `step` in; early ones are forgotten sooner."""
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(module.named_parameters())
        for name, average in self.weights.items():
            average.lerp_(parameters[name].detach(), 1 - decay)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Put the average in the module's place for a while."""
        parameters = dict(module.named_parameters())
        own = {name: parameters[name].data for name in self.weights}
        for name, average in self.weights.items():
            parameters[name].data = average
        try:
            yield
        finally:
            for name, weight in own.items():
                parameters[name].data = weight


@dataclass
class TrainState:
    """What is saved and restored."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]
    emas: Mapping[str, Ema]
    step: int = 0
    """Steps done."""

    def save(self, path: Path, *, write: bool = True) -> None:
        """Write the state; every process takes part, the one with `write` writes.

        Raises:
            StateError: it cannot be written (a full disk); what was there stays.
        """
        content: dict[str, Any] = {"step": self.step, "modules": {}, "optimizers": {}, "emas": {}}
        for name, module in self.modules.items():
            weights, optimizer = get_state_dict(module, self.optimizers[name], options=_OPTIONS)
            content["modules"][name], content["optimizers"][name] = weights, optimizer
        for name, ema in self.emas.items():
            content["emas"][name] = ema.weights
        if write:
            _write(path, content)

    def load(self, path: Path) -> None:
        """Restore the state.

        Raises:
            StateError: the file is damaged, or of a run of another shape.
        """
        content = read_state(path)
        for kind, own in (("modules", self.modules), ("emas", self.emas)):
            if content[kind].keys() != own.keys():
                raise StateError(
                    f"{path}: expected the {kind} {sorted(own)}, got {sorted(content[kind])}"
                )
        for name, module in self.modules.items():
            load_weights(module, content["modules"][name], path)
            set_state_dict(
                module,
                self.optimizers[name],
                model_state_dict=content["modules"][name],
                optim_state_dict=content["optimizers"][name],
                options=_OPTIONS,
            )
        for name, ema in self.emas.items():
            for key, value in content["emas"][name].items():
                ema.weights[key].copy_(value)
        self.step = content["step"]


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Check that a checkpoint's weights are those that `module` trains.

    Raises:
        StateError: a name or a shape differs.
    """
    expected = {
        name.removeprefix("module."): tuple(p.shape)
        for name, p in module.named_parameters()
        if p.requires_grad
    }
    got = {name: tuple(value.shape) for name, value in weights.items()}
    if wrong := sorted(n for n in expected if got.get(n) != expected[n]):
        raise StateError(
            f"{path}: is a checkpoint of another model: {wrong[0]} is {got.get(wrong[0])} instead "
            f"of {expected[wrong[0]]} ({len(wrong)} such weights)"
        )


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint's content.

    Raises:
        FileNotFoundError: there is none.
        StateError: it is damaged or something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise StateError(f"{path}: is damaged or no checkpoint of this package") from error
    if not isinstance(content, dict) or not {"step", "modules", "optimizers"} <= content.keys():
        raise StateError(f"{path}: is no checkpoint of this package")
    return content


def checkpoints(folder: Path) -> list[Path]:
    """Return a folder's whole checkpoints, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return where the state after `step` steps is kept."""
    return folder / f"step-{step:08d}.pt"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into the latter
        raise StateError(f"{path}: cannot be written ({error}); the one before is whole") from error
    finally:
        temporary.unlink(missing_ok=True)
