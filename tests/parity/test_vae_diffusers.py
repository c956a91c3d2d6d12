"""Our Wan VAE against diffusers' on the same weights and inputs."""

import diffusers
import pytest
import torch

from dreamstereo_core import load_vae
from dreamstereo_core.models.vae.config import WAN_MEAN, WAN_STD
from dreamstereo_core.models.vae.wan import WanVAE

TOLERANCE = 1e-4  # of the largest value


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKLWan(base_dim=8).eval()
    for parameter in theirs.parameters():
        if parameter.ndim != 5:  # gammas and biases are 1 and small at first
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    folder = tmp_path_factory.mktemp("vae")
    theirs.save_pretrained(folder)
    return theirs, load_vae(folder, device="cpu")


def error(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def statistics():
    return (torch.tensor(values).view(1, 16, 1, 1, 1) for values in (WAN_MEAN, WAN_STD))


def test_it_is_wan(both):
    assert isinstance(both[1], WanVAE)
    assert both[1].config.widths == (8, 16, 32, 32)


@pytest.mark.parametrize("shape", [(1, 3, 1, 32, 32), (2, 3, 5, 40, 24), (1, 3, 13, 32, 48)])
def test_encode(both, shape):
    theirs, ours = both
    video = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        mu = theirs.encode(video * 2 - 1).latent_dist.mean
    mean, std = statistics()
    assert error(ours.encode(video), (mu - mean) / std) < TOLERANCE


@pytest.mark.parametrize("shape", [(1, 16, 1, 4, 4), (2, 16, 2, 5, 3), (1, 16, 4, 4, 6)])
def test_decode(both, shape):
    theirs, ours = both
    latent = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    mean, std = statistics()
    with torch.inference_mode():
        pixels = theirs.decode(latent * std + mean).sample / 2 + 0.5
    assert pixels.std() > 0.02 and (pixels.frac() > 0).float().mean() > 0.5  # not all clipped
    assert error(ours.decode(latent), pixels) < TOLERANCE
