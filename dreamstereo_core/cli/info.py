"""`dreamstereo info`: versions, devices, models and where they go."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

import torch

from .. import __version__
from ..depth import describe_models
from ..fill import INPAINTERS
from .outcome import DONE

WHERE_WAN_IS = (
    "wan2.1_fun_inp_1.3B_bf16.safetensors and, beside it or in ../vae, wan_2.1_vae.safetensors are "
    "at huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged"
)


def add_info(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("info", help="versions, devices, models and where they go")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    print(f"{'dreamstereo':14}{__version__}")
    for package in ("torch", "av", "transformers"):
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
