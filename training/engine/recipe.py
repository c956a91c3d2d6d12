"""What every recipe does: it reads settings, starts, builds, fits and exports."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from torch.utils.data import Dataset

from engine.loop import DivergedError, Player, Sample, Trainer, make_accelerator
from engine.needs import CONFIGS, describe_needs, missing_files
from engine.settings import load_settings

T = TypeVar("T")


def main_of(
    cls: type[T],
    train: Callable[[T, Path], Path],
    description: str | None,
    arguments: Sequence[str] | None = None,
    *,
    default: str | None = None,
) -> int:
    """Run a recipe as its command line says; return the exit code.

    Args:
        cls: its settings.
        train: makes the exported file of settings and a folder.
        description: for `--help`.
        arguments: the command line; None = the process's.
        default: the config in `configs/` of a command line without one.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "YAML, as those in training/configs" + (f"; without one, {default}" if default else "")
    parser.add_argument("config", type=Path, nargs="?", help=text)
    parser.add_argument(
        "--out", type=Path, help="folder of the run; without it, runs/ and the config's name"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a setting; of a list of sections, data.0.KEY or data.*.KEY",
    )
    args = parser.parse_args(arguments)
    if default and args.config is None:
        args.config = CONFIGS / default
    if args.config is None:
        print(f"{parser.prog}: {describe_needs(cls)}", file=sys.stderr)
        return 2
    try:
        settings = load_settings(cls, args.config, args.set)
        missing = missing_files(settings)
        if len(missing) > 1:  # a single one is named by what opens it
            print(f"{args.config}: expected these, which are not there:", file=sys.stderr)
            print(*(f"  {line}" for line in missing), sep="\n", file=sys.stderr)
            return 1
        path = train(settings, args.out or Path("runs") / args.config.stem)
    except (ValueError, OSError, DivergedError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"wrote {path}")
    return 0


@dataclass(frozen=True)
class Run:
    """A run that has started: the recipe's settings, its folder, its device and processes."""

    settings: Any
    folder: Path
    accelerator: Accelerator

    @property
    def seed(self) -> int:
        """Of all that is drawn."""
        return self.settings.run.seed

    @property
    def device(self) -> torch.device:
        """Of this process."""
        return self.accelerator.device

    def fit(
        self,
        players: Sequence[Player],
        dataset: Dataset,
        *,
        sample: Sample,
        export: Callable[[Path], object],
        name: str = "model.safetensors",
    ) -> Path:
        """Train to the last step, or to the signal that stops the run; return the exported file.

        Args:
            players: see `Trainer`, as for the next two.
            dataset: gives a sample for each number.
            sample: makes a picture and figures.
            export: writes what was learned to the path that it is given.
            name: of that file.

        Raises:
            DivergedError: a loss is not finite.
            StateError: a checkpoint cannot be read or written.
            SettingsError: the folder holds a run with other settings.
        """
        settings, data = self.settings, self.settings.data
        trainer = Trainer(
            self.folder,
            settings,
            settings.run,
            players,
            dataset,
            sample=sample,
            workers=(data[0] if isinstance(data, tuple) else data).workers,
            accelerator=self.accelerator,
        )
        trainer.fit()
        return trainer.export(export, name)


def start(settings: Any, folder: Path) -> Run:
    """Start a run: what is drawn from now on, as first weights, is drawn from its seed."""
    accelerator = make_accelerator(settings.run)
    torch.manual_seed(settings.run.seed)
    return Run(settings, folder, accelerator)


def file_digest(spec: str) -> str:
    """Return what tells two files apart, or a name as it is."""
    path = Path(spec)
    if not path.is_file():
        return spec
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
