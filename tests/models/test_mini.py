"""The autoencoder that ships: there, small, and of use."""

from pathlib import Path

import torch
from safetensors import safe_open
from torch.nn import functional as F

from dreamstereo_core import load_vae, read_frames
from dreamstereo_core.models.checkpoint_file import WEIGHTS
from dreamstereo_core.models.vae_config import config_from_json

DEMO = Path(__file__).parents[2] / "docs" / "demo.mp4"
FILE = WEIGHTS / "mini_vae.safetensors"


def test_it_is_in_the_package_in_half_precision_with_its_config():
    assert FILE.stat().st_size <= 8e6
    with safe_open(FILE, framework="pt") as file:
        assert config_from_json(file.metadata()["dreamstereo_config"]).causal
        assert file.metadata()["license"] == "Apache-2.0"
        keys = list(file.keys())
        assert {file.get_slice(key).get_dtype() for key in keys} == {"F16"}
    assert (WEIGHTS / "README.md").is_file()


def test_it_gives_back_what_it_took():
    frames = torch.stack([frame.pixels for frame in read_frames(DEMO, 40, 49)])
    frames = F.interpolate(frames, (192, 320), mode="bilinear", antialias=True)
    clip = frames.transpose(0, 1)[None]
    vae = load_vae("mini", device="cpu")
    latent = vae.encode(clip)
    assert latent.shape == (1, 16, 3, 24, 40)
    assert 0.5 < latent.std() < 1.5
    small = F.interpolate(frames, scale_factor=1 / 8, mode="area")
    blurred = F.interpolate(small, frames.shape[-2:], mode="bicubic").transpose(0, 1)[None]
    error, blur = ((x - clip).square().mean() for x in (vae.decode(latent), blurred))
    assert 10 * torch.log10(blur / error) > 2  # dB better than as many pixels as latents have
