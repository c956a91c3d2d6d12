"""Speed and memory, as ratios within one run.

python training/benchmark.py                  # the warp, and every stage of the pipeline
python training/benchmark.py --memory 3000    # peak memory while a clip is converted in pieces
python training/benchmark.py --kills 20       # a film whose conversion is killed at random moments
python training/benchmark.py --pieces 480     # what pieces of 40 frames cost
python training/benchmark.py --workers 320    # two processes against one, default depth and fill
python training/benchmark.py --library 10000 --gpus 100  # films on many GPUs, by simulation
python training/benchmark.py --models --size 854x480 --blocks 1
python training/benchmark.py --vae distilled --size 854x480 --dtype fp32
python training/benchmark.py --card docs/benchmarks    # on a GPU: all of it, as JSON files

`--models` runs a transformer with random weights over all tokens, and over those around real holes;
`--vae` encodes and decodes, whole and by tiles. On a CPU `OMP_NUM_THREADS=1` measures the
thread's own time, which other programs do not disturb; with more threads it is the wall's time.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.card import memory_report, warp_report
from benchmarks.library import Fleet, library_table
from benchmarks.long_films import kill_table, pieces_table, workers_table
from benchmarks.machine import describe, matmul_ceiling
from benchmarks.masks import DEMO, Clip, load_clip
from benchmarks.pipeline import convert_once, memory_table, stage_table
from benchmarks.transformer import Case, Plan, transformer_report
from benchmarks.vae import vae_report
from benchmarks.warp import warp_table
from data.sizes import read_size
from dreamstereo_core.devices import choose_device
from dreamstereo_core.fill import INPAINTERS
from dreamstereo_core.models.config import TRANSFORMERS
from dreamstereo_core.models.vae.config import PRESETS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    """Print the tables asked for."""
    options = parse_options()
    if options.convert:
        convert_once(options.convert, options.fill)
    elif options.memory:
        memory_table(options.memory, options.size or (1280, 720), options.fill)
    elif options.kills:
        kill_table(options.kills)
    elif options.library:
        library_table(Fleet(options.library, options.gpus, options.speed))
    elif options.pieces:
        pieces_table(options.pieces, options.size or (320, 180))
    elif options.workers:
        workers_table(options.workers, options.size or (640, 360))
    elif options.card:
        measure_card(options, options.card)
    elif options.models or options.vae:
        report = model_tables(options)
        if options.json:
            write_json(options.json, report)
    else:
        warp_table()
        stage_table(options.video)


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Speed and memory, as ratios within one run.")
    add = parser.add_argument
    add("--memory", type=int, metavar="FRAMES", help="measure memory")
    add("--convert", type=Path, help=argparse.SUPPRESS)  # a child of --memory
    add("--kills", type=int, metavar="N", help="kill a conversion N times, and check the film")
    add("--pieces", type=int, metavar="FRAMES", help="measure the cost of pieces")
    add("--workers", type=int, metavar="FRAMES", help="one process against two")
    add("--library", type=int, metavar="FILMS", help="simulate a library of so many films")
    add("--gpus", type=int, default=100, help="for --library")
    add("--speed", type=float, default=10.0, help="for --library: frames a second of a GPU")
    add("--size", type=read_size, metavar="WxH", help="of the clip, in pixels")
    add("--fill", choices=INPAINTERS, default="classic", help="for --memory")
    add("--video", type=Path, default=DEMO, help="clip for the stages")
    models = parser.add_argument_group("the learned parts, with random weights")
    add = models.add_argument
    add("--models", action="store_true", help="measure the transformer")
    add("--vae", nargs="+", choices=PRESETS, default=[], help="measure these autoencoders")
    add("--config", choices=TRANSFORMERS, default="dreamstereo-1.3b", help="the transformer")
    add("--frames", type=int, default=81, help="of the clip, 1 to 81")
    add("--dtype", choices=DTYPES, default="bf16")
    add("--device", default="auto")
    add("--retention", type=float, nargs="*", default=[0.256, 0.361], help="shares of the tokens")
    add("--dilation", type=int, nargs="*", default=[], help="also the tokens at --max-disparity, "
        "dilated so often")  # fmt: skip
    add("--max-disparity", type=float, nargs="+", default=[3.0], help="of the holes for --dilation "
        "(the first), in percent of the width")  # fmt: skip
    add("--blocks", type=int, help="run only so many blocks")
    add("--tile", type=int, nargs="*", default=[], help="pixels of the tiles of --vae")
    add("--compile", action="store_true", help="torch.compile the blocks")
    add("--bucket", type=int, help="fill kept tokens up to a multiple of this")
    add("--repeats", type=int, default=5, help="rounds of which the median counts")
    add("--card", type=Path, metavar="FOLDER", help="measure warp, memory and models, with "
        "the options above, and write NAME_warp.json, NAME_memory.json, NAME_models.json"
        )  # fmt: skip
    add("--json", type=Path, metavar="PATH", help="write the figures there too")
    options = parser.parse_args()
    options.device = choose_device(options.device)
    return options


def model_tables(options: argparse.Namespace) -> dict[str, Any]:
    """Print the tables of the learned parts; return all figures."""
    device, dtype = options.device, DTYPES[options.dtype]
    report: dict[str, Any] = {"machine": describe(device)}
    width, height = options.size or (1024, 576)
    clip = load_clip(height, width, options.frames)
    ceiling = matmul_ceiling(device, dtype)
    report |= {
        "size": f"{width}x{height}",
        "frames": options.frames,
        "dtype": options.dtype,
        "repeats": options.repeats,
        "matmul_gflop_per_s": round(ceiling / 1e9, 1),
    }
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    print(f"{width}x{height}, {options.frames} frames, {options.dtype}, "
          f"matmul {ceiling / 1e9:,.0f} GFLOP/s\n", flush=True)  # fmt: skip
    if options.models:
        config = TRANSFORMERS[options.config]
        plan = Plan(config, (height, width), options.frames, dtype, device, options.repeats,
                    options.compile, options.bucket)  # fmt: skip
        cases = make_cases(clip, options)
        report |= {"config": options.config, "compile": options.compile, "bucket": options.bucket}
        report["transformer"] = transformer_report(plan, cases, ceiling, options.blocks)
    if options.vae:
        print()
        report["vae"] = vae_report(options.vae, clip, options.tile, dtype, device,
                                   options.repeats)  # fmt: skip
    return report


def measure_card(options: argparse.Namespace, folder: Path) -> None:
    """Measure all that a card is asked; each part is written as soon as it is there."""
    machine = describe(options.device)
    name = re.sub(r"\W+", "_", str(machine["device"]).lower())
    options.models, options.vae = True, options.vae or ["distilled", "wan"]
    width, height = size = options.size or (1024, 576)
    plan = Plan(TRANSFORMERS[options.config], (height, width), options.frames,
                DTYPES[options.dtype], options.device, 1, False)  # fmt: skip
    sizes = [size, *([(1920, 1080), (3840, 2160)] if machine.get("cuda") else [])]
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "warp": lambda: {"warp": warp_report(options.device, sizes, options.repeats)},
        "memory": lambda: {"memory": memory_report(plan, options.vae, options.tile)},
        "models": lambda: model_tables(options),
    }
    for part, measure in parts.items():
        print(f"\n{part}\n")
        report = {"machine": machine, "size": f"{width}x{height}", "dtype": options.dtype}
        write_json(folder / f"{name}_{part}.json", report | measure())


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write the figures of one part."""
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def make_cases(clip: Clip, options: argparse.Namespace) -> list[Case]:
    """Return the dense case, then those of each retention and dilation."""
    kept = {f"{rate:.1%} kept": clip.keep_share(rate) for rate in options.retention}
    for dilation in options.dilation:
        kept[f"dilated {dilation}"] = clip.keep(options.max_disparity[0], dilation)
    return [Case("dense"), *(Case(name, tokens) for name, tokens in kept.items())]


if __name__ == "__main__":
    main()
