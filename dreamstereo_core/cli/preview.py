"""`dreamstereo preview`: sampled frames as anaglyph, depth and occlusion mask."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..preview import preview_sheet
from ..video_io import DecodeOptions
from .arguments import INPUT, add_options, load_models, options_of
from .outcome import DONE


def add_preview(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "preview",
        help="sample frames: anaglyph, depth, occlusion mask",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("input", metavar="INPUT", help=INPUT)
    parser.add_argument("output", metavar="OUTPUT", nargs="?", type=Path,
                        help="the PNG to write (default: INPUT_preview.png)")  # fmt: skip
    add_options(parser)
    parser.add_argument("--count", type=int, default=4, help="how many frames")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    target = preview_sheet(
        options.input,
        options.output,
        decode=options_of(DecodeOptions, options),
        **load_models(options),
        count=options.count,
        overwrite=options.overwrite,
    )
    print(target)
    return DONE
