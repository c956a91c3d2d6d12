"""Trainings so small that a CPU ends them in minutes, to see that a recipe does what it says.

    python training/ablate.py vae --videos media/train/videos/clips

Each makes its own tiny starting weights and clips, runs the recipes as their commands run, and
writes NAME.md into the output folder. The figures are of these tiny networks alone.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.files import DataError
from paper.tiny_runs import distill_tiny_vae

ABLATIONS = {"vae": distill_tiny_vae}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, print and write its table; return 0, or 1 with a line why not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=ABLATIONS)
    parser.add_argument("--videos", type=Path, default=Path("docs"), help="folder of films")
    parser.add_argument("--steps", type=int, default=1200, help="of each training")
    parser.add_argument("--out", type=Path, default=Path("runs/ablate"))
    options = parser.parse_args(arguments)
    folder = options.out / options.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        text = ABLATIONS[options.name](options.videos, folder, options.steps)
    except (DataError, OSError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    print(text)
    (options.out / f"{options.name}.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
