"""All that a run lacks, in one list, before torch or anything else that is heavy is imported."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data.sizes import write_size
from engine.extras import PACKAGES, is_missing

CONFIGS = Path(__file__).parents[1] / "configs"
MODULES = (
    "accelerate",
    "av",
    "cv2",
    "einops",
    "matplotlib",
    "numpy",
    "peft",
    "safetensors",
    "torch",
    "tqdm",
    "yaml",
)
HUB = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files"
ADDRESSES = {
    "wan2.1_t2v_1.3B_fp16.safetensors": f"2.8 GB, {HUB}/diffusion_models/",
    "wan_2.1_vae.safetensors": f"0.25 GB, {HUB}/vae/",
}
DIM, FFN, LAYERS, TEXT = 1536, 8960, 30, 512
"""Of Wan 2.1 1.3B."""
PASSES = 3
"""Forward passes that a step costs: one, its repetition by checkpointing, and the gradients."""
CARDS = {"A100": 312e12, "H100": 989e12}
"""Peak FLOP/s in bfloat16."""
SHARE = 0.4
"""Of the peak that is taken for granted."""


def tell_what_is_missing(default: str, arguments: Sequence[str] | None = None) -> None:
    """Print what a LoRA run lacks and needs, and exit with 1 where something is missing.

    Args:
        default: the config in `configs/` of a command line without one.
        arguments: the command line; None = the process's.

    Raises:
        SystemExit: something is missing, with 1.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(words):
        return
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("config", type=Path, nargs="?", default=CONFIGS / default)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", action="append", default=[])
    options, _ = parser.parse_known_args(words)
    folder = options.out or Path("runs") / options.config.stem
    missing = list(missing_packages())
    values = None if any("pyyaml" in line for line in missing) else _read(options)
    if isinstance(values, dict):
        missing += [*missing_files(values), *missing_disk(values, folder)]
    if os.environ.get("RANK", "0") == "0":
        _say(options.config, folder, missing, values if isinstance(values, dict) else None)
    if missing:
        sys.exit(1)


def missing_packages() -> Iterator[str]:
    """Yield one line with the packages that are not installed, if any."""
    names = [PACKAGES[module] for module in MODULES if is_missing(module)]
    if names:
        yield f"packages {', '.join(names)}: pip install -e .[train]"


def missing_files(values: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each file or folder that a config names and that is not there."""
    own = _section(values, "lora")
    for key in ("base", "vae", "context", "captions", "start"):
        name = own.get(key)
        if isinstance(name, str) and ("/" in name or "\\" in name) and not Path(name).exists():
            yield f"{key} {name}: {_origin(key, Path(name))}"
    for data in _sections(values):
        folder = Path(str(data.get("pairs", "pairs")))
        if not any(folder.glob("pairs-*.safetensors")):
            size = write_size(int(data.get("width", 192)), int(data.get("height", 192)))
            yield (
                f"pairs {folder}: python training/build_pairs.py YOUR_VIDEOS --out {folder} "
                f"--size {size} --frames {data.get('frames', 17)}"
            )


def missing_disk(values: dict[str, Any], folder: Path) -> Iterator[str]:
    """Yield a line for each place that has too little room."""
    for place, size in disk_needs(values, folder).items():
        free = _free(Path(place))
        if free < size:
            yield f"disk at {place}: {_gb(size)} are needed, {_gb(free)} are free"


def disk_needs(values: dict[str, Any], folder: Path) -> dict[str, int]:
    """Return place -> bytes: of the run, and of latents where they are to be kept.

    A run keeps `keep` checkpoints and writes one more; each holds the trained weights and two
    moments of them.
    """
    own = _section(values, "lora")
    keep = int(_section(values, "run").get("keep", 2))
    weights = 4 * trained_weights(int(own.get("rank", 64)))
    needs = {str(folder): (keep + 1) * 3 * weights + weights}
    if own.get("cache"):
        count = int(own.get("cached_samples", 4096))
        needs[str(own["cache"])] = sum(count * latent_bytes(data) for data in _sections(values))
    return needs


def trained_weights(rank: int) -> int:
    """Return how many weights a LoRA of that rank trains, the patch embedding among them."""
    block = 8 * 2 * DIM * rank + 2 * (DIM + FFN) * rank
    return LAYERS * block + DIM * (36 * 4 + 1)


def latent_bytes(data: dict[str, Any]) -> int:
    """Return what one sample takes among the cached latents, `latents.PARTS`."""
    frames, height, width = (
        int(data.get(k, d)) for k, d in (("frames", 17), ("height", 192), ("width", 192))
    )
    places = (1 + (frames - 1) // 4) * (height // 8) * (width // 8)
    if data.get("masks", "pairs") == "pairs":
        return places * (2 * 16 * 2 + 4)
    return places * 16 * 2  # the clip's alone: its holes are drawn at each step


def tflop(tokens: int) -> float:
    """Return the operations of one forward pass over so many tokens, in 10^12."""
    linear = 6 * DIM**2 + 2 * DIM * FFN
    block = 2 * tokens * linear + 4 * tokens * (tokens + TEXT) * DIM
    return (LAYERS * block + 2 * 4 * DIM * tokens * (16 + 16)) / 1e12


def gpu_hours(values: dict[str, Any]) -> dict[str, float]:
    """Return card -> hours of one such card for all steps, by the count of operations."""
    run, sections = _section(values, "run"), _sections(values)
    clips = run.get("global_batch") or int(run.get("batch", 4)) * int(run.get("accumulate", 1))
    tokens = [
        (1 + (int(d.get("frames", 17)) - 1) // 4)
        * (int(d.get("height", 192)) // 16)
        * (int(d.get("width", 192)) // 16)
        for d in sections
    ]
    mean = sum(map(tflop, tokens)) / max(1, len(tokens))
    work = int(run.get("steps", 10000)) * int(clips) * PASSES * mean * 1e12
    return {card: work / (SHARE * peak) / 3600 for card, peak in CARDS.items()}


def _say(config: Path, folder: Path, missing: list[str], values: dict[str, Any] | None) -> None:
    lines = [f"train_lora: {_short(config)} into {folder}"]
    if missing:
        lines += ["missing:", *(f"  {line}" for line in missing)]
    if values:
        needs = disk_needs(values, folder).items()
        lines += ["needed:"]
        lines += [
            f"  disk at {p}: {_gb(size)}, {_gb(_free(Path(p)))} are free" for p, size in needs
        ]
        hours = ", ".join(f"{h:,.0f} h of one {card}" for card, h in gpu_hours(values).items())
        lines += [
            f"  time: about {hours} (Wan 1.3B's operations at {SHARE:.0%} of the peak; without "
            "the autoencoder)"
        ]
        if not missing and shutil.which("nvidia-smi") is None:
            lines += ["  a GPU: none was seen; the 1.3B model takes years on a CPU"]
    if missing:
        lines += ["the same command starts once these are there"]
    print(*lines, sep="\n", file=sys.stderr)


def _read(options: argparse.Namespace) -> Any:
    """Return the config as it is written; None where reading it again will say what is wrong."""
    from engine.settings import SettingsError, read_values

    try:
        return read_values(options.config, options.set)
    except (SettingsError, OSError):
        return None


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name)
    return section if isinstance(section, dict) else {}


def _sections(values: dict[str, Any]) -> list[dict[str, Any]]:
    data = values.get("data")
    return [d for d in data if isinstance(d, dict)] if isinstance(data, list) else []


def _origin(key: str, path: Path) -> str:
    if path.name in ADDRESSES:
        return ADDRESSES[path.name] + path.name
    return {
        "base": f"Wan 2.1 T2V 1.3B, {ADDRESSES['wan2.1_t2v_1.3B_fp16.safetensors']}",
        "vae": f"Wan 2.1's autoencoder, {ADDRESSES['wan_2.1_vae.safetensors']}",
        "context": "python training/encode_prompt.py PROMPT --encoder google/umt5-xxl --output it",
        "captions": "python training/encode_prompt.py --table TSV --encoder google/umt5-xxl "
        "--output it",
        "start": "the last checkpoint of stage 1, python training/train_lora.py",
    }[key]


def _free(place: Path) -> int:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
