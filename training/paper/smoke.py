"""Tiny films, stereo videos and weights, with which every table runs in seconds.

Their figures mean nothing: the weights are random.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import gapw_warp
from dreamstereo_core.models.config import INPAINTING_CHANNELS, TransformerConfig
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae, load_vae
from dreamstereo_core.models.vae.config import WanVAEConfig
from engine.pictures import write_png
from evaluation.exchange import write_lossless
from making.pair_builder import PairOptions
from paper.strategies import train_strategies

SIZE = WIDTH, HEIGHT = 128, 64
FRAMES = 5
NEAR = 10.0
"""Disparity in pixels of the square that moves through the films."""
SMOKE_VAES = tuple(WanVAEConfig(w, (1,) * 4, (1,) * 4) for w in ((4, 4, 8, 8), (4, 4, 4, 4)))
"""In place of Wan's and of the distilled one."""
MODEL = TransformerConfig(
    in_dim=INPAINTING_CHANNELS,
    dim=48,
    ffn_dim=96,
    num_heads=2,
    num_layers=2,
    freq_dim=32,
    text_dim=24,
    text_len=8,
    learned_context=True,
)


def smoke_options(options: Namespace, folder: Path) -> Namespace:
    """Return the options of a trial: tiny media and weights in `folder`, few frames."""
    folder.mkdir(parents=True, exist_ok=True)
    _films(folder / "films")
    write_png(folder / "depth.png", (_scene()[1][0] / NEAR).expand(3, -1, -1))
    _stereo(folder / "stereo" / "scene")
    for number, name in enumerate(("model", "other")):
        _transformer(folder / f"{name}.safetensors", number)
    for number, name in enumerate(("wan", "distilled")):
        torch.manual_seed(number)
        save_network(build_vae(SMOKE_VAES[number]), folder / f"vae_{name}.safetensors", VAE)
    tiny = {
        "videos": folder / "films",
        "stereo_videos": [f"Dynamic Replica={folder / 'stereo'}"],
        "base": str(folder / "model.safetensors"),
        "vae": str(folder / "vae_wan.safetensors"),
        "distilled_vae": str(folder / "vae_distilled.safetensors"),
        "row": options.row or [("Another", str(folder / "other.safetensors"))],
        "fill": options.fill or ["classic"],
        "lora": [],
        "context": None,
        "depth": str(folder / "depth.png"),
        "size": SIZE,
        "frames": FRAMES,
        "start": [0],
        "limit": 1,
        "perceptual_frames": 1,
        "match": True,
    }
    if "table3" in options.tables and not (options.row or options.export):
        tiny["strategies"] = _strategies(folder)
    return Namespace(**{**vars(options), **tiny})


def _strategies(folder: Path) -> list[tuple[str, str]]:
    """Return rows of Table 3: the tiny model after a few steps on each strategy's pairs."""
    pairs = PairOptions(FRAMES, HEIGHT, WIDTH, clips=1, max_disparity=(8.0, 8.0))
    film, depth, model = (folder / n for n in ("films/film.mkv", "depth.mkv", "model.safetensors"))
    write_lossless(depth, (_scene()[1] / NEAR).expand(-1, 3, -1, -1))
    vae = load_vae(str(folder / "vae_wan.safetensors"), dtype=torch.float32)
    return train_strategies(film, depth, model, vae, pairs, folder / "strategies")


def _texture() -> Tensor:
    """Return a picture `[3, H, 2 W]` with coarse and fine parts, so that matching finds its way."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.zeros(1, 3, HEIGHT, 2 * WIDTH)
    for cell, weight in ((16, 0.5), (4, 0.3), (2, 0.2)):
        coarse = torch.rand(1, 3, HEIGHT // cell, 2 * WIDTH // cell, generator=generator)
        picture += weight * F.interpolate(coarse, picture.shape[-2:], mode="bicubic")
    return picture[0].clamp(0, 1)


def _scene() -> tuple[Tensor, Tensor]:
    """Return a panning film `[T, 3, H, W]` with a near square, and its disparity `[T, 1, H, W]`."""
    texture = _texture()
    video = torch.stack([texture[..., t : t + WIDTH] for t in range(FRAMES)])
    disparity = torch.full((FRAMES, 1, HEIGHT, WIDTH), 2.0)
    for t in range(FRAMES):
        here = (t, slice(None), slice(16, 48), slice(40 + 2 * t, 72 + 2 * t))
        video[here] = 1 - video[0, :, 16:48, 40:72]
        disparity[here] = NEAR
    return video, disparity


def _films(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_lossless(folder / "film.mkv", _scene()[0])


def _stereo(folder: Path) -> None:
    (folder / "disparity").mkdir(parents=True, exist_ok=True)
    left, disparity = _scene()
    write_lossless(folder / "left.mkv", left)
    write_lossless(folder / "right.mkv", gapw_warp(left, disparity).video)
    for t, frame in enumerate(disparity[:, 0]):
        np.save(folder / "disparity" / f"{t:03d}.npy", frame.numpy())


def _transformer(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model = Transformer(replace(MODEL))
    model.initialize_weights()
    torch.nn.init.normal_(model.head.head.weight, std=0.05)
    save_network(model, path, TRANSFORMER)
