"""The autoencoders: shapes, streaming equal to whole, tiles equal to whole, guards."""

import pytest
import torch
from torch import nn

from dreamstereo_core.models.vae.checkpoint import build_vae
from dreamstereo_core.models.vae.config import (
    DISTILLED,
    WAN,
    WAN_MEAN,
    WAN_STD,
    Stage,
    TinyVAEConfig,
    WanVAEConfig,
)
from dreamstereo_core.models.vae.tiles import Region, plan
from dreamstereo_core.models.vae.tiny import TinyVAE
from dreamstereo_core.models.vae.wan import WanVAE

TAEW = TinyVAEConfig(
    encoder=(Stage(8, 1, 2, 2), Stage(8, 1, 2, 2), Stage(8, 1, 2, 1)),
    decoder=(Stage(12, 1, 2, 1), Stage(8, 1, 2, 2), Stage(8, 1, 2, 2)),
    stem=8,
)
KINDS = {
    "wan": lambda: WanVAE(WanVAEConfig(widths=(4, 8, 12, 12))),
    "distilled": lambda: WanVAE(WanVAEConfig((4, 6, 8, 12), (2, 1, 1, 2), (1, 2, 2, 1), flat=True)),
    "taew": lambda: TinyVAE(TAEW),
}


@pytest.fixture(scope="module", params=KINDS)
def vae(request):
    torch.manual_seed(1)
    vae = KINDS[request.param]().eval()
    for parameter in vae.parameters():
        if parameter.ndim == 4 and parameter.shape[-1] == 3:
            nn.init.kaiming_normal_(parameter, nonlinearity="conv2d")
        elif parameter.ndim != 5:  # biases and gammas that matter
            nn.init.normal_(parameter, std=0.2)
    return vae


@pytest.fixture(scope="module")
def video():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, 13, 48, 40, generator=generator)


@pytest.fixture(scope="module")
def latent():
    return torch.randn(1, 16, 4, 6, 5, generator=torch.Generator().manual_seed(0))


def close(a, b):
    scale = max(1.0, b.abs().max().item())
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("frames", "latents"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 3), (8, 3), (9, 3), (13, 4)]
)
def test_any_size_and_frame_count(vae, video, frames, latents):
    clip = video[:, :, :frames, :35, :33]
    z = vae.encode(clip)
    assert z.shape == (1, 16, latents, 5, 5)
    result = vae.decode(z, frames=frames, size=(35, 33))
    assert result.shape == (1, 3, frames, 35, 33)
    assert result.min() >= 0 and result.max() <= 1
    assert vae.decode(z).shape == (1, 3, 4 * latents - 3, 40, 40)


@pytest.mark.parametrize(
    "cuts",
    [[13], [1] * 13, [2, 5, 1, 5], [4, 4, 4, 1], [9, 4], [8, 0], [3, 4], [4, 2, 0], [0, 1, 1]],
)
def test_encoding_in_chunks_is_encoding_the_whole(vae, video, cuts):
    cache, latents = None, []
    video = video[:, :, : sum(cuts)]
    for i, chunk in enumerate(video.split(cuts, 2)):
        z, cache = vae.encode_chunk(chunk, cache, last=i == len(cuts) - 1)
        latents.append(z)
    whole, _ = vae.encode_chunk(video, last=True)
    close(torch.cat(latents, 2), whole)
    close(vae.encode(video), whole)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_last_group_is_filled_up_with_the_last_frame(vae, video, frames):
    missing = -(frames - 1) % 4
    clip = video[:, :, :frames]
    filled = torch.cat((clip, clip[:, :, -1:].expand(-1, -1, missing, -1, -1)), 2)
    close(vae.encode(clip), vae.encode(filled))


@pytest.mark.parametrize("cuts", [[4], [1, 1, 1, 1], [2, 2], [1, 3], [3, 1]])
def test_decoding_in_chunks_is_decoding_the_whole(vae, latent, cuts):
    cache, frames = None, []
    for chunk in latent.split(cuts, 2):
        x, cache = vae.decode_chunk(chunk, cache)
        frames.append(x)
    whole, _ = vae.decode_chunk(latent)
    assert whole.std() > 0.02
    close(torch.cat(frames, 2), whole)
    close(vae.decode(latent), whole)


def test_a_latent_does_not_see_later_frames(vae, video):
    before = vae.encode(video)
    changed = video.clone()
    changed[:, :, 9:] = 0
    group = 3 if vae.first_group == 1 else 2
    after = vae.encode(changed)
    assert torch.equal(after[:, :, :group], before[:, :, :group])
    assert not torch.allclose(after[:, :, group:], before[:, :, group:])


@pytest.mark.parametrize("tile", [8, 16, 24])
def test_tiles_equal_the_whole(vae, video, latent, tile):
    close(vae.encode(video, tile=tile), vae.encode(video))
    close(vae.decode(latent, tile=tile), vae.decode(latent))


def test_tiles_stream(vae, latent):
    first, cache = vae.decode_chunk(latent[:, :, :1], tile=16)
    second, cache = vae.decode_chunk(latent[:, :, 1:], cache, tile=16)
    close(torch.cat((first, second), 2), vae.decode(latent))


@pytest.mark.parametrize(("name", "decoder", "encoder"), [("wan", 7, 43), ("distilled", 5, 35)])
def test_margins(name, decoder, encoder):
    """How far a tile sees: latents around it in the decoder, pixels in the encoder."""
    with torch.device("meta"):
        vae = build_vae(name)
    steps = vae.decoder_steps()
    growing = next(i for i, step in enumerate(steps) if step.up > 1)
    first = plan(steps[growing:], 128, 128, Region(512, 520, 512, 520))[0]
    assert (64 - first.top, first.bottom - 65) == (decoder, decoder)
    steps = vae.encoder_steps()
    shrinking = max(i for i, step in enumerate(steps) if step.down > 1)
    first = plan(steps[: shrinking + 1], 1024, 1024, Region(64, 65, 64, 65))[0]
    assert 512 - first.top == encoder


def test_half_precision_is_close(vae, video, latent):
    z, x = vae.encode(video), vae.decode(latent)
    vae.bfloat16()
    z_half, x_half = vae.encode(video), vae.decode(latent)
    vae.float()
    assert z_half.dtype == x_half.dtype == torch.float32
    assert (z_half - z).abs().max() < 0.06 * z.abs().max()
    assert (x_half - x).abs().mean() < 0.01


def test_latents_are_normalised_by_the_config(video):
    torch.manual_seed(0)
    vae = WanVAE(WanVAEConfig(widths=(4, 8, 12, 12)))
    raw = WanVAE(WanVAEConfig(widths=(4, 8, 12, 12), mean=(0.0,) * 16, std=(1.0,) * 16))
    raw.load_state_dict(vae.state_dict())
    mean, std = (torch.tensor(v).view(1, 16, 1, 1, 1) for v in (WAN_MEAN, WAN_STD))
    z = vae.encode(video)
    close(z * std + mean, raw.encode(video))
    close(vae.decode(z), raw.decode(z * std + mean))


def test_operations_are_injected():
    made = []

    class Counted:
        @staticmethod
        def Conv2d(*args, **kwargs):
            made.append(2)
            return nn.Conv2d(*args, **kwargs)

        @staticmethod
        def Conv3d(*args, **kwargs):
            made.append(3)
            return nn.Conv3d(*args, **kwargs)

    for build in (
        lambda: WanVAE(WanVAEConfig((4, 4, 4, 4)), Counted),
        lambda: TinyVAE(TAEW, Counted),
    ):
        made.clear()
        convs = [m for m in build().modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
        assert len(made) == len(convs) > 20


@pytest.mark.parametrize(
    ("config", "low", "high"),
    [(WAN, 126.88e6, 126.90e6), (DISTILLED, 70e6, 80.2e6), (TinyVAEConfig(), 11.2e6, 11.4e6)],
)
def test_parameter_counts(config, low, high):
    with torch.device("meta"):
        vae = (WanVAE if isinstance(config, WanVAEConfig) else TinyVAE)(config)
    assert low < sum(p.numel() for p in vae.parameters()) < high


def test_bad_input(vae, video, latent):
    with pytest.raises(ValueError, match=r"video: expected shape \[B, 3, T, H, W\]"):
        vae.encode(video[:, :2])
    with pytest.raises(TypeError, match="video: expected a floating point tensor"):
        vae.encode((video * 255).byte())
    with pytest.raises(ValueError, match="video: expected finite"):
        vae.encode(video.clone().index_fill_(4, torch.tensor([3]), float("nan")))
    with pytest.raises(ValueError, match="latent: expected shape"):
        vae.decode(latent[:, :4])
    with pytest.raises(ValueError, match="tile: expected a multiple of 8"):
        vae.decode(latent, tile=12)
    _, cache = vae.encode_chunk(video)
    with pytest.raises(ValueError, match="video: expected the batch and size of the chunk before"):
        vae.encode_chunk(video[..., :32], cache)
    _, cache = vae.decode_chunk(latent)
    with pytest.raises(ValueError, match="of the chunk before"):
        vae.decode_chunk(latent[..., :4], cache)
