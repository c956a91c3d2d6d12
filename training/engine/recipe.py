"""What every recipe's command does."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from engine.loop import DivergedError
from engine.needs import describe_needs, missing_files
from engine.settings import load_settings
from evaluation.perceptual import Perceptual

T = TypeVar("T")


def main_of(
    cls: type[T],
    train: Callable[[T, Path], Path],
    description: str | None,
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a recipe as its command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, nargs="?", help="YAML, as those in training/configs")
    parser.add_argument(
        "--out", type=Path, help="folder of the run; without it, runs/ and the config's name"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting"
    )
    args = parser.parse_args(arguments)
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


def perceptual_or_none(weight: float, device: torch.device) -> Perceptual | None:
    """Return the perceptual distance on `device` where its weight asks for it, frozen."""
    if not weight:
        return None
    return Perceptual().to(device).eval().requires_grad_(False)


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
