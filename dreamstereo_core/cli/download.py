"""`dreamstereo download`: fetch a published depth network, and the line that says there is one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from ..depth import DEFAULT_MODEL, VIDEO_MODEL, best_there
from ..depth.transformers_depth import find_model
from ..depth.video_depth_checkpoint import find_video_model


@dataclass(frozen=True)
class Published:
    """A network that others have published, for the local cache."""

    title: str
    megabytes: int
    spec: str
    """As `--depth` has it."""
    find: Callable[..., Path]
    """Gives the local place of a spec, or `DepthError`; `allow_download=True` fetches it first."""


MODELS = {
    "depth": Published("Depth-Anything-V2-Small", 100, DEFAULT_MODEL, find_model),
    "video-depth": Published("Video-Depth-Anything-Small", 116, VIDEO_MODEL, find_video_model),
}
"""By the command's name for them; `--depth auto` takes the last that is there."""


def add_download(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's."""
    sizes = ", ".join(f"{name}: {m.title}, {m.megabytes} MB" for name, m in MODELS.items())
    parser = commands.add_parser("download", help="get a better depth network, once")
    parser.set_defaults(run=_download)
    parser.add_argument("model", choices=tuple(MODELS), metavar="|".join(MODELS), help=sizes)


def _download(options: argparse.Namespace) -> int:
    """Fetch it into the Hugging Face cache and print where it is.

    Raises:
        DepthError: it could not be downloaded.
    """
    model = MODELS[options.model]
    print(model.find(model.spec, allow_download=True))
    return 0


def tell_of_better_depth(options: argparse.Namespace) -> None:
    """Say at a terminal that a better depth is one command away, if none was asked for.

    Nothing is looked up in the network: whether there is one is not known here.
    """
    wanted = options.depth != "auto" or options.allow_download or getattr(options, "quiet", False)
    if wanted or constants.HF_HUB_OFFLINE or not _at_terminal():
        return
    if best_there() == "embedded":
        print(
            "dreamstereo: the depth is that of the small embedded network; for a better one: "
            f"dreamstereo download depth ({MODELS['depth'].megabytes} MB, once). "
            "--depth embedded says no more of it",
            file=sys.stderr,
        )


def _at_terminal() -> bool:
    return sys.stderr.isatty()
