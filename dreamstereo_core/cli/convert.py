"""`dreamstereo convert`: one film or many, one after the other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from ..convert import PIECE_SECONDS, Progress, conversion_targets, convert_file, makes_folder
from ..interrupts import LINE, raise_if_interrupted
from ..packing import FILE_LAYOUTS
from ..pieces import work_path
from ..video_io import DecodeOptions, EncodeOptions, probe, separate_pictures
from ..video_io.encode_options import AUTO, CHROMA, CODECS
from ..video_io.target import check_targets
from .arguments import INPUT, add_options, frame_range, load_models, options_of, seconds
from .jobs import Job, Plan, make_plan
from .outcome import DONE, ERRORS, FAILED, WrongUse, fail

NAMES = (
    "The last of several names is OUTPUT if it is a folder or not there yet. A file that exists is "
    "another INPUT; only after a single INPUT it is OUTPUT if dreamstereo made it, and --overwrite "
    "replaces it. Any other file is replaced only if it is named by --output, and what is read "
    "never is. Of several inputs, those whose result is there already are left out."
)


def add_convert(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "convert",
        help="convert videos, images or image sequences",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        usage="dreamstereo convert INPUT... [OUTPUT] [options]",
        epilog=NAMES,
    )
    parser.add_argument("names", metavar="INPUT", nargs="+",
                        help=f"{INPUT}, folder of videos; after them perhaps OUTPUT")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="OUTPUT", help="the file to write, numbered "
                        "images (frame_%%05d.png), or a folder (default: beside INPUT, under a "
                        "name players know)")  # fmt: skip
    parser.add_argument("--recursive", action="store_true",
                        help="look for videos in the folders of a folder, too")  # fmt: skip
    add_options(parser)
    parser.add_argument("--layout", choices=FILE_LAYOUTS, metavar="LAYOUT",
                        help=f"one of {', '.join(FILE_LAYOUTS)}")  # fmt: skip
    parser.add_argument("--codec", choices=(AUTO, *sorted(CODECS)),
                        help="video codec; auto: h264 for 8 bits and up to 4096 pixels, else "
                        "hevc")  # fmt: skip
    parser.add_argument("--chroma", choices=CHROMA,
                        help="444: a colour for each pixel, for screen recordings")  # fmt: skip
    parser.add_argument("--crf", type=int, help="quality, lower is better (default: the codec's)")
    parser.add_argument("--frames", type=frame_range, default=(0, None), metavar="A:B",
                        help="convert frames A up to, not including, B")  # fmt: skip
    parser.add_argument("--piece", type=seconds, default=PIECE_SECONDS, metavar="SECONDS",
                        help="a long film is finished in pieces of this length, and a run that was "
                        "ended goes on where it was; 0: no pieces")  # fmt: skip
    parser.add_argument("--restart", action="store_true",
                        help="begin anew where a run was ended")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run, **vars(EncodeOptions()))


def _run(options: argparse.Namespace) -> int:
    """Convert what is named; return 1 if any of it could not be converted."""
    encode, decode = options_of(EncodeOptions, options), options_of(DecodeOptions, options)
    plan = make_plan(
        options.names,
        options.output,
        encode.layout,
        recursive=options.recursive,
        overwrite=options.overwrite,
    )
    for source, reason in plan.skipped.items():
        print(f"dreamstereo: {source}: left out ({reason})", file=sys.stderr)
    for reason in plan.refused:
        fail(reason)
    if not plan.batch:
        _check(plan.jobs[0], options, decode)
    elif not plan.jobs:
        return _end(plan, 0)
    models = load_models(options)
    if len(plan.jobs) > 1 and models["depth"].files:
        raise WrongUse(f"depth: {options.depth} belongs to one film, got {len(plan.jobs)}")
    return _convert_all(plan, options, models | {"encode": encode, "decode": decode})


def _check(job: Job, options: argparse.Namespace, decode: DecodeOptions) -> None:
    """Refuse impossible jobs before a model is loaded."""
    if separate_pictures(job.source) is None:
        probe(job.source, decode)
    targets = conversion_targets(job.source, job.target, options.layout)
    new_folder = makes_folder(job.source, job.target)
    check_targets(targets, [job.source], options.overwrite, new_folder=new_folder)


def _convert_all(plan: Plan, options: argparse.Namespace, how: dict) -> int:
    """Convert one job after the other; of several, a failure does not stop the others."""
    failed = done = 0
    for job in plan.jobs:
        try:
            written = _convert_one(job, options, how)
        except ERRORS as error:
            if not plan.batch:
                raise
            failed += 1
            fail(error)
            continue
        except KeyboardInterrupt:
            line = f"interrupted; {done} of {len(plan.jobs)} are done" if plan.batch else LINE
            targets = conversion_targets(job.source, job.target, options.layout)
            if work_path(targets[0]).is_dir():
                line = line.replace("nothing was written", "the same command goes on")
            raise KeyboardInterrupt(line) from None
        done += 1
        if not options.quiet:
            print(*written, sep="\n", flush=True)
    return _end(plan, failed)


def _end(plan: Plan, failed: int) -> int:
    return FAILED if failed or plan.refused else DONE


def _convert_one(job: Job, options: argparse.Namespace, how: dict) -> tuple[Path, ...]:
    # disable=None shows no bar if stderr is no terminal.
    with tqdm(unit="frame", disable=True if options.quiet else None) as bar:

        def show_progress(progress: Progress) -> None:
            raise_if_interrupted()
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        return convert_file(
            job.source,
            job.target,
            **how,
            frames=options.frames,
            overwrite=options.overwrite,
            on_progress=show_progress,
            piece=options.piece or None,
            restart=options.restart,
        )
