"""The `dreamstereo` command: convert, preview, download, info."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm

from ..convert import Progress, conversion_targets, convert_file, makes_folder
from ..depth import DepthError, describe_models, load_depth
from ..fill import INPAINTERS, load_inpainter
from ..interrupts import INTERRUPTED, LINE, interruptible, raise_if_interrupted
from ..pipeline import FILE_LAYOUTS, ConvertOptions
from ..preview import preview_sheet
from ..video_io import DecodeOptions, EncodeOptions, VideoError, probe, separate_pictures
from ..video_io.mux import AUTO, CHROMA, CODECS
from ..video_io.target import check_targets
from .arguments import DTYPES, add_options, frame_range, reading_options
from .download import add_download, tell_of_better_depth
from .jobs import Job, Plan, WrongUse, make_plan

WHERE_WAN_IS = (
    "wan2.1_fun_inp_1.3B_bf16.safetensors and, beside it or in ../vae, wan_2.1_vae.safetensors are "
    "at huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged"
)
DONE, FAILED, WRONG_USE = 0, 1, 2
INPUT = "video, image, folder of images or frame_%%05d.png"
NAMES = (
    "The last of several names is OUTPUT if it is a folder or not there yet. A file that exists is "
    "another INPUT; only after a single INPUT it is OUTPUT if dreamstereo made it, and --overwrite "
    "replaces it. Any other file is replaced only if it is named by --output, and what is read "
    "never is. Of several inputs, those whose result is there already are left out."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 done, 1 could not, 2 wrong use, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console's encoding may lack what a name has
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="dreamstereo: %(message)s", level=logging.WARNING)
    try:
        with interruptible():
            options = _parse(sys.argv[1:] if arguments is None else list(arguments))
            return options.run(options)
    except SystemExit as exit_:  # argparse has said why
        return int(exit_.code or 0)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or LINE, INTERRUPTED)
    except WrongUse as error:
        return _fail(error, WRONG_USE)
    except _ERRORS as error:
        return _fail(error or type(error).__name__, FAILED)


_ERRORS = (VideoError, DepthError, ValueError, ImportError, OSError, MemoryError)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(WRONG_USE, f"dreamstereo: {message}; see {self.prog} --help\n")


def _fail(error: object, code: int) -> int:
    line = " ".join(str(error).split())
    print(f"dreamstereo: {line}", file=sys.stderr)
    return code


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Read the arguments; options may stand before, between and after names."""
    parser, commands = _parser()
    if arguments and arguments[0] in commands:
        return commands[arguments[0]].parse_intermixed_args(arguments[1:])
    return parser.parse_args(arguments)


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser and those of the commands."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = _Parser("dreamstereo", description="Turn 2D video into stereoscopic 3D.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    convert = commands.add_parser(
        "convert",
        help="convert videos, images or image sequences",
        formatter_class=formatter,
        usage="dreamstereo convert INPUT... [OUTPUT] [options]",
        epilog=NAMES,
    )
    convert.set_defaults(run=_convert)
    convert.add_argument("names", metavar="INPUT", nargs="+",
                         help=f"{INPUT}, folder of videos; after them perhaps OUTPUT")  # fmt: skip
    convert.add_argument("-o", "--output", metavar="OUTPUT", help="the file to write, numbered "
                         "images (frame_%%05d.png), or a folder (default: beside INPUT, under a "
                         "name players know)")  # fmt: skip
    convert.add_argument("--recursive", action="store_true",
                         help="look for videos in the folders of a folder, too")  # fmt: skip
    add_options(convert)
    convert.add_argument("--layout", choices=FILE_LAYOUTS, default="full_sbs", metavar="LAYOUT",
                         help=f"one of {', '.join(FILE_LAYOUTS)}")  # fmt: skip
    convert.add_argument("--codec", choices=(AUTO, *sorted(CODECS)), default=AUTO,
                         help="video codec; auto: h264 for 8 bits and up to 4096 pixels, else "
                         "hevc")  # fmt: skip
    convert.add_argument("--chroma", choices=CHROMA, default=EncodeOptions.chroma,
                         help="444: a colour for each pixel, for screen recordings")  # fmt: skip
    convert.add_argument("--crf", type=int, help="quality, lower is better (default: the codec's)")
    convert.add_argument("--frames", type=frame_range, default=(0, None), metavar="A:B",
                         help="convert frames A up to, not including, B")  # fmt: skip
    convert.add_argument("--feather", type=int, default=ConvertOptions.feather,
                         help="width of the seam's ramp in pixels")  # fmt: skip
    convert.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    convert.add_argument("--quiet", action="store_true", help="show no progress")

    preview = commands.add_parser(
        "preview", help="sample frames: anaglyph, depth, occlusion mask", formatter_class=formatter
    )
    preview.set_defaults(run=_preview)
    preview.add_argument("input", metavar="INPUT", help=INPUT)
    preview.add_argument("output", metavar="OUTPUT", nargs="?", type=Path,
                         help="the PNG to write (default: INPUT_preview.png)")  # fmt: skip
    add_options(preview)
    preview.add_argument("--count", type=int, default=4, help="how many frames")
    preview.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")

    add_download(commands)
    info = commands.add_parser("info", help="versions, devices, models and where they go")
    info.set_defaults(run=_info)
    return parser, dict(commands.choices)


def _models(options: argparse.Namespace) -> dict:
    """Build what both commands need from their common options."""
    try:
        geometry = ConvertOptions(
            max_disparity=options.max_disparity,
            convergence=options.convergence,
            max_front=options.max_front,
            max_behind=options.max_behind,
            floating_window=options.floating_window,
            eye=options.eye,
            shots=options.shots,
            bars=options.bars,
            layout=getattr(options, "layout", "anaglyph"),
            feather=getattr(options, "feather", ConvertOptions.feather),
            foreground_dilation=options.foreground_dilation,
            num_steps=options.steps,
            dilation=options.dilation,
            seed=options.seed,
        )
    except ValueError as error:
        raise WrongUse(error) from error
    tell_of_better_depth(options)
    depth = load_depth(
        options.depth,
        allow_download=options.download,
        invert=options.invert_depth,
        metric=options.metric_depth,
        start=getattr(options, "frames", (0, None))[0],
        steady=options.steady,
    )
    inpainter = load_inpainter(
        options.fill,
        options.vae,
        options.device,
        DTYPES.get(options.dtype),
        loras=options.lora,
        context=options.context,
    )
    return {"depth": depth, "inpainter": inpainter, "options": geometry}


def _convert(options: argparse.Namespace) -> int:
    try:
        encode = EncodeOptions(codec=options.codec, crf=options.crf, chroma=options.chroma)
    except ValueError as error:
        raise WrongUse(error) from error
    decode = reading_options(options)
    plan = make_plan(
        options.names,
        options.output,
        options.layout,
        recursive=options.recursive,
        overwrite=options.overwrite,
    )
    for source, reason in plan.skipped.items():
        print(f"dreamstereo: {source}: left out ({reason})", file=sys.stderr)
    for reason in plan.refused:
        _fail(reason, FAILED)
    if not plan.batch:
        _check(plan.jobs[0], options, decode)
    elif not plan.jobs:
        return _end(plan, 0)
    models = _models(options)
    if len(plan.jobs) > 1 and models["depth"].files:
        raise WrongUse(f"depth: {options.depth} belongs to one film, got {len(plan.jobs)}")
    return _convert_all(plan, options, encode, models | {"decode": decode})


def _check(job: Job, options: argparse.Namespace, decode: DecodeOptions) -> None:
    """Refuse what cannot be done before a model is loaded."""
    if separate_pictures(job.source) is None:
        probe(job.source, decode)
    targets = conversion_targets(job.source, job.target, options.layout)
    new_folder = makes_folder(job.source, job.target)
    check_targets(targets, [job.source], options.overwrite, new_folder=new_folder)


def _convert_all(
    plan: Plan, options: argparse.Namespace, encode: EncodeOptions, models: dict
) -> int:
    """Convert one after the other; of several, a failure does not stop the others."""
    failed = done = 0
    for job in plan.jobs:
        try:
            written = _convert_one(job, options, encode, models)
        except _ERRORS as error:
            if not plan.batch:
                raise
            failed += 1
            _fail(error or type(error).__name__, FAILED)
            continue
        except KeyboardInterrupt:
            line = f"interrupted; {done} of {len(plan.jobs)} are done" if plan.batch else LINE
            raise KeyboardInterrupt(line) from None
        done += 1
        if not options.quiet:
            print(*written, sep="\n", flush=True)
    return _end(plan, failed)


def _end(plan: Plan, failed: int) -> int:
    return FAILED if failed or plan.refused else DONE


def _convert_one(
    job: Job, options: argparse.Namespace, encode: EncodeOptions, models: dict
) -> tuple[Path, ...]:
    # disable=None: no bar where stderr is no terminal.
    with tqdm(unit="frame", disable=True if options.quiet else None) as bar:

        def show_progress(progress: Progress) -> None:
            raise_if_interrupted()
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        return convert_file(
            job.source,
            job.target,
            **models,
            encode=encode,
            frames=options.frames,
            overwrite=options.overwrite,
            on_progress=show_progress,
        )


def _preview(options: argparse.Namespace) -> int:
    target = preview_sheet(
        options.input,
        options.output,
        decode=reading_options(options),
        **_models(options),
        count=options.count,
        overwrite=options.overwrite,
    )
    print(target)
    return DONE


def _info(options: argparse.Namespace) -> int:
    for package in ("dreamstereo", "torch", "av", "transformers"):
        try:
            print(f"{package:14}{version(package)}")
        except PackageNotFoundError:
            print(f"{package:14}not installed")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    print(f"{'devices':14}{', '.join(['cpu', *devices])}")
    print(f"{'fill':14}{', '.join(INPAINTERS)}")
    print(f"{'fill':14}or a Wan 2.1 inpainting transformer as a file; {WHERE_WAN_IS}")
    for name, state in describe_models().items():
        print(f"{'depth':14}{name}: {state}")
    return DONE
