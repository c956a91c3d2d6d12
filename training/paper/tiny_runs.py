"""The recipes themselves, run as their commands run, at a size that a CPU trains in minutes."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from data.files import DataError
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.models.vae.config import WanVAEConfig

TRAINING = Path(__file__).parents[1]
STANDARD = {"mean": (0.0,) * 16, "std": (1.0,) * 16, "latent_space": "tiny"}
TEACHER = WanVAEConfig((16, 16, 32, 32), (1,) * 4, (1,) * 4, **STANDARD)
STUDENT = WanVAEConfig((8, 8, 16, 16), (1,) * 4, (1,) * 4, flat=True, **STANDARD)
"""As the distilled preset beside Wan's: a fifth of the weights here, flat."""
SIDE, FRAMES = 32, 5
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


def run_recipe(script: str, out: Path, settings: Mapping[str, Any]) -> Path:
    """Run a recipe with its own file of settings, changed; return what it exports.

    Raises:
        DataError: it fails.
    """
    changes = [f"--set={key}={value}" for key, value in settings.items()]
    config = TRAINING / "configs" / Path(script).with_suffix(".yaml").name
    run_command(script, config, "--out", out, *changes)
    return out / "model.safetensors"


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the rows of a run's table."""
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def distill_tiny_vae(videos: Path, out: Path, steps: int) -> str:
    """Train a tiny teacher, distil a student from it, and return the student's curve.

    The teacher learns by the same recipe without what ties it to another one. Both start at random.

    Args:
        videos: folder of films; one clip of each, eight films held out.
        out: folder for pairs, weights and runs; what is there is not made again.
        steps: of each of the two.

    Raises:
        DataError: there are too few films, or a recipe fails.
    """
    pairs = out / "pairs"
    if not any(pairs.glob("pairs-*.safetensors")):
        words = ("--size", "192x112", "--frames", FRAMES, "--clips", 1)
        run_command("build_pairs.py", videos, "--out", pairs, *words,
                    "--depth", "cues", "--warp", "random")  # fmt: skip
    files = {}
    for number, (name, config) in enumerate((("teacher", TEACHER), ("student", STUDENT))):
        torch.manual_seed(number)
        files[name] = out / f"{name}.safetensors"
        save_network(build_vae(config), files[name], VAE)
    common = {
        **SETTINGS,
        "data.pairs": pairs,
        "run.steps": steps,
        "run.batch": 4,
        "run.lr": 2e-3,
        "run.sample_every": min(100, steps),
        "perceptual": 0,
    }
    alone = {"teacher": files["student"], "student": files["teacher"], "adversarial": 0,
             "latent": 0, "match": 0, "kl": 1e-4}  # fmt: skip
    teacher = run_recipe("distill_vae.py", out / "run_teacher", {**common, **alone})
    tied = {
        "teacher": teacher,
        "student": files["student"],
        "width": 8,
        "adversarial_start": 3 * steps // 4,
    }
    run_recipe("distill_vae.py", out / "run_student", {**common, **tied})
    rows = read_rows(out / "run_student" / "held_out.csv")
    columns = ("step", "student", "student_as_teacher", "student_to_teacher", "teacher_to_student",
               "teacher")  # fmt: skip
    return markdown(columns, [[f"{row[c]:.4g}" for c in columns] for row in rows])
