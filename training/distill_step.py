"""Sharpen a one-step inpainting transformer through the decoder.

accelerate launch training/distill_step.py training/configs/distill_step.yaml --out runs/sharp

One step from noise gives the conditional mean, which is soft. A few hundred steps at t = 1 on crops
around holes, with the error of the latents and, of the decoded pixels, L1, perceptual and
adversarial losses, make it choose. `model.safetensors` is a transformer's file.

`teacher` and `known` need no true picture: what lies in holes is held to the distribution of the
model that the run starts from, in many steps, and the rest to what is known of the clip. With
the other weights at 0 they are all that is learned from (configs/distill_step_unpaired.yaml).
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from data.latents import encode_batch
from data.pair_dataset import DataSettings, PairDataset
from dreamstereo_core.fill import check_space, load_context
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.lora import load_lora, merge_loras, set_context
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.base import VideoVAE
from dreamstereo_core.models.vae.checkpoint import load_vae
from engine.loop import Batch, Losses, Player, RunSettings, adamw
from engine.recipe import main_of, start
from evaluation.perceptual import Perceptual, perceptual_or_none
from objectives.codec import as_frames, decode_normalised
from objectives.discriminator import PatchDiscriminator3D, adversarial_loss, discriminator_loss
from objectives.distribution import critic_loss, known_error, matching_loss
from objectives.flow import FlowModel, give_start, noise_of, preview
from objectives.losses import hole_weight, mean_error, weighted_mse, weighted_sum


@dataclass(frozen=True)
class DistillStepSettings:
    """The model, and the weights of the losses."""

    data: DataSettings
    run: RunSettings
    transformer: str
    """An inpainting transformer, or a base with `lora`."""
    vae: str
    """A file or a name."""
    lora: str | None = None
    """Merged before the training starts."""
    context: str | None = None
    """File with the `context`, which becomes the model's own; None = what it has, or zeros."""
    x0: float = 1.0
    pixels: float = 1.0
    perceptual: float = 0.5
    perceptual_stride: int = 1
    """Of the frames that the perceptual distance looks at: it costs more than the transformer."""
    adversarial: float = 0.1
    adversarial_start: int = 100
    """Step from which the transformer plays against the discriminator."""
    known_weight: float = 0.05
    """Of latents and pixels outside of holes: a seam would show where they are wrong."""
    teacher: float = 0.0
    """Of the distribution matching against the model that the run starts from."""
    teacher_shift: float = 5.0
    """Of the times at which the two are compared, towards noise."""
    critic_lr: float = 1.0
    """Of the critic, which follows what the transformer makes, as a part of `run.lr`."""
    known: float = 0.0
    """Of latents without a hole against those of the masked clip: the data term."""
    continued: float = 0.0
    """As for the flow."""
    width: int = 64
    """Of the discriminator."""
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("x0", "pixels", "perceptual", "adversarial", "teacher", "known"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")

    @property
    def decodes(self) -> bool:
        """Whether anything is asked of the pixels."""
        return bool(self.pixels or self.perceptual or self.adversarial)


def train(settings: DistillStepSettings, folder: Path) -> Path:
    """Run the sharpening to its end (or to the signal that stops it); return the exported file.

    Raises:
        CheckpointError, DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    run = start(settings, folder)
    transformer = build_transformer(settings)
    teacher = critic = None
    if settings.teacher:
        teacher = FlowModel(copy.deepcopy(transformer).requires_grad_(False)).to(run.device)
        critic = FlowModel(
            copy.deepcopy(transformer).requires_grad_(True).train(), None, settings.checkpointing
        )
    model = FlowModel(transformer.requires_grad_(True).train(), None, settings.checkpointing)
    vae = load_vae(settings.vae, device=run.device, dtype=torch.float32)
    check_space(settings.transformer, transformer, vae)
    discriminator = PatchDiscriminator3D(settings.width, channels=4)
    perceptual = perceptual_or_none(settings.perceptual, run.device)
    dataset = PairDataset(settings.data, seed=run.seed)
    held_out = PairDataset(settings.data, seed=run.seed, held_out=True)

    loss = SharpeningLoss(settings, vae, discriminator, perceptual, teacher, critic)
    players = [Player("transformer", model, loss, adamw(model, settings.run))]
    if settings.adversarial:
        optimizer = adamw(discriminator, settings.run)
        players.append(Player("discriminator", discriminator, tell_apart, optimizer, ema=False))
    if critic is not None:

        def follow(module: nn.Module, batch: Batch) -> Losses:
            return critic_loss(module, batch, settings.teacher_shift)

        optimizer = adamw(critic, settings.run)
        players.append(Player("critic", critic, follow, optimizer, settings.critic_lr, ema=False))
    return run.fit(
        players,
        dataset,
        sample=lambda module: preview(module, vae, held_out),
        export=lambda path: save_network(transformer, path, TRANSFORMER),
    )


def build_transformer(settings: DistillStepSettings) -> Transformer:
    """Return the transformer to sharpen, its LoRA merged and its context inside.

    Raises:
        CheckpointError: a file holds something else.
        ValueError: it does not inpaint, or the context is not one of its own.
    """
    transformer = load_network(settings.transformer, TRANSFORMER, dtype=torch.float32)
    if settings.lora:
        merge_loras(transformer, [(load_lora(settings.lora, transformer), 1.0)])
    if not transformer.config.is_inpainting:
        raise ValueError(f"transformer: expected an inpainting model, got {settings.transformer}")
    if settings.context:  # inside, so that the exported file is whole
        set_context(transformer, load_context(settings.context))
    return transformer


@dataclass(frozen=True)
class SharpeningLoss:
    """The errors of one step's latents and pixels."""

    settings: DistillStepSettings
    vae: VideoVAE
    discriminator: PatchDiscriminator3D
    perceptual: Perceptual | None
    teacher: FlowModel | None = None
    critic: FlowModel | None = None

    def __call__(self, module: nn.Module, batch: Batch) -> Losses:
        """Return the losses; leave what the discriminator tells apart in the batch."""
        settings, losses = self.settings, {}
        encode_batch(self.vae, batch, truth=bool(settings.x0 or settings.continued))
        predicted = one_step(module, batch, settings)
        if settings.x0:
            weight = hole_weight(batch["missing"], settings.known_weight)
            losses["x0"] = weighted_mse(predicted, batch["latent"], weight)
        if settings.decodes:
            losses |= self._of_pixels(predicted, batch)
        if settings.known:
            losses["known"] = known_error(predicted, batch)
        if self.teacher is not None and self.critic is not None:
            batch["predicted"] = predicted.detach()
            losses["teacher"] = matching_loss(
                self.teacher, self.critic, batch, predicted, settings.teacher_shift
            )
        return weighted_sum(losses, vars(settings))

    def _of_pixels(self, predicted: Tensor, batch: Batch) -> Losses:
        settings, losses = self.settings, {}
        video, mask = batch["video"], batch["mask"]
        again = settings.checkpointing
        decoded = decode_normalised(self.vae, predicted, checkpointing=again).float()
        # Inference keeps what is known: holes are looked at in their surroundings.
        filled = torch.where(mask > 0, decoded, video)
        batch["real"] = torch.cat([video, mask], dim=1)
        batch["fake"] = torch.cat([filled.detach(), mask], dim=1)
        weight = mask.clamp(min=settings.known_weight)
        losses["pixels"] = mean_error(decoded, video, weight).mean()
        if self.perceptual is not None:
            stride = settings.perceptual_stride
            shown = (as_frames(x[:, :, stride // 2 :: stride]) for x in (filled, video, mask))
            losses["perceptual"] = self.perceptual.inside(*shown)
        if settings.adversarial:
            given = torch.cat([filled, mask], dim=1)
            playing = batch["step"] >= settings.adversarial_start
            losses["adversarial"] = (
                adversarial_loss(self.discriminator, given) if playing else given.new_zeros(())
            )
        return losses


def one_step(module: nn.Module, batch: Batch, settings: DistillStepSettings) -> Tensor:
    """Return the latents of one Euler step from each sample's own noise."""
    masked_latent, missing = batch["masked_latent"].float(), batch["missing"].float()
    if settings.continued:
        latent = batch["latent"].float()
        masked_latent, missing = give_start(latent, masked_latent, missing, settings.continued)
    noise = noise_of(batch, settings.run.seed)
    timestep = torch.ones(len(noise), device=noise.device)
    return noise - module(noise, missing, masked_latent, timestep, None).float()


def tell_apart(module: nn.Module, batch: Batch) -> Losses:
    """Tell a true clip from a filled one; the mask says where to look."""
    return {"loss": discriminator_loss(module, batch["real"], batch["fake"])}


if __name__ == "__main__":
    sys.exit(main_of(DistillStepSettings, train, __doc__))
