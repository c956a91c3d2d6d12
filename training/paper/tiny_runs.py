"""The recipes themselves, run as their commands run, at a size that a CPU trains in minutes."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.files import DataError
from dreamstereo_core.models.config import LATENT_CHANNELS
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.models.vae.config import WanVAEConfig
from dreamstereo_core.models.vae.wan import WanVAE

TRAINING = Path(__file__).parents[1]
STANDARD = {"mean": (0.0,) * 16, "std": (1.0,) * 16, "latent_space": "tiny"}
TEACHER = WanVAEConfig((16, 16, 32, 32), (1,) * 4, (1,) * 4, **STANDARD)
STUDENT = WanVAEConfig((8, 8, 16, 16), (1,) * 4, (1,) * 4, flat=True, **STANDARD)
"""As the distilled preset beside Wan's: a fifth of the weights here, flat."""
SIDE, FRAMES = 32, 5
CROP = 16
"""Of the clips that the autoencoders learn from."""
SETTINGS = {
    "data.frames": FRAMES,
    "data.height": SIDE,
    "data.width": SIDE,
    "data.workers": 0,
    "run.accumulate": 1,
    "run.warmup": 20,
    "run.precision": "float32",
    "run.ema": 0.98,
    "run.keep": 1,
    "checkpointing": "false",
}
"""What differs from the recipes' files, beside what each ablation sets."""


def run_command(script: str, *words: object) -> None:
    """Run a command of `training/`; its output goes where this one's goes.

    Raises:
        DataError: it fails.
    """
    command = [sys.executable, str(TRAINING / script), *map(str, words)]
    if subprocess.run(command).returncode:
        raise DataError(f"{script}: failed; its own words stand above")


def run_recipe(
    script: str, out: Path, settings: Mapping[str, Any], config: str | None = None
) -> Path:
    """Run a recipe with a file of `configs/`, changed; return its `model.safetensors`.

    The file is the one of the script's name unless `config` names another.

    Raises:
        DataError: it fails.
    """
    changes = [f"--set={key}={value}" for key, value in settings.items()]
    file = TRAINING / "configs" / (config or f"{Path(script).stem}.yaml")
    run_command(script, file, "--out", out, *changes)
    return out / "model.safetensors"


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the rows of a run's table."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def train_teacher(pairs: Path, out: Path, steps: int) -> Path:
    """Train the teacher by the recipe, without what ties it to another; return its file.

    Raises:
        DataError: the recipe fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        **vae_settings(pairs, steps),
        "student": random_vae(TEACHER, out / "start.safetensors", 0),
        "teacher": random_vae(STUDENT, out / "unused.safetensors", 1),
        "adversarial": 0,
        "latent": 0,
        "match": 0,
        "kl": 1e-4,
    }
    return run_recipe("distill_vae.py", out, settings)


def random_vae(config: WanVAEConfig, path: Path, seed: int) -> Path:
    """Write an autoencoder with random weights, sure of its latents; return the file.

    torch's own weights shrink a signal at each layer: after so many, little but the biases comes
    through, and hundreds of steps pass before that is mended. So it is with a variance of 1.
    """
    torch.manual_seed(seed)
    vae = build_vae(config)
    assert isinstance(vae, WanVAE) and vae.conv1.bias is not None
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.weight.any():
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        vae.conv1.weight[LATENT_CHANNELS:] *= 0.01
        vae.conv1.bias[LATENT_CHANNELS:] = -6.0
    save_network(vae, path, VAE)
    return path


def vae_settings(pairs: Path, steps: int) -> dict[str, Any]:
    """Return what both autoencoders' trainings have."""
    return {
        **SETTINGS,
        "data.pairs": pairs,
        "run.steps": steps,
        "data.height": CROP,
        "data.width": CROP,
        "run.batch": 4,
        "run.lr": 1.5e-3,
        "run.sample_every": min(100, steps),
        "perceptual": 0,
    }
