"""Our VAEs against ComfyUI's own on the same weights and inputs."""

import importlib

import pytest
import torch

TOLERANCE = 1e-4  # of the largest value


@pytest.fixture
def wan_vae(core):
    """Wan's architecture at a small width, on raw latents."""
    config = importlib.import_module("dreamstereo_core.models.vae.config")
    raw = config.WanVAEConfig(widths=(8, 16, 32, 32), mean=(0.0,) * 16, std=(1.0,) * 16)
    return importlib.import_module("dreamstereo_core.models.vae.wan").WanVAE(raw).eval()


@pytest.fixture
def tiny_vae(core):
    taew = importlib.import_module("dreamstereo_core.models.vae.config").TAEW
    return importlib.import_module("dreamstereo_core.models.vae.tiny").TinyVAE(taew).eval()


def copy_weights(ours, theirs):
    """Give ComfyUI's model, made without values, our weights; strictly."""
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, 0.3 if parameter.ndim != 5 else 0.0, 0.1)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return theirs.eval()


def error(ours, theirs):
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@torch.no_grad()
def test_wan(wan_vae):
    from comfy.ldm.wan.vae import WanVAE as ComfyVAE

    torch.manual_seed(0)
    ours = wan_vae
    theirs = ComfyVAE(dim=8, z_dim=16, temperal_downsample=[False, True, True])
    copy_weights(ours, theirs)
    video = torch.rand(1, 3, 9, 40, 32)
    z = ours.encode(video)
    assert error(z, theirs.encode(video * 2 - 1)) < TOLERANCE
    z = torch.randn_like(z)
    pixels = (theirs.decode(z) / 2 + 0.5).clamp(0, 1)
    assert pixels.std() > 0.02
    assert error(ours.decode(z), pixels) < TOLERANCE


@torch.no_grad()
def test_taew(tiny_vae):
    from comfy.taesd.taehv import TAEHV

    torch.manual_seed(0)
    ours = tiny_vae
    theirs = TAEHV(latent_channels=16, show_progress_bar=False)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    video = torch.rand(1, 3, 9, 32, 24)
    z = ours.encode(video)
    assert error(z, theirs.encode(video)) < TOLERANCE
    pixels = theirs.decode(z * 3).clamp(0, 1)
    assert error(ours.decode(z * 3), pixels) < TOLERANCE
