"""The loop that every recipe runs: steps, learning rate, averages, checkpoints, samples."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from data.pair_dataset import batches
from data.random_streams import stream_seed
from engine.journal import Journal
from engine.run_settings import RunSettings as RunSettings
from engine.run_settings import batches_a_step, learning_rate
from engine.state import Ema, TrainState, checkpoint_path, checkpoints

Batch = dict[str, Any]
Losses = dict[str, Tensor]
Sample = Callable[[nn.Module], tuple[Tensor, Mapping[str, float]]]


class DivergedError(RuntimeError):
    """A loss or a gradient is not finite; the state before it is kept."""


@dataclass
class Player:
    """A module, its optimiser and its loss; two of them make an adversarial game.

    `loss` gets the prepared module and a batch, in which "step" is the number of steps done, and
    returns the losses by name; "loss" is minimised. It may leave things in the batch for the next
    players.
    """

    name: str
    module: nn.Module
    loss: Callable[[nn.Module, Batch], Losses]
    optimizer: torch.optim.Optimizer
    lr_factor: float = 1.0
    ema: bool = True


def adamw(module: nn.Module, settings: RunSettings) -> torch.optim.AdamW:
    """Return AdamW on the trained weights; vectors do not decay."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)


class Trainer:
    """Runs players over a dataset into a folder; the same call goes on where a run has stopped.

    Args:
        folder: of the run.
        settings: all of the recipe's, for the record.
        run: its part on the run.
        players: in the order in which they move.
        dataset: gives a sample for each number.
        sample: makes a picture `[3, H, W]` and figures of the first player's module, whose averages
            are in place.
        workers: of the loader.
        accelerator: None = a new one.
    """

    def __init__(
        self,
        folder: Path,
        settings: Any,
        run: RunSettings,
        players: Sequence[Player],
        dataset: Dataset,
        *,
        sample: Sample | None = None,
        workers: int = 0,
        accelerator: Accelerator | None = None,
    ):
        self.accelerator = accelerator or make_accelerator(run)
        if run.ema and self.accelerator.distributed_type == DistributedType.FSDP:
            raise ValueError("run.ema: expected 0 with FSDP, whose weights are spread out")
        self.run, self.players, self.dataset = run, list(players), dataset
        self.accumulate = batches_a_step(run, self.accelerator.num_processes)
        self.sample, self.workers = sample, workers
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        if self.accelerator.is_main_process:
            self.journal = Journal(folder, settings)
        self.accelerator.wait_for_everyone()
        self.prepared = {}
        for player in self.players:
            module, player.optimizer = self.accelerator.prepare(player.module, player.optimizer)
            self.prepared[player.name] = module
        inner = {p.name: getattr(p.optimizer, "optimizer", p.optimizer) for p in self.players}
        emas = {p.name: Ema(self._plain(p), run.ema) for p in self.players if run.ema and p.ema}
        self.state = TrainState(self.prepared, inner, emas)
        self.interrupted = False
        if found := checkpoints(self.checkpoints):
            self.state.load(found[-1])
        if self.accelerator.is_main_process:
            self.journal.rewind(self.state.step)

    def fit(self) -> int:
        """Train up to the last step or until SIGTERM or Ctrl-C; return the steps done.

        Raises:
            DivergedError: a loss is not finite; the state before it is in the last checkpoint.
            StateError: a checkpoint cannot be written.
        """
        run, state = self.run, self.state
        data = batches(
            self.dataset,
            run.batch,
            start=state.step * self.accumulate,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            workers=self.workers,
        )
        begin = time.perf_counter()
        bar = tqdm(
            total=run.steps,
            initial=state.step,
            disable=None if self.accelerator.is_main_process else True,
        )
        with bar, self._signals():
            if state.step == 0:
                self._sample()
            while state.step < run.steps and not self._stop():
                values = self._step([next(data) for _ in range(self.accumulate)])
                state.step += 1
                bar.update()
                if state.step % run.log_every == 0 or state.step == 1:
                    values["seconds"] = time.perf_counter() - begin
                    self._log(values)
                if state.step % run.sample_every == 0:
                    self._sample()
                if state.step % run.checkpoint_every == 0:
                    self._checkpoint()
        self._checkpoint()
        if self.accelerator.is_main_process and state.step % run.sample_every:
            self.journal.plot()
        return state.step

    def _step(self, micro: list[Batch]) -> dict[str, float]:
        step = self.state.step
        # Whatever is drawn in a step depends on its number alone: nothing else has to be kept.
        process = self.accelerator.process_index
        torch.manual_seed(stream_seed(self.run.seed, "step", step, process))
        rate = learning_rate(self.run, step)
        logged: dict[str, float] = {}
        device = self.accelerator.device
        micro = [
            {k: v.to(device, non_blocking=True) for k, v in batch.items()} | {"step": step}
            for batch in micro
        ]
        for player in self.players:
            self._move(player, micro, rate * player.lr_factor, logged)
        logged["lr"] = rate
        return logged

    def _move(
        self, player: Player, micro: list[Batch], rate: float, logged: dict[str, float]
    ) -> None:
        module = self.prepared[player.name]
        for group in player.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        player.optimizer.zero_grad(set_to_none=True)
        for i, batch in enumerate(micro):
            last = i == len(micro) - 1
            with self._synchronise(module, last), self.accelerator.autocast():
                losses = player.loss(module, batch)
                self.accelerator.backward(losses["loss"] / len(micro))
            for name, value in losses.items():
                key = name if player is self.players[0] else f"{player.name}_{name}"
                logged[key] = logged.get(key, 0.0) + float(value.detach()) / len(micro)
        trained = [p for p in module.parameters() if p.requires_grad]
        norm = self.accelerator.clip_grad_norm_(trained, self.run.clip)
        norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # pyright: ignore
        key = "gradient" if player is self.players[0] else f"{player.name}_gradient"
        logged[key] = norm
        # The norm is that of all processes together, so that all of them stop here.
        if not math.isfinite(norm):
            self._diverged(player, logged, micro)
        player.optimizer.step()
        if player.name in self.state.emas:
            self.state.emas[player.name].update(self._plain(player), self.state.step)

    @contextmanager
    def _synchronise(self, module: nn.Module, last: bool) -> Iterator[None]:
        if last:
            yield
        else:
            with self.accelerator.no_sync(module):
                yield

    def _diverged(self, player: Player, logged: dict[str, float], micro: list[Batch]) -> None:
        for other in self.players:
            other.optimizer.zero_grad(set_to_none=True)
        bad = [name for name, value in logged.items() if not math.isfinite(value)]
        samples = [int(i) for batch in micro for i in batch.get("index", ())]
        self._checkpoint()
        raise DivergedError(
            f"step {self.state.step + 1}: {', '.join(bad)} of {player.name} is not finite (samples "
            f"{samples}); the state before is kept in "
            f"{checkpoint_path(self.checkpoints, self.state.step)}; a lower learning rate may help"
        )

    def _log(self, values: dict[str, float]) -> None:
        if not self.accelerator.is_main_process:
            return
        self.journal.row(self.state.step, values)
        if not sys.stderr.isatty():  # where there is no bar
            figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            print(f"step {self.state.step} of {self.run.steps}: {figures}", flush=True)

    def _sample(self) -> None:
        if self.sample is None:
            return
        with torch.random.fork_rng(), self.averages():
            torch.manual_seed(self.run.seed)
            picture, figures = self.sample(self._plain(self.players[0]))
        if self.accelerator.is_main_process:
            self.journal.sample(self.state.step, picture)
            self.journal.row(self.state.step, figures, "held_out")
            if self.state.step:
                self.journal.plot()

    @contextmanager
    def averages(self) -> Iterator[None]:
        """Put the first player's averaged weights in place for a while."""
        if self.players[0].name not in self.state.emas:
            yield
            return
        with self.state.emas[self.players[0].name].applied(self._plain(self.players[0])):
            yield

    def export(self, write: Callable[[Path], object], name: str = "model.safetensors") -> Path:
        """Let `write` write the averaged weights into the run's folder; return the file's path."""
        path = self.folder / name
        with self.averages():
            if self.accelerator.is_main_process:
                write(path)
        self.accelerator.wait_for_everyone()
        return path

    def _checkpoint(self) -> None:
        path = checkpoint_path(self.checkpoints, self.state.step)
        if not path.exists():
            self.state.save(path, write=self.accelerator.is_main_process)
        if self.accelerator.is_main_process:
            for old in checkpoints(self.checkpoints)[: -self.run.keep]:
                old.unlink()

    def _plain(self, player: Player) -> nn.Module:
        """Return a player's module without what DDP puts around it."""
        return self.accelerator.unwrap_model(self.prepared[player.name])

    def _stop(self) -> bool:
        if self.accelerator.num_processes == 1:
            return self.interrupted
        if self.interrupted:
            self.accelerator.set_trigger()
        return self.accelerator.check_trigger()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM and Ctrl-C end the run after the step that it is in."""

        def stop(number: int, frame: object) -> None:
            self.interrupted = True

        before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_accelerator(run: RunSettings) -> Accelerator:
    """Return accelerate's own choice of device and processes, in the run's precision."""
    return Accelerator(mixed_precision="bf16" if run.precision == "bfloat16" else "no")
