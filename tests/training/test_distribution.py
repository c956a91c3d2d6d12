"""One step held to a teacher's distribution: no true picture of a hole is looked at."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import distill_step
from dreamstereo_core.models.files.load import load_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.vae.checkpoint import load_vae
from objectives.distribution import critic_loss, known_error, matching_loss
from objectives.flow import FlowModel

from .test_recipes import recipe, two_clips  # noqa: F401

UNPAIRED = {"x0": 0.0, "pixels": 0.0, "perceptual": 0.0, "adversarial": 0.0}


def batch_of(seed=0, clips=2):
    generator = torch.Generator().manual_seed(seed)
    masked_latent = torch.randn(clips, 16, 2, 4, 4, generator=generator)
    missing = (torch.rand(clips, 4, 2, 4, 4, generator=generator) > 0.8).float()
    return {"masked_latent": masked_latent, "missing": missing}


class AllAt(nn.Module):
    """The flow of clips that are all the same: its answers are exact."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def forward(self, noisy, missing, masked_latent, timestep, tokens):
        return (noisy - self.place) / timestep.view(-1, 1, 1, 1, 1)


def test_the_pull_leads_from_what_is_made_to_what_is_wanted():
    """By hand: teacher at 3, critic at 1, made at 0: the gradient is (1 - 3) / |0 - 3|."""
    batch = batch_of()
    predicted = torch.zeros(2, 16, 2, 4, 4, requires_grad=True)
    loss = matching_loss(AllAt(3.0), AllAt(1.0), batch, predicted, 5.0)
    (gradient,) = torch.autograd.grad(loss, predicted)
    hole = batch["missing"].amax(1, keepdim=True)
    weight = hole / hole.flatten(1).sum(1).view(-1, 1, 1, 1, 1) / 16 / 2  # of weighted_mse
    assert torch.allclose(gradient, -2 / 3 * weight.expand_as(gradient), atol=1e-6)
    same = matching_loss(AllAt(3.0), AllAt(3.0), batch, predicted, 5.0)
    assert float(same) == pytest.approx(0, abs=1e-9)


def test_made_latents_move_to_the_teachers_and_stay():
    batch = batch_of()
    made = nn.Parameter(torch.zeros(2, 16, 2, 4, 4))
    optimizer = torch.optim.SGD([made], lr=100.0)
    hole = batch["missing"].amax(1, keepdim=True).expand_as(made) > 0
    for _ in range(60):
        optimizer.zero_grad()
        matching_loss(AllAt(3.0), AllAt(made.detach()), batch, made, 5.0).backward()
        optimizer.step()
    assert (made[hole] - 3).abs().max() < 1.5
    assert (made[~hole] == 0).all()


def test_the_critic_learns_where_the_made_latents_are():
    batch = batch_of() | {"predicted": torch.full((2, 16, 2, 4, 4), 2.0)}
    assert float(critic_loss(AllAt(2.0), batch, 5.0)["loss"]) == pytest.approx(0, abs=1e-6)
    assert float(critic_loss(AllAt(1.0), batch, 5.0)["loss"]) > 0.5


def test_the_known_error_is_of_latents_without_a_hole():
    batch = batch_of()
    predicted = batch["masked_latent"] + 2 * (1 - batch["missing"].amax(1, keepdim=True))
    assert float(known_error(predicted, batch)) == pytest.approx(4)
    predicted = batch["masked_latent"] + 2 * batch["missing"].amax(1, keepdim=True)
    assert float(known_error(predicted, batch)) == 0


def losses_of(models, settings, video, mask):
    transformer = distill_step.build_transformer(settings)
    teacher = FlowModel(distill_step.build_transformer(settings))
    critic = FlowModel(load_network(models / "transformer.safetensors", TRANSFORMER))
    vae = load_vae(settings.vae, device="cpu", dtype=torch.float32)
    loss = distill_step.SharpeningLoss(settings, vae, None, None, teacher, critic)
    torch.manual_seed(0)
    batch = {"video": video, "mask": mask, "index": torch.arange(len(video)), "step": 0}
    return {n: float(x) for n, x in loss(FlowModel(transformer), batch).items()}, batch


@torch.no_grad()
def test_no_true_picture_is_looked_at(two_clips, models):  # noqa: F811
    settings = replace(
        recipe("distill_step", two_clips, models)[1], **UNPAIRED, teacher=1.0, known=0.5
    )
    generator = torch.Generator().manual_seed(3)
    video = torch.rand(1, 3, 5, 32, 32, generator=generator)
    mask = torch.zeros(1, 1, 5, 32, 32)
    mask[..., 8:20, 10:22] = 1
    first, batch = losses_of(models, settings, video, mask)
    other = torch.where(mask > 0, torch.rand(video.shape, generator=generator), video)
    again, _ = losses_of(models, settings, other, mask)
    assert first == again and first.keys() == {"loss", "known", "teacher"}
    assert first["loss"] == pytest.approx(0.5 * first["known"] + first["teacher"])
    assert "latent" not in batch


def test_a_run_without_pairs_learns_and_leaves_the_teacher_alone(two_clips, models, tmp_path):  # noqa: F811
    train, settings = recipe("distill_step", two_clips, models, steps=6, log_every=1)
    settings = replace(settings, **UNPAIRED, teacher=1.0, known=1.0, critic_lr=2.0)
    exported = train(settings, tmp_path / "run")
    header, *rows = [r.split(",") for r in (tmp_path / "run" / "losses.csv").read_text().split()]
    assert {"teacher", "known", "critic_loss", "critic_gradient"} <= set(header)
    assert float(rows[0][header.index("teacher")]) == pytest.approx(0, abs=1e-6)  # the same still
    assert float(rows[-1][header.index("teacher")]) > 0
    known = [float(row[header.index("known")]) for row in rows]
    assert known[-1] < known[0]
    before = load_network(models / "transformer.safetensors", TRANSFORMER).state_dict()
    after = load_network(exported, TRANSFORMER).state_dict()
    assert any(not torch.equal(before[name], value) for name, value in after.items())


def test_off_it_is_not_there(two_clips, models, tmp_path):  # noqa: F811
    train, settings = recipe("distill_step", two_clips, models, steps=2, log_every=1)
    settings = replace(settings, teacher_shift=2.0, critic_lr=9.0)
    train(settings, tmp_path / "run")
    header = (tmp_path / "run" / "losses.csv").read_text().split()[0].split(",")
    assert not {"teacher", "known", "critic_loss"} & set(header)
    assert {"x0", "pixels", "adversarial"} <= set(header)
    with pytest.raises(ValueError, match="teacher: expected at least 0, got -1"):
        replace(settings, teacher=-1.0)
