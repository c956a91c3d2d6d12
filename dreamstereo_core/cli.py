"""The `dreamstereo` command: convert, preview, info."""

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

from .comfort import CONVERGENCES
from .convert import Progress, convert_file
from .depth import DepthError, describe_models, load_depth
from .fill import INPAINTERS, load_inpainter
from .pipeline import FILE_LAYOUTS, ConvertOptions
from .preview import preview_sheet
from .scenes import DETECTORS
from .video_io import EncodeOptions, VideoError
from .video_io.mux import CODECS

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
WHERE_WAN_IS = (
    "wan2.1_fun_inp_1.3B_bf16.safetensors and, beside it or in ../vae, wan_2.1_vae.safetensors are "
    "at huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged"
)
DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 done, 1 could not, 2 wrong use, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console's encoding may lack what a name has
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="dreamstereo: %(message)s", level=logging.WARNING)
    try:
        options = _parser().parse_args(arguments)
        return options.run(options)
    except SystemExit as exit_:  # argparse has said why
        return int(exit_.code or 0)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except _WrongUse as error:
        return _fail(error, WRONG_USE)
    except (VideoError, DepthError, ValueError, ImportError, OSError, MemoryError) as error:
        return _fail(error or type(error).__name__, FAILED)


class _WrongUse(Exception):
    """An argument whose value makes no sense."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(WRONG_USE, f"dreamstereo: {message}; see {self.prog} --help\n")


def _fail(error: object, code: int) -> int:
    line = " ".join(str(error).split())
    print(f"dreamstereo: {line}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = _Parser("dreamstereo", description="Turn 2D video into stereoscopic 3D.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    convert = commands.add_parser(
        "convert", help="convert a video, image or image sequence", formatter_class=formatter
    )
    convert.set_defaults(run=_convert)
    _add_input(convert, "the file to write (default: beside INPUT, under a name players know)")
    convert.add_argument("--layout", choices=FILE_LAYOUTS, default="full_sbs", metavar="LAYOUT",
                         help=f"one of {', '.join(FILE_LAYOUTS)}")  # fmt: skip
    convert.add_argument("--codec", choices=sorted(CODECS), default="h264", help="video codec")
    convert.add_argument("--crf", type=int, help="quality, lower is better (default: the codec's)")
    convert.add_argument("--frames", type=_frame_range, default=(0, None), metavar="A:B",
                         help="convert frames A up to, not including, B")  # fmt: skip
    convert.add_argument("--feather", type=int, default=ConvertOptions.feather,
                         help="width of the seam's ramp in pixels")  # fmt: skip
    convert.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")
    convert.add_argument("--quiet", action="store_true", help="show no progress")

    preview = commands.add_parser(
        "preview", help="sample frames: anaglyph, depth, occlusion mask", formatter_class=formatter
    )
    preview.set_defaults(run=_preview)
    _add_input(preview, "the PNG to write (default: INPUT_preview.png)")
    preview.add_argument("--count", type=int, default=4, help="how many frames")
    preview.add_argument("--overwrite", action="store_true", help="replace an existing OUTPUT")

    info = commands.add_parser("info", help="versions, devices, models and where they go")
    info.set_defaults(run=_info)
    return parser


def _add_input(parser: argparse.ArgumentParser, output: str) -> None:
    parser.add_argument("input", metavar="INPUT", help="video, image, folder or frame_%%05d.png")
    parser.add_argument("output", metavar="OUTPUT", nargs="?", type=Path, help=output)
    parser.add_argument("--max-disparity", type=float, default=ConvertOptions.max_disparity,
                        metavar="PERCENT", help="depth, in percent of the width")  # fmt: skip
    parser.add_argument("--convergence", type=_convergence, default="auto",
                        metavar=f"{'|'.join(CONVERGENCES)}|0..1",
                        help="what lies on the screen: 0 the farthest, 1 the nearest, or found in "
                        "each shot (auto: the subject)")  # fmt: skip
    parser.add_argument("--max-front", type=_limit, default=ConvertOptions.max_front,
                        metavar="PERCENT|none", help="the most that anything comes in front of "
                        "the screen, in percent of the width")  # fmt: skip
    parser.add_argument("--max-behind", type=_limit, default=ConvertOptions.max_behind,
                        metavar="PERCENT|none",
                        help="the most that anything goes behind it")  # fmt: skip
    parser.add_argument("--floating-window", action="store_true",
                        help="hide what one eye only sees of near things at the sides")  # fmt: skip
    parser.add_argument("--foreground-dilation", type=int, metavar="PIXELS",
                        help="let near things grow (default: 1 for 640 of width)")  # fmt: skip
    parser.add_argument("--shots", choices=DETECTORS, default="auto",
                        help="what finds the cuts; auto: histogram")  # fmt: skip
    parser.add_argument("--keep-bars", dest="bars", action="store_false",
                        help="give letterbox and pillarbox bars a depth, too")  # fmt: skip
    parser.add_argument("--eye", choices=("right", "left"), default="right",
                        help="the eye to make; the other one is the source")  # fmt: skip
    parser.add_argument("--fill", default=INPAINTERS[0],
                        metavar=f"{'|'.join(INPAINTERS)}|CHECKPOINT",
                        help="inpainter, or the file of a Wan-class one")  # fmt: skip
    parser.add_argument("--depth", default="auto", metavar="auto|embedded|MODEL|PATH",
                        help="estimator, or a depth video or image sequence")  # fmt: skip
    parser.add_argument("--invert-depth", action="store_true", help="supplied depth: black is near")
    parser.add_argument("--no-steady", dest="steady", action="store_false",
                        help="leave a MODEL's depth as it is, frame by frame")  # fmt: skip
    parser.add_argument("--metric-depth", action="store_true",
                        help="supplied depth: distances, large is far (EXR: metres)")  # fmt: skip
    parser.add_argument("--download", action="store_true", help="allow a MODEL to be downloaded")
    _add_checkpoint(parser.add_argument_group("a CHECKPOINT's options"))


def _add_checkpoint(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--vae", help="wan, distilled or a file (default: Wan's, beside CHECKPOINT)")
    group.add_argument("--lora", type=lora_argument, action="append", default=[],
                       metavar="FILE[:STRENGTH]", help="to merge; may be repeated")  # fmt: skip
    group.add_argument("--context", metavar="FILE", help="an encoded prompt (default: the model's)")
    group.add_argument(
        "--steps", type=int, default=ConvertOptions.num_steps, help="denoising steps"
    )
    group.add_argument("--dilation", type=int, default=ConvertOptions.dilation, metavar="K",
                       help="tokens kept around the holes: a K x K kernel, K odd")  # fmt: skip
    group.add_argument("--seed", type=int, default=ConvertOptions.seed, help="of the noise")
    group.add_argument("--device", default="auto", help="to compute on, as cuda:1")
    group.add_argument("--dtype", choices=sorted(DTYPES), help="precision (default: the file's)")


def lora_argument(text: str) -> tuple[str, float]:
    """Read FILE or FILE:STRENGTH."""
    path, colon, strength = text.rpartition(":")
    try:
        return (path, float(strength)) if colon else (text, 1.0)
    except ValueError:  # the colon belongs to the path
        return text, 1.0


def _convergence(text: str) -> float | str:
    return text if text in CONVERGENCES else float(text)


def _limit(text: str) -> float | None:
    return None if text == "none" else float(text)


def _frame_range(text: str) -> tuple[int, int | None]:
    start, colon, stop = text.partition(":")
    begin, end = int(start or 0), int(stop) if stop else None
    if not colon or begin < 0 or (end is not None and end <= begin):
        raise ValueError(text)
    return begin, end


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
        raise _WrongUse(error) from error
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
        encode = EncodeOptions(codec=options.codec, crf=options.crf)
    except ValueError as error:
        raise _WrongUse(error) from error
    models = _models(options)
    # disable=None: no bar where stderr is no terminal.
    with tqdm(unit="frame", disable=True if options.quiet else None) as bar:

        def show_progress(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        written = convert_file(
            options.input,
            options.output,
            **models,
            encode=encode,
            frames=options.frames,
            overwrite=options.overwrite,
            on_progress=show_progress,
        )
    if not options.quiet:
        print(*written, sep="\n")
    return DONE


def _preview(options: argparse.Namespace) -> int:
    target = preview_sheet(
        options.input,
        options.output,
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


if __name__ == "__main__":
    sys.exit(main())
