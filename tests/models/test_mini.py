"""The weights that ship: there, small, whole, and better than nothing."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from dreamstereo_core import (
    ClassicInpainter,
    DiffusionInpainter,
    blend,
    build_pair,
    load_inpainter,
    load_vae,
    read_frames,
)
from dreamstereo_core.models.checkpoint_file import WEIGHTS
from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.vae_config import config_from_json

DEMO = Path(__file__).parents[2] / "docs" / "demo.mp4"
FILES = ("mini.safetensors", "mini_vae.safetensors")


@pytest.fixture(scope="module")
def video():
    """Nine real frames, 320x180."""
    frames = torch.stack([frame.pixels for frame in read_frames(DEMO, 40, 49)])
    return F.interpolate(frames, (180, 320), mode="bilinear", antialias=True)


@pytest.fixture(scope="module")
def pair(video):
    """The frames as a right eye behind something near that moves."""
    disparity = torch.zeros(9, 1, 180, 320)
    for t in range(9):
        disparity[t, :, 50:130, 120 + 2 * t : 180 + 2 * t] = 16.0
    return build_pair(video, disparity)


def psnr(a, b, mask):
    error = ((a - b).square() * mask).sum() / (3 * mask.sum())
    return float(-10 * torch.log10(error))


def test_they_are_in_the_package_in_half_precision_with_their_config():
    assert sum((WEIGHTS / name).stat().st_size for name in FILES) <= 40e6
    for name, read in zip(FILES, (TransformerConfig.from_json, config_from_json), strict=True):
        with safe_open(WEIGHTS / name, framework="pt") as file:
            read(file.metadata()["dreamstereo_config"])
            assert file.metadata()["license"] == "Apache-2.0"
            dtypes = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        assert dtypes == {"F16"}
    assert (WEIGHTS / "README.md").is_file()


def test_mini_is_the_default_and_computes_in_float32():
    inpainter = load_inpainter(device="cpu")
    assert isinstance(inpainter, DiffusionInpainter)
    assert inpainter.name == "mini"
    assert inpainter.transformer.config.residual
    assert {p.dtype for p in inpainter.transformer.parameters()} == {torch.float32}
    assert {p.dtype for p in inpainter.vae.parameters()} == {torch.float32}


def test_the_autoencoder_gives_back_what_it_took(video):
    clip = F.pad(video, (0, 0, 0, 12), mode="replicate").transpose(0, 1)[None]
    vae = load_vae("mini", device="cpu")
    back = vae.decode(vae.encode(clip))
    assert psnr(back, clip, torch.ones_like(clip[:, :1])) > 26


def test_it_fills_at_least_as_well_as_the_first_fill_and_touches_nothing_else(pair):
    mask = pair.occlusion_mask
    filled = load_inpainter("mini", device="cpu").inpaint(
        pair.masked, mask, disparity=pair.disparity
    )
    first = ClassicInpainter().inpaint(pair.masked, mask, disparity=pair.disparity)
    assert psnr(filled, pair.target, mask) > psnr(first, pair.target, mask)
    assert (filled - first).abs().max() < 0.6
    blended = blend(filled, pair.masked, mask)
    known = (mask == 0).expand_as(blended)
    assert torch.equal(blended[known], pair.masked[known])
