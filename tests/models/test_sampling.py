"""Flow matching: the schedule, the noise, Euler's steps."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from dreamstereo_core.models.sparse import select_tokens, token_mask
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.sampling import cross_fade, denoise, position_noise, prepare_steps, sigmas

from .fakes import TINY

SIZE = (16, 8, 12)


def latents(seed, frames=3):
    return torch.randn(1, 16, frames, 8, 12, generator=torch.Generator().manual_seed(seed))


def test_the_schedule_runs_from_noise_to_none():
    assert sigmas(1, 5.0) == (1.0, 0.0)
    assert sigmas(4) == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert sigmas(2, 3.0) == (1.0, pytest.approx(0.75), 0.0)  # 3 * .5 / (1 + 2 * .5)


def test_steps_are_those_of_diffusers():
    schedule = sigmas(4, 5.0)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    scheduler.set_timesteps(sigmas=[1, 0.75, 0.5, 0.25])
    assert torch.allclose(scheduler.sigmas, torch.tensor(schedule))
    expected = ours = latents(0)
    for step, timestep in enumerate(scheduler.timesteps):
        velocity = torch.sin(expected * (step + 1))
        expected = scheduler.step(velocity, timestep, expected).prev_sample
    velocities = iter(range(1, 5))

    def transformer(x, conditioning, tokens):
        return torch.sin(x[:, :16] * next(velocities))

    ours = denoise(
        transformer,
        ours,
        torch.ones(1, 4, 3, 8, 12),
        latents(1),
        schedule=schedule,
        conditionings=[None] * 4,
    )
    assert torch.allclose(ours, expected, atol=1e-5)


def test_renoising_is_what_few_step_models_are_trained_for():
    """x0 = z - sigma v, then (1 - sigma') x0 + sigma' eps with an eps for each step."""
    schedule = sigmas(4, 5.0)
    assert schedule == pytest.approx((1, 15 / 16, 5 / 6, 5 / 8, 0))
    z = latents(0)
    fresh = {step: position_noise(2, 3, SIZE, seed=9, step=step) for step in (1, 2, 3)}
    for step in range(4):
        x0 = z - schedule[step] * torch.sin(z * (step + 1))
        z = x0
        if step < 3:
            z = (1 - schedule[step + 1]) * x0 + schedule[step + 1] * fresh[step + 1]
    factors = iter(range(1, 5))
    ours = denoise(
        lambda x, conditioning, tokens: torch.sin(x[:, :16] * next(factors)),
        latents(0),
        torch.ones(1, 4, 3, 8, 12),
        latents(1),
        schedule=schedule,
        conditionings=[None] * 4,
        fresh=fresh.__getitem__,
    )
    assert torch.allclose(ours, z, atol=1e-5)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_a_perfect_velocity_gives_the_truth_and_dropped_tokens_stay(num_steps):
    truth, masked, noise = latents(0), latents(1), latents(2)
    latent_mask = torch.zeros(1, 1, 3, 8, 12)
    latent_mask[..., 1, 3, 5] = 1
    tokens = select_tokens(latent_mask, dilation=3)
    result = denoise(
        lambda x, conditioning, tokens: noise - truth,
        noise,
        latent_mask,
        masked,
        schedule=sigmas(num_steps, 5.0),
        conditionings=[None] * num_steps,
        tokens=tokens,
    )
    kept = token_mask(tokens, masked.shape).expand_as(masked)
    assert 0 < kept.float().mean() < 0.5
    assert torch.allclose(result[kept], truth[kept], atol=1e-5)
    assert torch.equal(result[~kept], masked[~kept])


def test_all_tokens_kept_samples_as_the_dense_model_does():
    torch.manual_seed(0)
    model = Transformer(TINY).eval()
    schedule = sigmas(2, 5.0)
    mask = torch.ones(1, 4, 3, 8, 12)
    with torch.no_grad():
        steps = prepare_steps(model, schedule, None)
        dense, sparse = (
            denoise(
                model,
                latents(0),
                mask,
                latents(1),
                schedule=schedule,
                conditionings=steps,
                tokens=tokens,
            )
            for tokens in (None, select_tokens(mask[:, :1], dilation=1))
        )
    assert (dense - latents(0)).abs().mean() > 0.01
    assert torch.allclose(sparse, dense, atol=1e-5)


def test_noise_belongs_to_its_place():
    whole = position_noise(0, 9, SIZE, seed=3)
    assert whole.shape == (1, 16, 9, 8, 12)
    assert torch.equal(whole[:, :, 4:7], position_noise(4, 3, SIZE, seed=3))
    assert not torch.equal(whole, position_noise(0, 9, SIZE, seed=4))
    later = position_noise(0, 9, SIZE, seed=3, step=1)
    assert torch.equal(later[:, :, 4:7], position_noise(4, 3, SIZE, seed=3, step=1))
    assert abs(float((whole * later).mean())) < 0.03
    # Nothing has changed for the first step since there are others.
    old = np.random.default_rng((3, 5)).standard_normal(SIZE, dtype=np.float32)
    assert torch.equal(whole[0, :, 5], torch.from_numpy(old))
    frames = whole[0].transpose(0, 1).flatten(1)
    assert abs(float(whole.mean())) < 0.03
    assert abs(float(whole.std()) - 1) < 0.03
    assert (torch.corrcoef(frames) - torch.eye(9)).abs().max() < 0.1


def test_a_cross_fade_never_jumps_by_more_than_its_share():
    faded = cross_fade(torch.zeros(1, 1, 4, 2, 2), torch.ones(1, 1, 4, 2, 2))
    assert torch.allclose(faded[0, 0, :, 0, 0], torch.tensor([0.2, 0.4, 0.6, 0.8]))
    assert cross_fade(torch.zeros(1, 1, 0, 2, 2), torch.zeros(1, 1, 0, 2, 2)).numel() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sigmas(0), "num_steps: expected at least 1, got 0"),
        (lambda: sigmas(1, 0), "shift: expected a number above 0, got 0"),
        (lambda: position_noise(0, 1, SIZE, seed=-1), "seed: expected at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
