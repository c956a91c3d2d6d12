"""Trainings so small that a CPU ends them in minutes, to see that a recipe does what it says.

    python training/ablate.py vae
    python training/ablate.py captions
    python training/ablate.py unpaired

Tiny starting weights and clips (coloured squares on soft textures) are made first, and NAME.md is
written into the output folder. `vae` and `captions` run the recipes as their commands run, and go
on where they were interrupted; `unpaired` has the losses alone. The figures are of these tiny
networks alone.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.files import DataError
from paper.tiny_colours import compare_unpaired
from paper.tiny_squares import compare_captions, distill_vae

ABLATIONS = {
    "vae": distill_vae,
    "captions": compare_captions,
    "unpaired": compare_unpaired,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, print and write its table; return 0, or 1 with a line why not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=ABLATIONS)
    parser.add_argument("--steps", type=int, default=400,
                        help="of the autoencoders; the others' are in proportion")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/ablate"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        text = ABLATIONS[options.name](options.out, options.steps)
    except (DataError, OSError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    print(text)
    (options.out / f"{options.name}.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
