"""The options of the command that describe depth, picture, source and checkpoint."""

from __future__ import annotations

import argparse

import torch
from torch import nn

from ..checks import read_size
from ..convergence import CONVERGENCES
from ..convert_options import ConvertOptions
from ..depth import DepthEstimator, load_depth
from ..fill import INPAINTERS, Inpainter, load_inpainter
from ..models.fp8 import FP8
from ..models.lora import parse_lora
from ..options import Options, pick_options
from ..sampling import SAMPLERS
from ..shots import DETECTORS
from ..types import EYES
from ..video_io import DecodeOptions
from ..video_io.decode_options import DEINTERLACING, SOURCE_EYES, SOURCE_LAYOUTS
from .download import tell_of_better_depth
from .outcome import WrongUse

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SHORT_LAYOUTS = {"sbs": "full_sbs", "hsbs": "half_sbs", "tb": "full_tb", "htb": "half_tb"}
INPUT = "video, image, folder of images or frame_%%05d.png"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what conversion and preview have in common; the options' own defaults go for each."""
    parser.add_argument("--max-disparity", type=float, metavar="PERCENT",
                        help="depth, in percent of the width")  # fmt: skip
    parser.add_argument("--convergence", type=_convergence,
                        metavar=f"{'|'.join(CONVERGENCES)}|0..1",
                        help="what lies on the screen: 0 the farthest, 1 the nearest, or found in "
                        "each shot (auto: the subject)")  # fmt: skip
    parser.add_argument("--max-front", type=_limit, metavar="PERCENT|none",
                        help="the most that anything comes in front of the screen, "
                        "in percent of the width")  # fmt: skip
    parser.add_argument("--max-behind", type=_limit, metavar="PERCENT|none",
                        help="the most that anything goes behind it")  # fmt: skip
    parser.add_argument("--floating-window", action="store_true",
                        help="hide what one eye only sees of near things at the sides")  # fmt: skip
    parser.add_argument("--foreground-dilation", type=int, metavar="PIXELS",
                        help="let near things grow (default: 0, or 1 for 640 of width if the "
                        "depth is as large as the picture)")  # fmt: skip
    add_shots(parser)
    parser.add_argument("--eye", choices=EYES,
                        help="the eye to make; the other one is the source")  # fmt: skip
    parser.add_argument("--feather", type=int, metavar="PIXELS",
                        help="width of the seam's ramp inside a hole")  # fmt: skip
    parser.add_argument("--fill", default=INPAINTERS[0],
                        metavar=f"{'|'.join(INPAINTERS)}|CHECKPOINT",
                        help="inpainter, or the file of a Wan-class one")  # fmt: skip
    parser.add_argument("--depth", default="auto", metavar="auto|embedded|MODEL|PATH",
                        help="estimator, or a depth video or image sequence")  # fmt: skip
    parser.add_argument("--invert-depth", dest="invert", action="store_true",
                        help="supplied depth: black is near")  # fmt: skip
    parser.add_argument("--no-steady", dest="steady", action="store_false",
                        help="leave a MODEL's depth as it is, frame by frame")  # fmt: skip
    parser.add_argument("--metric-depth", dest="metric", action="store_true",
                        help="supplied depth: distances, large is far (EXR: metres)")  # fmt: skip
    parser.add_argument("--download", dest="allow_download", action="store_true",
                        help="allow a MODEL to be downloaded")  # fmt: skip
    add_reading(parser.add_argument_group("how INPUT is read"))
    _add_checkpoint(parser.add_argument_group("a CHECKPOINT's options"))
    parser.set_defaults(**vars(ConvertOptions()), **vars(DecodeOptions()))


def add_shots(parser: argparse.ArgumentParser) -> None:
    """Add what finds the shots and the bars."""
    parser.add_argument("--shots", choices=DETECTORS,
                        help="what finds the cuts; auto: histogram")  # fmt: skip
    parser.add_argument("--keep-bars", dest="bars", action="store_false",
                        help="give letterbox and pillarbox bars a depth, too")  # fmt: skip


def add_reading(group: argparse._ArgumentGroup) -> None:
    """Add how the input is read."""
    group.add_argument("--deinterlace", choices=DEINTERLACING,
                       help="auto: frames that are tagged as interlaced")  # fmt: skip
    group.add_argument("--background", metavar="COLOR",
                       help="of transparent parts: black, white, grey or RRGGBB")  # fmt: skip
    group.add_argument("--source-eye", choices=SOURCE_EYES,
                       help="take one eye of an INPUT that is 3D already")  # fmt: skip
    group.add_argument("--source-layout", choices=SOURCE_LAYOUTS,
                       help="how the eyes lie in it; auto: as its tags say")  # fmt: skip


def _add_checkpoint(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--vae", help="wan, distilled or a file (default: Wan's, beside CHECKPOINT)")
    group.add_argument("--lora", type=parse_lora, action="append", default=[],
                       metavar="FILE[:STRENGTH]", help="to merge; may be repeated")  # fmt: skip
    group.add_argument("--context", metavar="FILE", help="an encoded prompt (default: the model's)")
    group.add_argument("--num-steps", "--steps", type=int, metavar="N", help="denoising steps")
    group.add_argument("--sampler", choices=SAMPLERS,
                       help="renoise: for models distilled to few steps")  # fmt: skip
    group.add_argument("--dilation", type=int, metavar="K",
                       help="tokens kept around the holes: a K x K kernel, K odd")  # fmt: skip
    group.add_argument("--seed", type=int, help="of the noise")
    group.add_argument("--device", default="auto", help="to compute on, as cuda:1")
    group.add_argument("--dtype", choices=sorted(DTYPES), help="precision (default: the file's)")
    group.add_argument("--fp8", action="store_true", help="keep its 16-bit weights in 8 bits")
    group.add_argument("--memory", type=float, metavar="GIB",
                       help="of the device, which tiles and windows keep to")  # fmt: skip
    group.add_argument("--fill-size", type=size, metavar="WxH",
                       help="what frames are scaled to fit into while it fills them, as the size "
                       "it was trained at (default: the film's)")  # fmt: skip


def options_of(kind: type[Options], given: argparse.Namespace) -> Options:
    """Make the options of `kind` from the arguments that bear its fields' names.

    Raises:
        WrongUse: a value makes no sense.
    """
    try:
        return pick_options(kind, vars(given))
    except ValueError as error:
        raise WrongUse(error) from error


def load_models(options: argparse.Namespace) -> dict:
    """Build what convert and preview need from their common options.

    Raises:
        WrongUse: a value makes no sense.
    """
    geometry = options_of(ConvertOptions, options)
    tell_of_better_depth(options)
    depth, inpainter = load_networks(options)
    return {"depth": depth, "inpainter": inpainter, "options": geometry}


def load_networks(options: argparse.Namespace) -> tuple[DepthEstimator, Inpainter]:
    """Load depth and fill; a worker does so, too.

    Raises:
        WrongUse: a CHECKPOINT's file is given to a fill that has none.
    """
    for name in ("vae", "lora", "context"):
        if options.fill in INPAINTERS and getattr(options, name):
            raise WrongUse(f"{name}: expected a CHECKPOINT as --fill with it, got {options.fill}")
    depth = load_chosen_depth(options)
    inpainter = load_inpainter(
        options.fill,
        options.vae,
        options.device,
        DTYPES.get(options.dtype),
        loras=options.lora,
        context=options.context,
        operations=FP8 if options.fp8 else nn,
        memory=options.memory,
        fill_size=options.fill_size,
    )
    return depth, inpainter


def load_chosen_depth(options: argparse.Namespace) -> DepthEstimator:
    """Build the estimator that the common options name."""
    return load_depth(
        options.depth,
        allow_download=options.allow_download,
        invert=options.invert,
        metric=options.metric,
        start=getattr(options, "frames", (0, None))[0],
        steady=options.steady,
    )


def add_viewing(parser: argparse.ArgumentParser) -> None:
    """Add the screen that a report on comfort is made for."""
    parser.add_argument("--screen-width", type=float, metavar="METRES",
                        help="the report's screen: limits and degrees for it")  # fmt: skip
    parser.add_argument("--distance", type=float, metavar="METRES",
                        help="from the eyes to that screen")  # fmt: skip


def _convergence(text: str) -> float | str:
    return text if text in CONVERGENCES else _number(text, f"{', '.join(CONVERGENCES)} or a number")


def _limit(text: str) -> float | None:
    return None if text == "none" else _number(text, "none or percent of the width")


def _number(text: str, expected: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None


def seconds(text: str) -> float:
    """Read a number of seconds, 0 or more; ArgumentTypeError for anything else."""
    value = _number(text, expected := "seconds, 0 or more")
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value


def layout(text: str) -> str:
    """Return a layout's name; short ones (sbs, htb) and dashes (full-sbs) stand for it, too."""
    name = text.lower().replace("-", "_")
    return SHORT_LAYOUTS.get(name, name)


def count(text: str) -> int:
    """Read a whole number, 1 or more; ArgumentTypeError for anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """Read WxH, return height and width; ArgumentTypeError for anything else."""
    try:
        return read_size("size", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def frame_range(text: str) -> tuple[int, int | None]:
    """Read A:B; ArgumentTypeError for anything else."""
    start, colon, stop = text.partition(":")
    numbers = all(not part or part.isdecimal() for part in (start, stop))
    if not (colon and numbers) or (stop and int(stop) <= int(start or 0)):
        raise argparse.ArgumentTypeError(
            f"expected A:B, whole numbers from 0 up with A before B, either may be left out, "
            f"got {text!r}"
        )
    return int(start or 0), int(stop) if stop else None
