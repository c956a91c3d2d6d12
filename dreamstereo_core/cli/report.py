"""`dreamstereo report`: how comfortable a film's depth would be."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..comfort import Viewing
from ..comfort.write import summary
from ..convert_options import ConvertOptions
from ..interrupts import raise_if_interrupted
from ..report import report_file, stereo_report
from ..video_io import DecodeOptions
from .arguments import (
    INPUT,
    add_options,
    add_viewing,
    frame_range,
    load_chosen_depth,
    options_of,
)
from .download import tell_of_better_depth
from .outcome import DONE


def add_report(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "report",
        help="measure how comfortable the depth would be, without a conversion",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", help=INPUT)
    parser.add_argument("output", metavar="OUTPUT", nargs="?", type=Path,
                        help="names the files OUTPUT_comfort.html and .json (default: beside "
                        "INPUT)")  # fmt: skip
    add_options(parser)
    parser.add_argument("--frames", type=frame_range, default=(0, None), metavar="A:B",
                        help="measure frames A up to, not including, B")  # fmt: skip
    parser.add_argument("--stereo", action="store_true",
                        help="INPUT is 3D already: measure what lies between its eyes")  # fmt: skip
    add_viewing(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    geometry, decode = options_of(ConvertOptions, options), options_of(DecodeOptions, options)
    viewing = options_of(Viewing, options)
    with tqdm(unit="frame", disable=True if options.quiet else None) as bar:

        def on_step(done: int, total: int | None) -> None:
            raise_if_interrupted()
            bar.total = total
            bar.update(done - bar.n)

        how: dict[str, Any] = {"make": stereo_report, "shots": geometry.shots}
        if not options.stereo:
            tell_of_better_depth(options)
            how = {"depth": load_chosen_depth(options), "options": geometry}
        report, written = report_file(
            options.input,
            options.output,
            **how,
            overwrite=options.overwrite,
            decode=decode,
            frames=options.frames,
            viewing=viewing,
            on_step=on_step,
        )
    print(summary(report), *written, sep="\n")
    return DONE
