"""Put a trained transformer and autoencoder into the package, in half precision, as `mini`.

python training/embed_weights.py runs/mini_sharp/model.safetensors runs/mini_vae/model.safetensors
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from dreamstereo_core.models.checkpoint import load_transformer, save_transformer
from dreamstereo_core.models.checkpoint_file import WEIGHTS
from dreamstereo_core.models.vae_checkpoint import load_vae, save_vae

METADATA = {"license": "Apache-2.0", "model_card": "dreamstereo_core/weights/README.md"}


def embed(transformer: Path, vae: Path, folder: Path = WEIGHTS) -> list[Path]:
    """Write both files into `folder`; return their paths.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: it is of another model, or a weight is too large for half precision.
    """
    loaded = load_transformer(transformer, dtype=torch.float32)
    autoencoder = load_vae(vae, device="cpu", dtype=torch.float32)
    for path, model in ((transformer, loaded), (vae, autoencoder)):
        for name, weight in model.state_dict().items():
            if not weight.half().isfinite().all():
                raise ValueError(f"{path}: {name}: expected weights that half precision holds")
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / "mini.safetensors", folder / "mini_vae.safetensors"]
    save_transformer(targets[0], loaded, dtype=torch.float16, metadata=METADATA)
    save_vae(autoencoder, targets[1], dtype=torch.float16, metadata=METADATA)
    return targets


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Put trained weights into the package.")
    parser.add_argument("transformer", type=Path)
    parser.add_argument("vae", type=Path)
    options = parser.parse_args(arguments)
    try:
        for path in embed(options.transformer, options.vae):
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
