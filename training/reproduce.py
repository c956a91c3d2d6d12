"""The paper's tables and figures, each by one command, our figures beside the paper's.

    python training/reproduce.py table1 --videos FILMS --base FILE --lora FILE --vae FILE
    python training/reproduce.py table2 table9 --stereo-videos "Dynamic Replica=FOLDER" --base FILE
    python training/reproduce.py table1 --videos FILMS --export CLIPS
    python training/reproduce.py table1 --videos FILMS --fill "ProPainter=RESULTS" mini classic
    python training/reproduce.py --smoke

docs/reproduce.md has the command of each, what it needs and what is inferred. `--smoke` runs them
on tiny random weights: it shows that they run, and nothing else.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data.files import DataError
from data.sizes import read_size
from dreamstereo_core import VideoError
from dreamstereo_core.depth import DepthError
from dreamstereo_core.models.lora import parse_lora
from evaluation.exchange import export_clips
from evaluation.lpips_distance import load_lpips
from evaluation.perceptual import Perceptual
from evaluation.report import plain
from evaluation.stereo_videos import LAYOUTS
from paper.recipes import RECIPES
from paper.report import beside_the_paper
from paper.session import HD, SMALLER, Session, stereo_sets
from paper.smoke import smoke_options
from paper.tables import TABLES

SMALL = ("table3", "table4", "table8")
"""Tables whose clips are 1024x576."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the tables asked for; return 0, or 1 with a line for what is wrong."""
    options = parse_options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if options.smoke:
            options = smoke_options(options, Path(folder))
        try:
            return export(options) if options.export else reproduce(options)
        except (VideoError, DepthError, DataError, ValueError, OSError, ImportError) as error:
            print(f"reproduce: {' '.join(str(error).split())}", file=sys.stderr)
            return 1


def reproduce(options: argparse.Namespace) -> int:
    """Measure each table; write NAME.md and NAME.json into the output folder."""
    options.out.mkdir(parents=True, exist_ok=True)
    lpips, notes, without_lpips = None, [], []
    if options.smoke:
        notes.append("smoke size, random weights: the figures mean nothing")
    else:
        try:
            lpips = load_lpips()
        except DataError as error:
            without_lpips = [str(error)]
    if not options.paper:
        notes.append("by the pipeline's own protocol: narrow fill, tone lock, feather")
    perceptual = Perceptual()
    for name in options.tables:
        more = without_lpips if "lpips_full" in TABLES[name].columns else []
        session = Session(options, perceptual, lpips, [*notes, *more])
        try:
            parts = RECIPES[name](session)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        text = beside_the_paper(TABLES[name], parts, session.notes)
        print(text)
        record = {"options": vars(options), "figures": parts, "notes": session.notes}
        (options.out / f"{name}.md").write_text(text, encoding="utf-8")
        (options.out / f"{name}.json").write_text(
            json.dumps(plain(record), indent=1, allow_nan=False), encoding="utf-8"
        )
    return 0


def export(options: argparse.Namespace) -> int:
    """Write the clips of the tables for other systems instead of measuring."""
    session = Session(options, Perceptual(), None)
    sizes = {SMALLER if name in SMALL else HD for name in options.tables}
    count = 0
    if options.videos:
        for size in sorted(sizes):
            count += export_clips(session.films(size), options.export)
    if options.stereo_videos:
        for clips in stereo_sets(session).values():
            count += export_clips(clips, options.export)
    print(f"{count} clips in {options.export}")
    return 0


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("tables", nargs="*", metavar="TABLE", help=f"{', '.join(RECIPES)}; none = all")
    add("--smoke", action="store_true", help="tiny random weights and films")
    add(
        "--paper",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the plain protocol, no narrow fill, tone lock or feather, 81 frames or an error; "
        "--no-paper: the pipeline's own",
    )
    add("--videos", type=Path, metavar="FOLDER", help="films in place of HD-100")
    add("--stereo-videos", nargs="+", default=[], metavar="NAME=FOLDER")
    add("--match", action="store_true", help="match stereo videos that have no disparity")
    add("--source-layout", choices=LAYOUTS, default="auto", help="of files with both eyes")
    add("--base", metavar="FILE", help="DreamStereo checkpoint, or the base of --lora")
    add("--lora", type=parse_lora, action="append", default=[], metavar="FILE[:STRENGTH]")
    add("--context", type=Path, help="safetensors file with a text embedding")
    add("--vae", metavar="FILE", help="Wan's autoencoder, or another one")
    add("--distilled-vae", metavar="FILE", help="for table 6 and figure 9")
    add("--row", type=_row, action="append", default=[], metavar="NAME=FILE",
        help="another checkpoint or LoRA: tables 3 and 8")  # fmt: skip
    add("--fill", nargs="+", default=[], metavar="NAME=FOLDER",
        help="other systems' results for --export's clips; also fills by name")  # fmt: skip
    add("--depth", default="auto", help="depth estimator of the films")
    add("--frames", type=int, default=81, help="of a clip")
    add("--start", type=int, nargs="+", default=[30], help="first frame of a film")
    add("--limit", type=int, help="films, and scenes of a set")
    add("--size", type=read_size, metavar="WxH", help="instead of each table's own")
    add("--perceptual-frames", type=int, default=81, help="of a clip for LPIPS and ST-LPIPS")
    add("--seed", type=int, default=0)
    add("--export", type=Path, metavar="FOLDER", help="write the clips for other systems, and stop")
    add("--out", type=Path, default=Path("runs/reproduce"), help="folder for the tables")
    options = parser.parse_args(arguments)
    options.tables = options.tables or list(RECIPES)
    if unknown := [name for name in options.tables if name not in RECIPES]:
        parser.error(f"expected tables among {', '.join(RECIPES)}, got {unknown[0]!r}")
    return options


def _row(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text!r}")
    return name, file


if __name__ == "__main__":
    sys.exit(main())
