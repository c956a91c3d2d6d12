"""The decoder that sees the picture: no other one changes, and tiles with holes are the whole."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dreamstereo_core.models.vae.base import see
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae, load_vae
from dreamstereo_core.models.vae.config import SIGHTED, WanVAEConfig, config_from_json
from dreamstereo_core.models.vae.hole_tiles import HoleDecoder
from dreamstereo_core.models.vae.tiles import lookback

PLAIN = WanVAEConfig((4, 6, 8, 12), (1, 1, 1, 1), (1, 1, 1, 1), flat=True)
SEEING = replace(PLAIN, conditioned=True)


def make(config=SEEING, seed=0):
    torch.manual_seed(seed)
    vae = build_vae(config).eval()
    for parameter in vae.parameters():
        if parameter.ndim == 4 and parameter.shape[-1] == 3:
            nn.init.kaiming_normal_(parameter, nonlinearity="conv2d")
    return vae


@pytest.fixture(scope="module")
def vae():
    return make()


@pytest.fixture(scope="module")
def shot():
    """12 latents of 64x80 pixels and what is seen of their frames: a hole comes, goes and comes."""
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(1, 16, 12, 8, 10, generator=generator)
    video = torch.rand(1, 3, 45, 64, 80, generator=generator)
    mask = torch.zeros(1, 1, 45, 64, 80)
    mask[:, :, :4, 10:20, 4:10] = 1
    mask[:, :, 20:26, 40:50, 60:70] = 1
    mask[:, :, 41:, 10:20, 4:12] = 1
    return latent, video, mask


def test_with_glances_at_zero_it_is_the_decoder_without():
    plain, seeing = build_vae(PLAIN), build_vae(SEEING)
    missing, unexpected = seeing.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(".glances." in name for name in missing)
    latent = torch.randn(1, 16, 2, 4, 4)
    picture = see(torch.rand(1, 3, 5, 32, 32), torch.zeros(1, 1, 5, 32, 32))
    assert torch.equal(seeing.decode(latent, picture=picture), plain.decode(latent))


def test_a_file_without_the_setting_is_a_decoder_that_sees_nothing(tmp_path):
    config = config_from_json('{"kind": "wan", "widths": [4, 4, 4, 4]}')
    assert isinstance(config, WanVAEConfig) and not config.conditioned
    assert not any(".glances." in name for name in build_vae(config).state_dict())
    with pytest.raises(ValueError, match="picture: expected None, since this decoder sees none"):
        build_vae(config).decode(torch.zeros(1, 16, 1, 2, 2), picture=torch.zeros(1, 4, 1, 16, 16))


def test_it_is_saved_and_loaded(vae, shot, tmp_path):
    from dreamstereo_core.models.files.load import save_network

    save_network(vae, tmp_path / "vae.safetensors", VAE)
    loaded = load_vae(tmp_path / "vae.safetensors", device="cpu")
    assert loaded.conditioned and loaded.config == SEEING
    latent, picture = shot[0][:, :, :2], see(*shot[1:])[:, :, :5]
    again = loaded.decode(latent, picture=picture)
    assert torch.equal(again, vae.decode(latent, picture=picture))
    assert not torch.allclose(again, vae.decode(latent), atol=1e-2)


@pytest.mark.parametrize("tile", [24, 64])
def test_tiles_are_the_whole_with_a_picture_too(vae, shot, tile):
    latent, picture = shot[0][:, :, :3], see(*shot[1:])[:, :, :9]
    whole = vae.decode(latent, picture=picture)
    assert torch.allclose(vae.decode(latent, picture=picture, tile=tile), whole, atol=1e-5)
    together, _ = vae.decode_chunk(latent, picture=picture)
    assert torch.allclose(together, whole, atol=1e-5)


@pytest.mark.parametrize("flat", [True, False])
def test_the_lookback_is_how_far_back_a_frame_depends(flat, shot):
    vae = make(replace(PLAIN, flat=flat))
    steps = vae.decoder_steps()
    reach = lookback(steps)
    latent = torch.randn(1, 16, reach + 2, 2, 2)
    other = latent.clone()
    other[:, :, 0] += 1
    change = (vae.decode(latent) - vae.decode(other)).abs().amax((0, 1, 3, 4))
    assert change[4 * reach + 1 :].max() == 0  # the latent `reach` + 1 later
    assert change[4 * (reach // 2)] > 0


@pytest.mark.parametrize("flat", [True, False])
def test_the_tiles_with_holes_are_the_whole_there_and_known_pixels_elsewhere(shot, flat):
    vae = make(replace(SEEING, flat=flat))
    latent, video, mask = shot
    picture = see(video, mask)
    whole = vae.decode(latent, picture=picture)
    decoder = HoleDecoder(vae, 32)
    frames = [slice(0, 1), *(slice(4 * i - 3, 4 * i + 1) for i in range(1, 12))]
    parts = [
        decoder.decode(z, picture[:, :, at])
        for z, at in zip(latent.split(1, 2), frames, strict=True)
    ]
    tiled = torch.cat(parts, 2)
    decoded = (tiled - whole).abs() < 1e-5
    assert decoded[mask.expand_as(decoded) > 0].all()
    known = (tiled - video).abs() < 1e-6
    assert (decoded | known).all(1).all()
    assert 0.2 < known.all(1).float().mean() < 0.95  # it saved something, and did something
    if flat:
        assert known[:, :, :, :, 40:].all(1)[:, :17].all()  # there was no hole yet


def test_a_wrong_picture_is_named(vae, shot):
    latent = shot[0][:, :, :2]
    with pytest.raises(ValueError, match=r"picture: expected shape \[1, 4, 8, 64, 80\], got"):
        vae.decode_chunk(latent, picture=torch.zeros(1, 4, 8, 64, 72))


def test_it_is_tiny():
    with torch.device("meta"):
        both = [build_vae(config).decoder for config in ("distilled", SIGHTED)]
    large, small = (sum(p.numel() for p in decoder.parameters()) for decoder in both)
    assert small < 0.35 * large
