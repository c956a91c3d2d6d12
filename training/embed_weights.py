"""Put a trained autoencoder into the package, in half precision, as `mini`.

python training/embed_weights.py runs/mini_vae/model.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from dreamstereo_core.models.checkpoint_file import WEIGHTS
from dreamstereo_core.models.vae_checkpoint import load_vae, save_vae

METADATA = {"license": "Apache-2.0", "model_card": "dreamstereo_core/weights/README.md"}


def embed(vae: Path, folder: Path = WEIGHTS) -> Path:
    """Write `mini_vae.safetensors` into `folder`; return its path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no autoencoder, or a weight is too large for half precision.
    """
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
    parser = argparse.ArgumentParser(description="Put a trained autoencoder into the package.")
    parser.add_argument("vae", type=Path)
    options = parser.parse_args(arguments)
    try:
        path = embed(options.vae)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
