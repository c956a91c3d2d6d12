"""`dreamstereo info`: versions, devices, models and where they go."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

import torch

from .. import __version__
from ..depth import describe_models
from ..fill import INPAINTERS
from ..fill.holes import size_within
from ..fill.plan import WINDOWS, Demand, Work, find_fit, ways
from ..models.config import TRANSFORMERS
from ..models.vae.config import PRESETS
from .arguments import size
from .outcome import DONE, FAILED, WrongUse

DREAMSTEREO = "dreamstereo-1.3b"

WHERE_WAN_IS = (
    "wan2.1_fun_inp_1.3B_bf16.safetensors and, beside it or in ../vae, wan_2.1_vae.safetensors are "
    "at huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged"
)


def add_info(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("info", help="versions, devices, models and where they go")
    parser.add_argument(
        "--plan",
        type=size,
        metavar="WxH",
        help="say what a diffusion fill of such frames needs of a GPU's memory",
    )
    parser.add_argument("--memory", type=float, metavar="GIB", help="what --plan is to fit into")
    parser.add_argument("--fill-size", type=size, metavar="WxH", help="of convert, for --plan")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.plan is not None:
        return _print_plans(options.plan, options.memory, options.fill_size)
    for name in ("memory", "fill_size"):
        if getattr(options, name) is not None:
            raise WrongUse(f"{name}: expected --plan WxH beside it")
    return _print_all()


def _print_plans(
    film: tuple[int, int], memory: float | None, fill_size: tuple[int, int] | None
) -> int:
    """Print what each way of filling needs, or the best that fits."""
    height, width = size_within(film, fill_size)
    at = "" if (height, width) == film else f" filled at {width}x{height}"
    print(f"{film[1]}x{film[0]}{at}, {DREAMSTEREO}, bf16, half of the tokens kept; GiB without the "
          "driver and the depth network\n")  # fmt: skip
    print("autoencoder  window  tile   8-bit  weights  caches  working  in all  main memory")
    fits = True
    for name, vae in PRESETS.items():
        if getattr(vae, "conditioned", False):  # there is no file of it that all could have
            continue
        work = Work(TRANSFORMERS[DREAMSTEREO], vae, (height, width), film=film)
        if memory is None:
            plans = [*ways(work, WINDOWS[:1]), *ways(work, WINDOWS[-1:], [True])]
        else:
            fit = find_fit(work, int(memory * 2**30))
            plans = [fit] if fit else []
            fits = fits and fit is not None
            if fit is None:
                print(f"{name:12} nothing fits into {memory:g}")
        for plan in plans:
            print(_row(name, plan))
    return DONE if fits else FAILED


def _row(name: str, plan: Demand) -> str:
    working = max(plan.transformer, plan.encoder, plan.decoder)
    weights, caches, working, peak, waiting = (
        n / 2**30 for n in (plan.weights, plan.caches, working, plan.peak, plan.waiting)
    )
    return (
        f"{name:12} {plan.window:6}  {plan.tile or 'whole':5}  {'yes' if plan.fp8 else 'no':5}  "
        f"{weights:7.2f}  {caches:6.2f}  {working:7.2f}  {peak:6.2f}  {waiting:11.2f}"
    )


def _print_all() -> int:
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
