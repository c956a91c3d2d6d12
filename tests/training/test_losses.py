"""The losses against values computed by hand; the initial weights; the shipped settings."""

from pathlib import Path

import pytest
import torch

import distill_step
import distill_vae
import train_depth
import train_lora
import train_mini
from dreamstereo_core.models.files.load import load_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.vae.checkpoint import load_vae
from dreamstereo_core.models.vae.config import Stage, TinyVAEConfig
from dreamstereo_core.models.vae.tiny import TinyVAE
from engine.settings import load_settings
from objectives.codec import decode_normalised, decode_raw, encode_moments
from objectives.discriminator import (
    PatchDiscriminator3D,
    adaptive_weight,
    adversarial_loss,
    discriminator_loss,
    hinge_loss,
)
from objectives.flow import FlowModel, FlowSettings, fill_once, flow_loss, give_start, noise_of
from objectives.losses import (
    draw_timesteps,
    flow_noise,
    hole_weight,
    kl,
    weighted_mse,
)

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def test_one_step_from_noise_is_noise_less_velocity():
    latent, noise = torch.randn(2, 2, 16, 2, 4, 4)
    noisy, velocity = flow_noise(latent, noise, torch.ones(2))
    assert torch.equal(noisy, noise)
    assert torch.allclose(noisy - velocity, latent, atol=1e-6)
    noisy, velocity = flow_noise(latent, noise, torch.tensor([0.25, 0.5]))
    t = torch.tensor([0.25, 0.5]).view(2, 1, 1, 1, 1)
    assert torch.allclose(noisy - t * velocity, latent, atol=1e-6)


def test_clips_count_alike_whatever_their_holes():
    target = torch.zeros(2, 3, 1, 2, 2)
    weight = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]]).view(2, 1, 1, 2, 2)
    assert weighted_mse(target + 2, target, weight) == pytest.approx(4.0)
    missing = torch.zeros(1, 4, 1, 1, 2)
    missing[0, 2, 0, 0, 1] = 1
    assert hole_weight(missing, 0.25).flatten().tolist() == [0.25, 1.0]


def test_timesteps():
    generator = torch.Generator().manual_seed(0)
    drawn = draw_timesteps(4000, one_step=0.5, shift=5.0, generator=generator)
    assert (drawn == 1).float().mean() == pytest.approx(0.5, abs=0.03)
    rest = drawn[drawn < 1]
    # u = 1/2 becomes 5/6: half of the rest lies above.
    assert (rest > 5 / 6).float().mean() == pytest.approx(0.5, abs=0.04)


def test_kl_edges_and_hinge_by_hand():
    mean = torch.full((1, 1, 1, 1, 1), 2.0)
    assert kl(mean, None) == pytest.approx(2.0)
    assert kl(mean, torch.zeros_like(mean)) == pytest.approx(2.0)
    assert kl(mean * 0, torch.full_like(mean, 1.0)) == pytest.approx(0.5 * (2.718281828 - 2))
    assert hinge_loss(torch.tensor([3.0]), torch.tensor([0.0])) == pytest.approx(0.5)


def test_the_adversary_pulls_as_hard_as_the_rest():
    last = torch.tensor([1.0, 2.0], requires_grad=True)
    weight = adaptive_weight(3 * last.sum(), 0.5 * last.sum(), last)
    assert weight == pytest.approx(6.0, rel=1e-3)


def test_an_adversarial_loss_moves_the_video_and_not_the_discriminator():
    discriminator, video = PatchDiscriminator3D(8), torch.rand(2, 3, 1, 32, 32, requires_grad=True)
    adversarial_loss(discriminator, video).backward()
    assert video.grad is not None
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())
    real, fake = video[:1].detach(), video[1:].detach()
    with torch.no_grad():
        expected = hinge_loss(discriminator(real), discriminator(fake))
        assert torch.allclose(discriminator_loss(discriminator, real, fake), expected, rtol=1e-5)


def test_logits_are_of_patches():
    discriminator = PatchDiscriminator3D(8)
    assert discriminator(torch.rand(1, 3, 5, 32, 32)).shape == (1, 1, 3, 2, 2)
    images = discriminator(torch.rand(1, 3, 1, 32, 32))
    assert images.shape[2] == 1


@pytest.mark.parametrize("name", ["vae.safetensors", "student.safetensors"])
def test_the_training_side_of_an_autoencoder_is_the_same_autoencoder(name, models):
    torch.manual_seed(1)
    vae = load_vae(models / name, device="cpu")
    video = torch.rand(1, 3, 9, 16, 24)
    raw, _ = encode_moments(vae, video)
    mean, std = vae.statistics()
    latent = vae.encode(video)
    assert torch.allclose((raw - mean) / std, latent, atol=1e-5)
    decoded = decode_raw(vae, raw)
    assert torch.allclose(decoded.clamp(0, 1), vae.decode(latent), atol=1e-5)
    again = decode_normalised(vae, latent, checkpointing=True)
    assert torch.allclose(again, decoded, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 5, 6])
def test_a_tiny_autoencoder_has_all_of_its_latents_in_training_too(frames):
    torch.manual_seed(1)
    stages = (Stage(4, 1, 2, 2), Stage(4, 1, 2, 2), Stage(4, 1, 2, 1))
    vae = TinyVAE(TinyVAEConfig(stages, stages[::-1], stem=4))
    video = torch.rand(1, 3, frames, 16, 24)
    raw, log_variance = encode_moments(vae, video)
    assert log_variance is None
    latent = vae.encode(video)
    assert raw.shape == latent.shape
    assert torch.allclose(raw, latent, atol=1e-5)
    assert torch.allclose(decode_raw(vae, raw).clamp(0, 1), vae.decode(latent), atol=1e-5)


def flow_batch():
    generator = torch.Generator().manual_seed(2)
    latent, masked = torch.randn(2, 2, 16, 3, 4, 4, generator=generator)
    missing = torch.zeros(2, 4, 3, 4, 4)
    missing[..., 2:] = 1
    return {
        "latent": latent,
        "masked_latent": masked,
        "missing": missing,
        "index": torch.tensor([4, 5]),
    }


def test_the_flow_loss_of_a_sample_does_not_depend_on_its_batch(models):
    model = FlowModel(load_network(models / "transformer.safetensors", TRANSFORMER))
    batch, settings = flow_batch(), FlowSettings(one_step=0.5)
    whole = flow_loss(model, batch, settings, seed=0)["loss"]
    parts = [
        flow_loss(model, {k: v[i : i + 1] for k, v in batch.items()}, settings, seed=0)["loss"]
        for i in range(2)
    ]
    assert whole == pytest.approx(float(sum(parts)) / 2, rel=1e-5)
    sparse = flow_loss(model, batch, FlowSettings(sparse=1.0, dilation=1), seed=0)["loss"]
    assert torch.isfinite(sparse)


def test_at_one_the_objectives_agree_and_below_they_do_not(models):
    model = FlowModel(load_network(models / "transformer.safetensors", TRANSFORMER))
    for share, same in ((1.0, True), (0.0, False)):
        velocity, x0 = (
            flow_loss(model, flow_batch(), FlowSettings(objective=o, one_step=share), 0)["loss"]
            for o in ("velocity", "x0")
        )
        assert (abs(float(velocity - x0)) < 1e-6) == same


def test_a_filled_latent_is_one_euler_step(models):
    transformer = load_network(models / "transformer.safetensors", TRANSFORMER)
    torch.nn.init.zeros_(transformer.head.head.weight)
    torch.nn.init.zeros_(transformer.head.head.bias)
    batch = flow_batch()
    filled = fill_once(FlowModel(transformer), batch, 9)  # no velocity: noise
    assert torch.equal(filled, noise_of(batch, 9))
    assert 0.9 < filled.std() < 1.1


def test_a_given_start_is_known():
    torch.manual_seed(0)
    batch = flow_batch()
    masked, missing = give_start(
        batch["latent"], batch["masked_latent"], batch["missing"], share=1.0
    )
    assert torch.equal(masked[:, :, 0], batch["latent"][:, :, 0])
    assert not missing[:, :, 0].any()
    assert missing[:, :, -1].any()
    assert torch.equal(masked[:, :, -1], batch["masked_latent"][:, :, -1])


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("lora_stage1", train_lora.TrainLoraSettings),
        ("lora_stage2", train_lora.TrainLoraSettings),
        ("distill_vae", distill_vae.DistillVAESettings),
        ("distill_step", distill_step.DistillStepSettings),
        ("mini_inpainter", train_mini.MiniSettings),
        ("depth", train_depth.DepthSettings),
    ],
)
def test_the_shipped_settings_are_valid(file, kind):
    settings = load_settings(kind, CONFIGS / f"{file}.yaml")
    if file.startswith("lora"):
        assert settings.run.lr == 4e-5  # the paper's
        assert [(d.width, d.height) for d in settings.data] == [
            (1280, 720),
            (720, 1280),
            (768, 768),
        ]
        assert {d.frames for d in settings.data} == {81}
        stage = (settings.run.steps, settings.data[0].masks)
        assert stage == ((10000, "random") if file.endswith("1") else (2500, "pairs"))
