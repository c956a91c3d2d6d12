"""Put trained networks into the package, in half precision, as `mini`.

python training/embed_weights.py runs/mini/model.safetensors runs/mini_depth/model.safetensors

With `--half-way-from`, the mean of a network's weights and of those from which it was trained:
nearly as good as its end on what it was trained for, and better elsewhere (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022).
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from dreamstereo_core.models.files.checkpoint_file import (
    CONFIG_KEY,
    KIND_KEY,
    WEIGHTS,
    CheckpointError,
    open_checkpoint,
    save_checkpoint,
)

METADATA = {"license": "Apache-2.0", "model_card": "dreamstereo_core/weights/README.md"}
KINDS = ("depth", "inpainter")


def embed(source: Path, folder: Path = WEIGHTS, begin: Path | None = None) -> Path:
    """Write `mini_<kind>.safetensors` into `folder`; return its path.

    With `begin`, weights that it has, too, become the mean of both.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is of no kind that is embedded, or a weight is too large for half
            precision.
    """
    file = open_checkpoint(source)
    if file.kind not in KINDS or file.config is None:
        raise CheckpointError(
            f"{source}: expected a DreamStereo file ({', '.join(KINDS)}), "
            f"got {file.kind or 'another file'}"
        )
    weights = {name: file.read(name) for name in file.shapes}
    if begin is not None:
        other = open_checkpoint(begin)
        for name in weights.keys() & other.shapes.keys():
            weights[name] = (weights[name].float() + other.read(name).float()) / 2
    for name, weight in weights.items():
        if weight.ndim > 1:  # vectors are small, and statistics may not fit
            weights[name] = weight = weight.to(torch.float16)
        if not weight.isfinite().all():
            raise CheckpointError(f"{source}: {name}: expected weights that half precision holds")
    kept = {k: v for k, v in file.metadata.items() if k not in (KIND_KEY, CONFIG_KEY, "format")}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"mini_{file.kind}.safetensors"
    save_checkpoint(
        target, weights, kind=file.kind, config=file.config, metadata={**kept, **METADATA}
    )
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Put trained networks into the package.")
    parser.add_argument("checkpoint", type=Path, nargs="+")
    parser.add_argument("--half-way-from", type=Path, metavar="FILE",
                        help="the file that the training started from")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        paths = [embed(path, begin=options.half_way_from) for path in options.checkpoint]
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
