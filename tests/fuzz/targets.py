"""What is done with a damaged file: what the command or a program would do with a sound one."""

from pathlib import Path

import torch

from dreamstereo_core import (
    ConvertOptions,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    load_inpainter,
    load_vae,
    probe,
)
from dreamstereo_core.depth import DepthError
from dreamstereo_core.fill import load_context
from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.files.checkpoint_file import CheckpointError
from dreamstereo_core.models.files.load import load_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.lora import load_lora, merge_loras
from dreamstereo_core.models.transformer import Transformer

LARGEST = 640 * 480
"""Pixels of a frame that are still converted; a damaged size may be any, and honest work."""
FRAMES = 6


def film(path: Path, target: Path) -> None:
    """Probe it and convert its first frames."""
    info = probe(path)
    if info.width * info.height > LARGEST:
        return
    convert_file(
        path,
        target,
        depth=load_depth("cues", device="cpu"),
        inpainter=load_inpainter("classic", device="cpu"),
        options=ConvertOptions(),
        encode=EncodeOptions(preset="ultrafast"),
        frames=(0, FRAMES),
    )


def depth(path: Path, target: Path) -> None:
    """Read it as the depth of a small film."""
    load_depth(path, device="cpu").estimate(torch.rand(2, 3, 48, 64))


def depth_model(path: Path, target: Path) -> None:
    """Load it and look at one frame."""
    load_depth(path, device="cpu").estimate(torch.rand(1, 3, 48, 64))


def transformer(path: Path, target: Path) -> None:
    """Load it."""
    load_network(path, TRANSFORMER)


def inpainter(path: Path, target: Path) -> None:
    """Load it and fill a hole."""
    mask = torch.zeros(1, 1, 48, 64)
    mask[..., 20:30] = 1
    load_inpainter(path, device="cpu").inpaint(torch.rand(1, 3, 48, 64), mask)


def vae(path: Path, target: Path) -> None:
    """Load it, encode and decode."""
    autoencoder = load_vae(path, device="cpu")
    autoencoder.decode(autoencoder.encode(torch.rand(1, 3, 5, 16, 16)))


def lora(path: Path, target: Path) -> None:
    """Merge it into a model."""
    model = Transformer(TransformerConfig(36, dim=48, ffn_dim=96, num_heads=2, num_layers=2))
    merge_loras(model, [(load_lora(path, model), 1.0)])


def context(path: Path, target: Path) -> None:
    """Load it."""
    load_context(path)


TARGETS = {
    f.__name__: f for f in (film, depth, depth_model, transformer, inpainter, vae, lora, context)
}
ALLOWED = {
    "film": (VideoError, ValueError),
    "depth": (VideoError, DepthError, ValueError),
    "depth_model": (DepthError, ValueError),
    "vae": (ValueError,),
    "inpainter": (ValueError,),
}
"""What may come out beside a result; of the others, a CheckpointError. Weights that are merely
wrong may give latents that are not finite, which is a ValueError."""


def allowed(name: str) -> tuple[type[Exception], ...]:
    return ALLOWED.get(name, (CheckpointError,))
