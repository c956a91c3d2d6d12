"""Distil a video autoencoder into a smaller one with the same latents.

accelerate launch training/distill_vae.py training/configs/distill_vae.yaml --out runs/distill_vae

After "CV-VAE" (2024): reconstruction, perceptual, adversarial and KL losses, and the latent
constraint both ways: the frozen teacher's decoder reconstructs from the student's latents, and the
student's decoder from the teacher's. `model.safetensors` is what `load_vae` reads.

With `--set conditioned=true`, or the student "sighted", the decoder sees the known pixels beside
the latents: `--set student=sighted --set data.focus=0.9 --set known=0.1`.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.pair_dataset import DataSettings, PairDataset
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.vae.base import VideoVAE, see
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae, load_vae
from dreamstereo_core.models.vae.config import WanVAEConfig
from engine.loop import Batch, Losses, Player, RunSettings, adamw
from engine.pictures import contact_sheet
from engine.recipe import main_of, start
from evaluation.metrics import psnr
from evaluation.perceptual import Perceptual, perceptual_or_none
from objectives.codec import as_frames, decode_raw, encode_moments
from objectives.discriminator import (
    PatchDiscriminator3D,
    adaptive_weight,
    adversarial_loss,
    discriminator_loss,
)
from objectives.losses import kl, mean_error, weighted_sum


@dataclass(frozen=True)
class DistillVAESettings:
    """Teacher, student, and the weights of the losses."""

    data: DataSettings
    run: RunSettings
    teacher: str = "wan"
    """A file or a name."""
    student: str = "distilled"
    """A preset's name, or a file to go on from."""
    conditioned: bool = False
    """Let the student's decoder see the known pixels and the mask, as the preset "sighted" does."""
    known: float = 1.0
    """Weight of the known pixels in the student's L1; that of the holes is 1."""
    perceptual: float = 0.5
    adversarial: float = 0.5
    """Its pull at the last layer, as a part of the L1's."""
    adversarial_start: int = 2000
    """Step from which the student plays against the discriminator."""
    kl: float = 1e-6
    latent: float = 1.0
    """Of each way of the latent constraint; 0, with `match` 0 too = an autoencoder of its own."""
    match: float = 0.1
    """Of the L1 between the two encoders' latents: it speeds the constraint up."""
    width: int = 64
    """Of the discriminator."""
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("perceptual", "adversarial", "kl", "latent", "match", "known"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")


class Student(nn.Module):
    """The student's two decodings, as one call."""

    def __init__(self, vae: VideoVAE, checkpointing: bool):
        super().__init__()
        self.vae, self.checkpointing = vae, checkpointing

    def forward(
        self, video: Tensor, teacher_raw: Tensor | None, picture: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Return the latents drawn, their mean and log variance, and the one or two decodings."""
        again = self.checkpointing
        mean, log_variance = encode_moments(self.vae, video, checkpointing=again)
        if log_variance is None:
            log_variance = torch.full_like(mean, -6.0)
        raw = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        own = decode_raw(self.vae, raw, picture, checkpointing=again)
        if teacher_raw is None:
            return raw, mean, log_variance, own
        of_teacher = decode_raw(self.vae, teacher_raw, picture, checkpointing=again)
        return raw, mean, log_variance, own, of_teacher


def train(settings: DistillVAESettings, folder: Path) -> Path:
    """Run the distillation to its end (or to the signal that stops it); return the exported file.

    Raises:
        DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    run = start(settings, folder)
    teacher = load_vae(settings.teacher, device=run.device, dtype=torch.float32)
    vae = build_student(settings.student, teacher, conditioned=settings.conditioned)
    student = Student(vae.float().requires_grad_(True).train(), settings.checkpointing)
    last = [m.weight for m in vae.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)][-1]
    discriminator = PatchDiscriminator3D(settings.width)
    perceptual = perceptual_or_none(settings.perceptual, run.device)
    dataset = PairDataset(settings.data, seed=run.seed)
    held_out = PairDataset(settings.data, seed=run.seed, held_out=True)

    loss = DistillationLoss(settings, teacher, last, discriminator, perceptual, vae.conditioned)
    players = [Player("student", student, loss, adamw(student, settings.run))]
    if settings.adversarial:
        optimizer = adamw(discriminator, settings.run)
        players.append(Player("discriminator", discriminator, tell_apart, optimizer, ema=False))
    return run.fit(
        players,
        dataset,
        sample=lambda _: preview(teacher, vae, held_out),
        export=lambda path: save_network(vae, path, VAE),
    )


def build_student(student: str, teacher: VideoVAE, *, conditioned: bool = False) -> VideoVAE:
    """Return the autoencoder to train: a preset's, or a file's; latents are the teacher's.

    With `conditioned` its decoder sees the picture; of one that saw none, at first as if it did
    not.

    Raises:
        ValueError: it has no such decoder.
    """
    from_file = Path(student).is_file()
    vae = load_vae(student, device="cpu") if from_file else build_vae(student)
    if conditioned and not vae.conditioned:
        if not isinstance(vae.config, WanVAEConfig):
            raise ValueError(f"conditioned: expected a student of Wan's kind, got {student}")
        seeing = build_vae(replace(vae.config, conditioned=True))
        seeing.load_state_dict(vae.state_dict(), strict=False)  # all but its new layers
        vae = seeing
    # The same latents are normalised in the same way.
    names = ("mean", "std", "latent_space")
    vae.config = replace(vae.config, **{name: getattr(teacher.config, name) for name in names})
    return vae


@dataclass(frozen=True)
class DistillationLoss:
    """The errors of what the student and the teacher make of each other's latents."""

    settings: DistillVAESettings
    teacher: VideoVAE
    last: Tensor
    """Weight of the student's last layer, at which the adversary's pull is measured."""
    discriminator: PatchDiscriminator3D
    perceptual: Perceptual | None
    conditioned: bool
    """Whether the student's decoder sees the picture."""

    def __call__(self, module: nn.Module, batch: Batch) -> Losses:
        """Return the losses; leave what the discriminator tells apart in the batch."""
        settings, video = self.settings, batch["video"]
        teacher_raw = None
        if settings.latent or settings.match:
            with torch.no_grad():
                teacher_raw, _ = encode_moments(self.teacher, video)
        weight = batch["mask"].clamp(min=settings.known)
        picture = see(video, batch["mask"]) if self.conditioned else None
        outputs = module(video, teacher_raw, picture)
        raw, mean, log_variance, own, *crossed = (x.float() for x in outputs)
        batch["fake"] = own.detach()
        losses = {"l1": mean_error(own, video, weight).mean()}
        if teacher_raw is not None:
            through_teacher = decode_raw(self.teacher, raw, checkpointing=settings.checkpointing)
            losses["teacher_decodes"] = (through_teacher - video).abs().mean()
            losses["student_decodes"] = mean_error(crossed[0], video, weight).mean()
            losses["match"] = (mean - teacher_raw).abs().mean()
        losses["kl"] = kl(mean, log_variance)
        ways = dict.fromkeys(("teacher_decodes", "student_decodes"), settings.latent)
        weights: dict[str, Any] = {**vars(settings), "l1": 1.0, **ways}
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(as_frames(own), as_frames(video)).mean()
        if settings.adversarial and batch["step"] >= settings.adversarial_start:
            losses["adversarial"] = adversarial_loss(self.discriminator, own)
            pull = adaptive_weight(losses["l1"], losses["adversarial"], self.last)
            weights["adversarial"] = settings.adversarial * pull
        elif settings.adversarial:
            losses["adversarial"] = own.new_zeros(())
        return weighted_sum(losses, weights)


def tell_apart(module: nn.Module, batch: Batch) -> Losses:
    """Tell `video` from `fake`."""
    return {"loss": discriminator_loss(module, batch["video"], batch["fake"])}


@torch.no_grad()
def preview(
    teacher: VideoVAE, student: VideoVAE, dataset: PairDataset, count: int = 4
) -> tuple[Tensor, dict[str, float]]:
    """Show truth, teacher, student and both crossings; return the PSNR of each.

    `student_as_teacher` is how near the student's pictures are to the teacher's.
    """
    rows = []
    sums = dict.fromkeys(("teacher", "student", "student_to_teacher", "teacher_to_student"), 0.0)
    as_teacher = 0.0
    count = min(count, len(dataset.entries))
    for index in range(count):
        sample = dataset[index]
        video = sample["video"][None].to(student.device)
        seen = see(video, sample["mask"][None].to(video)) if student.conditioned else None
        raw = {"teacher": encode_moments(teacher, video)[0]}
        raw["student"] = encode_moments(student, video)[0]
        decoded = [
            decode_raw(teacher, raw["teacher"]),
            decode_raw(student, raw["student"], seen),
            decode_raw(teacher, raw["student"]),
            decode_raw(student, raw["teacher"], seen),
        ]
        truth = as_frames(video)
        for name, frames in zip(sums, map(as_frames, decoded), strict=True):
            sums[name] += psnr(frames, truth) / count
        as_teacher += psnr(as_frames(decoded[1]), as_frames(decoded[0])) / count
        middle = len(truth) // 2
        rows.append([truth[middle], *(as_frames(x)[middle] for x in decoded)])
    return contact_sheet(rows, 192), {**sums, "student_as_teacher": as_teacher}


if __name__ == "__main__":
    sys.exit(main_of(DistillVAESettings, train, __doc__))
