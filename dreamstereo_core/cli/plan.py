"""`dreamstereo plan`: a film's shots as a text to read and change."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from ..convert_options import ConvertOptions
from ..interrupts import raise_if_interrupted
from ..plan import PLAN_SUFFIX, make_plan
from ..video_io import DecodeOptions, VideoError, probe
from .arguments import INPUT, add_reading, add_shots, options_of
from .outcome import DONE

TEXT = (
    "For each shot a line: its first frame, its length, strength (what --max-disparity is "
    "multiplied with; 0 makes the shot flat), convergence (a number in 0..1, or null: as convert's "
    "options say) and its bars. Change what you like, and give it to convert --plan."
)


def add_plan(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "plan",
        help="find a film's shots, to change one's depth by hand",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog=TEXT,
    )
    parser.add_argument("input", metavar="INPUT", help=INPUT)
    parser.add_argument("output", metavar="OUTPUT", nargs="?", type=Path,
                        help=f"the file to write (default: INPUT{PLAN_SUFFIX})")  # fmt: skip
    add_shots(parser)
    add_reading(parser.add_argument_group("how INPUT is read"))
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run, **vars(ConvertOptions()), **vars(DecodeOptions()))


def _run(options: argparse.Namespace) -> int:
    source = Path(options.input)
    target = options.output or source.with_name(source.name + PLAN_SUFFIX)
    if target.exists() and not options.overwrite:
        raise VideoError(f"{target}: is there already; --overwrite replaces it")
    decode = options_of(DecodeOptions, options)
    hidden = True if options.quiet else None
    total = probe(source, decode).frame_count
    with tqdm(desc=source.name, unit="frame", total=total, disable=hidden) as bar:

        def show_progress(count: int) -> None:
            raise_if_interrupted()
            bar.update(count - bar.n)

        plan = make_plan(
            source, options_of(ConvertOptions, options), decode, on_frame=show_progress
        )
    target.write_text(plan.to_json(), "utf-8")
    print(target)
    return DONE
