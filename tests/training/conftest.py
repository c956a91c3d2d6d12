"""Small pairs and models for the recipes."""

from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.nn import functional as F

import build_pairs
from data.pair_dataset import random_holes
from data.pair_shards import LOSSLESS, Pair, PairWriter
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.models.vae.config import WanVAEConfig

from ..models.fakes import TINY
from .scene import scene


def _write_pairs(folder, *, count=6, frames=5, height=48, width=64):
    writer = PairWriter(folder, {"made": "here"})
    for i in range(count):
        generator = torch.Generator().manual_seed(i)
        noise = torch.rand(1, 3, 3, 4, generator=generator)
        still = F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)
        video = torch.cat([still.roll(t, -1) for t in range(frames)])
        mask = random_holes(frames, height, width, generator=generator)
        writer.add(f"clip {i}", [Pair((video * 255).to(torch.uint8), mask, {"kind": "video"})])
    writer.flush()
    return folder


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """accelerate keeps one state a process; a run of another precision needs a new one."""
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def write_pairs():
    return _write_pairs


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    return _write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def filled_pairs(tmp_path_factory):
    """Three pairs with fills, lossless; their first 16 rows have no hole."""
    folder = tmp_path_factory.mktemp("filled")
    builder = build_pairs.PairBuilder(
        build_pairs.PairOptions(frames=5, height=48, width=96, fill=True)
    )
    writer = PairWriter(folder, {"made": "here"}, LOSSLESS)
    for i in range(3):
        video, disparity = scene()
        shifted = (video.roll(8 * i, -1), disparity.roll(8 * i, -1))
        writer.add(f"clip {i}", builder._finish(*shifted, {"kind": "composite"}, torch.Generator()))
    writer.flush()
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with vae, transformer and base (T2V), all random."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    teacher = WanVAEConfig((8, 8, 16, 16), (1,) * 4, (1,) * 4)
    save_network(build_vae(teacher), folder / "vae.safetensors", VAE)
    student = WanVAEConfig((8, 8, 8, 16), (1,) * 4, (1,) * 4, flat=True)
    save_network(build_vae(student), folder / "student.safetensors", VAE)
    for name, config in (
        ("transformer", TINY),
        ("base", replace(TINY, in_dim=16, learned_context=False)),
    ):
        model = Transformer(config)
        model.initialize_weights()
        torch.nn.init.normal_(model.head.head.weight, std=0.05)
        save_network(model, folder / f"{name}.safetensors", TRANSFORMER)
    return folder
