"""`dreamstereo convert`: one film or many, one after the other."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ..comfort import Viewing
from ..convert import PIECE_SECONDS, convert_file
from ..film import Progress
from ..interrupts import LINE, raise_if_interrupted
from ..packing import FILE_LAYOUTS, MV_HEVC
from ..pieces import remove_joined, work_path
from ..plan import read_plan
from ..subtitles.settings import SUBTITLES, SubtitleOptions
from ..targets import conversion_targets, makes_folder
from ..video_io import DecodeOptions, EncodeOptions, probe, separate_pictures
from ..video_io.encode_options import AUTO, CHROMA, CODECS, ENCODERS
from ..video_io.photo_layouts import PHOTO_LAYOUTS
from ..video_io.target import check_targets
from .arguments import (
    INPUT,
    add_options,
    add_viewing,
    count,
    frame_range,
    layout,
    load_models,
    load_networks,
    options_of,
    seconds,
)
from .jobs import Job, Plan, make_plan
from .outcome import DONE, ERRORS, FAILED, WrongUse, fail, is_full
from .summary import Summary

VERIFIED = "both eyes decode in FFmpeg 8; not yet tried on a headset"
NAMES = (
    "The last of several names is OUTPUT if it is a folder or not there yet. A file that exists is "
    "another INPUT; only after a single INPUT it is OUTPUT if dreamstereo made it, and --overwrite "
    "replaces it. Any other file is replaced only if it is named by --output, and what is read "
    "never is. A folder stands for its films and photographs, or for the film whose frames it "
    "holds; *.mp4 in quotes for the files of such names; @FILE for the names in its lines. Of "
    "several inputs, those whose result is there already are left out."
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
                        help=f"{INPUT}, folder of videos and photographs, pattern "
                        "(*.mp4), @list; after them perhaps OUTPUT")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="OUTPUT", help="the file to write, numbered "
                        "images (frame_%%05d.png), or a folder (default: beside INPUT, under a "
                        "name players know)")  # fmt: skip
    parser.add_argument("--recursive", action="store_true",
                        help="look into the folders of a folder, too")  # fmt: skip
    add_options(parser)
    _add_encoding(parser)
    parser.add_argument("--frames", type=frame_range, default=(0, None), metavar="A:B",
                        help="convert frames A up to, not including, B")  # fmt: skip
    parser.add_argument("--piece", type=seconds, default=PIECE_SECONDS, metavar="SECONDS",
                        help="a long film is finished in pieces of this length, and a run that was "
                        "ended goes on where it was; 0: no pieces")  # fmt: skip
    parser.add_argument("--restart", action="store_true",
                        help="begin anew where a run was ended")  # fmt: skip
    parser.add_argument("--plan", metavar="PLAN",
                        help="a film's plan, from dreamstereo plan, instead of finding its "
                        "shots; pieces are whole shots then")  # fmt: skip
    parser.add_argument("--workers", type=count, default=1, metavar="N",
                        help="processes that render pieces of whole shots side by side, each on "
                        "its share of the cores or on a GPU of its own")  # fmt: skip
    parser.add_argument("--cluster", metavar="auto|ADDRESS",
                        help="render them on the machines of a Ray cluster instead: a worker for "
                        "each GPU, or for every few cores")  # fmt: skip
    _add_subtitles(parser.add_argument_group("subtitles"))
    parser.add_argument("--report", action="store_true", help="write beside OUTPUT how comfortable "
                        "its depth is: OUTPUT_comfort.html and .json")  # fmt: skip
    add_viewing(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_run, **vars(EncodeOptions()), **vars(SubtitleOptions()))


def _add_encoding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", type=layout, choices=(*FILE_LAYOUTS, *PHOTO_LAYOUTS),
                        metavar="LAYOUT",
                        help=f"one of {', '.join(FILE_LAYOUTS)}; for photographs "
                        f"{', '.join(PHOTO_LAYOUTS)}, too; sbs, hsbs, tb, htb for short. "
                        f"{MV_HEVC}: {VERIFIED}")  # fmt: skip
    parser.add_argument("--field-of-view", type=float, metavar="DEGREES",
                        help="that the picture's width takes before a headset (default: 90 for "
                        "vr180, 63.5 with --spatial)")  # fmt: skip
    parser.add_argument("--spatial", action="store_true",
                        help=f"{MV_HEVC}: a home clip in a window into a room, not a film on a "
                        "screen")  # fmt: skip
    parser.add_argument("--codec", choices=(AUTO, *sorted(CODECS)),
                        help="video codec; auto: h264 for 8 bits and up to 4096 pixels, else "
                        "hevc")  # fmt: skip
    parser.add_argument("--encoder", choices=ENCODERS,
                        help="what encodes: software (x264, x265, SVT-AV1), nvenc (NVIDIA's, in "
                        "the card), auto: nvenc where it works")  # fmt: skip
    parser.add_argument("--chroma", choices=CHROMA,
                        help="444: a colour for each pixel, for screen recordings")  # fmt: skip
    parser.add_argument("--crf", type=int, help="quality, lower is better (default: the codec's)")


def _add_subtitles(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--subtitles", choices=SUBTITLES,
                       help="keep: as tracks; burn: draw one into both eyes, in front of what it "
                       "covers")  # fmt: skip
    group.add_argument(
        "--subtitle-file",
        metavar="FILE",
        help="the .srt, .ass or .vtt to draw (default: a track of INPUT)",
    )
    group.add_argument("--subtitle-track", type=int, metavar="N",
                       help="which text track, from 0 (default: the default one)")  # fmt: skip
    group.add_argument("--subtitle-encoding", metavar="NAME",
                       help="of the file, as cp1251 (default: found out)")  # fmt: skip
    group.add_argument("--subtitle-font", metavar="FILE",
                       help="a font (default: one with all letters)")  # fmt: skip
    group.add_argument("--subtitle-size", type=float, metavar="FACTOR",
                       help="relative to the usual size")  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    """Convert what is named; return 1 if any of it could not be converted."""
    encode, decode = options_of(EncodeOptions, options), options_of(DecodeOptions, options)
    viewing, subtitles = options_of(Viewing, options), options_of(SubtitleOptions, options)
    if not options.report and viewing != Viewing():
        raise WrongUse("screen_width, distance: are for a report, expected --report with them")
    if encode.field_of_view is not None and not (encode.layout == "vr180" or encode.spatial):
        raise WrongUse(
            f"field_of_view: expected the layout vr180, or {MV_HEVC} with --spatial, "
            f"got {encode.layout}"
        )
    plan = make_plan(
        options.names,
        options.output,
        encode.layout,
        recursive=options.recursive,
        overwrite=options.overwrite,
        frames=options.frames,
    )
    if subtitles.subtitle_file and plan.batch:
        raise WrongUse(f"subtitle_file: belongs to one film, got {len(plan.jobs)}")
    for reason in plan.refused.values():
        fail(reason)
    if options.quiet:
        for source, reason in plan.skipped.items():
            print(f"dreamstereo: {source}: left out ({reason})", file=sys.stderr)
    if not plan.batch:
        _check(plan.jobs[0], options, decode)
    summary = Summary(plan)
    if plan.jobs:
        if options.plan and plan.batch:
            raise WrongUse(f"plan: {options.plan} belongs to one film, got {len(plan.jobs)}")
        models = load_models(options)
        if models["depth"].files and not _one_for_all(plan):
            raise WrongUse(f"depth: {options.depth} belongs to one film, got {len(plan.jobs)}")
        how = {
            "encode": encode,
            "decode": decode,
            "report": viewing if options.report else None,
            "subtitles": subtitles,
            "plan": read_plan(options.plan) if options.plan else None,
        }
        _convert_all(plan, summary, options, models | how)
    if plan.batch and not options.quiet:
        print(summary, file=sys.stderr)
    return FAILED if summary.failed else DONE


def _one_for_all(plan: Plan) -> bool:
    """Tell whether one depth can serve all jobs: a film's, or a folder's of photographs."""
    folders = {job.source.parent if job.picture is not None else job.source for job in plan.jobs}
    return len(folders) == 1


def _check(job: Job, options: argparse.Namespace, decode: DecodeOptions) -> None:
    """Refuse impossible jobs before a model is loaded."""
    if separate_pictures(job.source) is None:
        probe(job.source, decode)
    targets = conversion_targets(job.source, job.target, options.layout)
    new_folder = makes_folder(job.source, job.target)
    remove_joined(targets, work_path(targets[0]))
    check_targets(targets, [job.source], options.overwrite, new_folder=new_folder)


def _convert_all(plan: Plan, summary: Summary, options: argparse.Namespace, how: dict) -> None:
    """Convert one job after the other; of several, a failure does not stop the others."""
    for job in plan.jobs:
        try:
            with summary.timed(job):
                written = _convert_one(job, summary, options, how)
        except ERRORS as error:
            if not plan.batch:
                raise
            summary.fail(job, error)
            fail(error)
            if is_full(error):
                fail("no room is left, so the rest is not begun")
                return
            continue
        except KeyboardInterrupt:
            line = f"interrupted; {summary.progress}" if plan.batch else LINE
            targets = conversion_targets(job.source, job.target, options.layout)
            if work_path(targets[0]).is_dir():
                line = line.replace("nothing was written", "the same command goes on")
            raise KeyboardInterrupt(line) from None
        summary.finish(job, written)
        if not options.quiet:
            print(*written, sep="\n", flush=True)


def _convert_one(
    job: Job, summary: Summary, options: argparse.Namespace, how: dict
) -> tuple[Path, ...]:
    frames = options.frames
    if job.picture is not None:
        frames = (0, None)
        how = how | {"depth": how["depth"].from_frame(job.picture)}
    if job.target is not None and summary.batch:
        folder = job.target if job.picture is None else job.target.parent
        folder.mkdir(parents=True, exist_ok=True)
    # Without a bar if stderr is no terminal; of several, none stays.
    hidden = True if options.quiet else None
    label, stays = summary.label(job), not summary.batch
    with tqdm(desc=label, unit="frame", disable=hidden, leave=stays) as bar:

        def show_progress(progress: Progress) -> None:
            raise_if_interrupted()
            summary.frames = progress.done
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        return convert_file(
            job.source,
            job.target,
            **how,
            frames=frames,
            overwrite=options.overwrite,
            on_progress=show_progress,
            piece=options.piece or None,
            restart=options.restart,
            workers=options.workers if job.picture is None else 1,
            cluster=options.cluster if job.picture is None else None,
            reload=partial(load_networks, _to_send(options)),
        )


def _to_send(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options without what another process cannot get."""
    return argparse.Namespace(**{k: v for k, v in vars(options).items() if k != "run"})
