"""How long, how fast and how often a run steps, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RunSettings:
    """How long, how fast, how often."""

    steps: int = 10000
    batch: int = 4
    """Clips a process takes at once."""
    accumulate: int = 1
    """Batches to a step."""
    global_batch: int | None = None
    """Clips of a step, of all processes together, whatever their number; `accumulate` follows from
    it. None = batch x accumulate x processes."""
    lr: float = 1e-4
    warmup: int = 100
    """Steps over which the learning rate rises."""
    schedule: Literal["cosine", "constant"] = "cosine"
    final_lr: float = 0.05
    """Of the cosine's end, as a part of `lr`."""
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    """Norm that a gradient is cut down to."""
    ema: float = 0.999
    """0 = no average is kept."""
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    log_every: int = 10
    sample_every: int = 500
    checkpoint_every: int = 500
    keep: int = 2
    """Checkpoints."""

    def __post_init__(self) -> None:
        every = ("log_every", "sample_every", "checkpoint_every")
        for name in ("steps", "batch", "accumulate", *every, "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.global_batch is not None and self.global_batch < 1:
            raise ValueError(f"global_batch: expected at least 1, got {self.global_batch}")
        if self.global_batch is not None and self.accumulate > 1:
            raise ValueError(
                f"accumulate: expected 1 beside global_batch, from which it follows, got "
                f"{self.accumulate}"
            )
        if not self.lr > 0 or not 0 <= self.ema < 1:
            raise ValueError(
                f"lr, ema: expected lr > 0 and 0 <= ema < 1, got {self.lr}, {self.ema}"
            )


def batches_a_step(run: RunSettings, processes: int) -> int:
    """Return how many batches each process takes to a step.

    Raises:
        ValueError: the global batch is not made of whole batches of all processes.
    """
    if run.global_batch is None:
        return run.accumulate
    together = run.batch * processes
    if run.global_batch % together:
        raise ValueError(
            f"run.global_batch: expected a multiple of {together} (run.batch {run.batch} x "
            f"{processes} processes), got {run.global_batch}"
        )
    return run.global_batch // together


def learning_rate(settings: RunSettings, step: int) -> float:
    """Return the rate of step `step`, from 0 on."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    if settings.schedule == "constant":
        return settings.lr * warm
    done = min(1.0, step / settings.steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return settings.lr * warm * (settings.final_lr + (1 - settings.final_lr) * cosine)
