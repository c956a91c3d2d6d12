"""Put a trained autoencoder or depth network into the package, in half precision, as `mini`.

python training/embed_weights.py runs/mini_vae/model.safetensors
python training/embed_weights.py runs/mini_depth/model.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from dreamstereo_core.depth.mini import FILE
from dreamstereo_core.depth.mini_network import KIND, load_mini_network, save_mini_depth
from dreamstereo_core.models.checkpoint_file import WEIGHTS, open_checkpoint
from dreamstereo_core.models.vae_checkpoint import load_vae, save_vae

METADATA = {"license": "Apache-2.0", "model_card": "dreamstereo_core/weights/README.md"}


def embed(path: Path, folder: Path = WEIGHTS) -> Path:
    """Write `mini_vae.safetensors` or `mini_depth.safetensors` into `folder`; return its path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither, or a weight is too large for half precision.
    """
    if open_checkpoint(path).kind == KIND:
        folder.mkdir(parents=True, exist_ok=True)
        save_mini_depth(load_mini_network(path), folder / FILE, metadata=METADATA)
        return folder / FILE
    return embed_vae(path, folder)


def embed_vae(vae: Path, folder: Path) -> Path:
    """Write `mini_vae.safetensors` into `folder`; return its path."""
    autoencoder = load_vae(vae, device="cpu", dtype=torch.float32)
    for name, weight in autoencoder.state_dict().items():
        if not weight.half().isfinite().all():
            raise ValueError(f"{vae}: {name}: expected weights that half precision holds")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "mini_vae.safetensors"
    save_vae(autoencoder, target, dtype=torch.float16, metadata=METADATA)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Put a trained network into the package.")
    parser.add_argument("file", type=Path, help="autoencoder or depth network")
    options = parser.parse_args(arguments)
    try:
        path = embed(options.file)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
