"""Sharpen a one-step inpainting transformer through the decoder.

accelerate launch training/distill_step.py training/configs/distill_step.yaml --out runs/sharp

One step from noise gives the conditional mean, which is soft. A few hundred steps at t = 1 on crops
around holes, with the error of the latents and, of the decoded pixels, L1, perceptual and
adversarial losses, make it choose. `model.safetensors` is what `load_transformer` reads.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from data.pair_dataset import DataSettings, PairDataset
from dreamstereo_core.fill import check_space, load_context
from dreamstereo_core.models.files.transformer import load_transformer, save_transformer
from dreamstereo_core.models.lora import load_lora, merge_loras
from dreamstereo_core.models.vae.checkpoint import load_vae
from engine.loop import Batch, Losses, Player, RunSettings, Trainer, adamw, make_accelerator
from engine.recipe import main_of, perceptual_or_none
from objectives.codec import as_frames, decode_normalised
from objectives.flow import FlowModel, encode_batch, give_start, noise_of, preview
from objectives.losses import (
    PatchDiscriminator3D,
    hole_weight,
    judge_both,
    mean_error,
    verdict,
    weighted_mse,
)


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
    """File with the `context`; None = the checkpoint's own, or zeros."""
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
    continued: float = 0.0
    """As for the flow."""
    width: int = 64
    """Of the discriminator."""
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("x0", "pixels", "perceptual", "adversarial"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")


def train(settings: DistillStepSettings, folder: Path) -> Path:
    """Run the sharpening to its end (or to the signal that stops it); return the exported file.

    Raises:
        CheckpointError, DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    run = settings.run
    accelerator = make_accelerator(run)
    torch.manual_seed(run.seed)
    transformer = load_transformer(settings.transformer, dtype=torch.float32)
    if settings.lora:
        merge_loras(transformer, [(load_lora(settings.lora, transformer), 1.0)])
    if not transformer.config.is_inpainting:
        raise ValueError(f"transformer: expected an inpainting model, got {settings.transformer}")
    context = None if settings.context is None else load_context(settings.context)
    model = FlowModel(transformer.requires_grad_(True).train(), context, settings.checkpointing)
    vae = load_vae(settings.vae, device=accelerator.device, dtype=torch.float32)
    check_space(settings.transformer, transformer, vae)
    judge = PatchDiscriminator3D(settings.width, channels=4)
    perceptual = perceptual_or_none(settings.perceptual, accelerator.device)
    dataset = PairDataset(settings.data, seed=run.seed)
    held_out = PairDataset(settings.data, seed=run.seed, held_out=True)
    stride = settings.perceptual_stride

    def loss(module: nn.Module, batch: Batch) -> Losses:
        encode_batch(vae, batch)
        predicted = one_step(module, batch, settings, run.seed)
        total, losses = predicted.new_zeros(()), {}
        if settings.x0:
            weight = hole_weight(batch["missing"], settings.known_weight)
            losses["x0"] = weighted_mse(predicted, batch["latent"], weight)
            total = settings.x0 * losses["x0"]
        video, mask = batch["video"], batch["mask"]
        decoded = decode_normalised(vae, predicted, checkpointing=settings.checkpointing).float()
        # Inference keeps what is known: holes are judged, in their surroundings.
        filled = torch.where(mask > 0, decoded, video)
        batch["real"] = torch.cat([video, mask], dim=1)
        batch["fake"] = torch.cat([filled.detach(), mask], dim=1)
        weight = mask.clamp(min=settings.known_weight)
        losses["pixels"] = mean_error(decoded, video, weight).mean()
        total = total + settings.pixels * losses["pixels"]
        if perceptual is not None:
            shown = (as_frames(x[:, :, stride // 2 :: stride]) for x in (filled, video, mask))
            losses["perceptual"] = perceptual.inside(*shown)
            total = total + settings.perceptual * losses["perceptual"]
        if settings.adversarial and trainer.state.step >= settings.adversarial_start:
            losses["adversarial"] = -verdict(judge, torch.cat([filled, mask], dim=1)).mean()
            total = total + settings.adversarial * losses["adversarial"]
        elif settings.adversarial:
            losses["adversarial"] = total.new_zeros(())
        return {"loss": total, **losses}

    players = [Player("transformer", model, loss, adamw(model, run))]
    if settings.adversarial:
        players.append(Player("judge", judge, judge_loss, adamw(judge, run), ema=False))
    trainer = Trainer(
        folder,
        settings,
        run,
        players,
        dataset,
        sample=lambda: preview(model, vae, held_out),
        workers=settings.data.workers,
        accelerator=accelerator,
    )
    trainer.fit()
    return trainer.export(lambda path: save_transformer(path, transformer))


def one_step(module: nn.Module, batch: Batch, settings: DistillStepSettings, seed: int) -> Tensor:
    """Return the latents of one Euler step from each sample's own noise."""
    masked_latent, missing = batch["masked_latent"].float(), batch["missing"].float()
    if settings.continued:
        latent = batch["latent"].float()
        masked_latent, missing = give_start(latent, masked_latent, missing, settings.continued)
    noise = noise_of(batch, seed)
    timestep = torch.ones(len(noise), device=noise.device)
    return noise - module(noise, missing, masked_latent, timestep, None).float()


def judge_loss(module: nn.Module, batch: Batch) -> Losses:
    """Tell a true clip from a filled one; the mask says where to look."""
    return {"loss": judge_both(module, batch["real"], batch["fake"])}


if __name__ == "__main__":
    sys.exit(main_of(DistillStepSettings, train, __doc__))
