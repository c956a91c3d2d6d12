"""The command line of `evaluate.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data.sizes import read_size
from dreamstereo_core.fill import INPAINTERS
from dreamstereo_core.fill.holes import MULTIPLE
from dreamstereo_core.models.lora import parse_lora
from dreamstereo_core.sampling import SAMPLERS
from evaluation.comparison import ALONE
from evaluation.fills import DENSE
from evaluation.stereo_videos import LAYOUTS

PAPER_FRAMES = 81


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; `frames` is 17, and by the paper's protocol 81."""
    parser = argparse.ArgumentParser(description="Measure fills against known truth.")
    add = parser.add_argument
    add("--videos", type=Path, help="folder of clips, for holes by PBDP")
    add("--photos", type=Path, help="folder of photographs, for composites")
    add("--stereo", type=Path, nargs="+", default=[], help="folders of true stereo pairs")
    add("--stereo-videos", type=Path, nargs="+", default=[], help="folders of stereo videos")
    add("--match", action="store_true", help="match stereo videos that have no disparity")
    add("--source-layout", choices=LAYOUTS, default="auto", help="of files with both eyes")
    names = ", ".join([*INPAINTERS, ALONE])
    add("--right-eye", type=Path, nargs="*", help="folders of true pairs: measure whole right eyes")
    add("--fill", nargs="+", default=["classic", "mini"], help=f"{names}, checkpoints, "
        "or NAME=FOLDER with another system's results for --export's clips")  # fmt: skip
    add("--vae", help="autoencoder of the checkpoints: a name or a file")
    add("--lora", type=parse_lora, action="append", default=[], metavar="FILE[:STRENGTH]")
    add("--context", type=Path, help="safetensors file with a text embedding")
    add("--num-steps", type=int, default=1, help="denoising steps")
    add("--sampler", choices=SAMPLERS, default=SAMPLERS[0],
        help="renoise: for checkpoints distilled to few steps")  # fmt: skip
    add("--fill-size", type=partial(read_size, least=MULTIPLE), metavar="WxH",
        help="what frames are scaled to fit into while checkpoints fill them")  # fmt: skip
    add("--dilation", type=dilation, nargs="+", default=[5], help='odd numbers, or "dense"')
    add("--paper", action="store_true", help="the paper's plain protocol, with the time it takes: "
        "no narrow fill, tone lock or feather; 81 frames or an error")  # fmt: skip
    add("--reconstruct", nargs="+", metavar="VAE", help="measure autoencoders instead of fills")
    add("--depth", nargs="+", help="depth estimator of the clips: cues; right eyes: embedded")
    add("--max-disparity", type=float, nargs="+", help="%% of the width: 7; right eyes: 3")
    add(
        "--size",
        type=partial(read_size, least=32),
        default=(854, 480),
        metavar="WxH",
        help="of clips and composites",
    )
    add("--frames", type=int, help="frames a clip: 17; --paper: 81")
    add("--start", type=int, nargs="+", default=[30], help="first frames of real clips")
    add("--limit", type=int, help="videos, or photographs to reconstruct")
    add("--composites", type=int, default=8, help="how many")
    add("--perceptual-frames", type=int, default=2, help="frames a clip for ST-LPIPS; 0 = without")
    add("--lpips", action="store_true", help="LPIPS too (pip install lpips torchvision)")
    add("--seed", type=int, default=0)
    add("--export", type=Path, metavar="FOLDER", help="write the clips for other systems, and stop")
    add("--output", type=Path, help="folder for evaluation.md, .json and .png")
    options = parser.parse_args(arguments)
    if options.frames is None:
        options.frames = PAPER_FRAMES if options.paper else 17
    return options


def dilation(text: str) -> int | str:
    """Read an odd number of tokens, or "dense".

    Raises:
        ArgumentTypeError: it is neither.
    """
    if text == DENSE:
        return text
    if not text.isdigit() or int(text) % 2 == 0:
        raise argparse.ArgumentTypeError(f'expected an odd number or "{DENSE}", got {text!r}')
    return int(text)
