"""Train a small autoencoder or a small transformer from scratch: what makes `mini`.

python training/pretrain.py training/configs/mini_vae.yaml --out runs/mini_vae
python training/pretrain.py training/configs/mini_transformer.yaml --out runs/mini_transformer

The same command goes on where a run was interrupted. `model.safetensors` in the run's folder is
what `load_vae` and `load_transformer` read.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from data.latents import cache_latents, encode_batch
from data.pair_dataset import DataSettings, PairDataset, masked
from dreamstereo_core.fill import check_space
from dreamstereo_core.models.config import transformer_config
from dreamstereo_core.models.files.transformer import load_transformer, save_transformer
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.base import VideoVAE
from dreamstereo_core.models.vae.checkpoint import build_vae, load_vae, save_vae
from engine.loop import Batch, Losses, Player, RunSettings, adamw
from engine.pictures import contact_sheet, two_columns
from engine.recipe import file_digest, main_of, start
from evaluation.metrics import psnr
from evaluation.perceptual import Perceptual, perceptual_or_none
from objectives.codec import as_frames, decode_raw, encode_moments
from objectives.flow import FlowModel, FlowSettings, flow_loss, preview
from objectives.losses import edge_loss, kl, weighted_sum
from objectives.vae_start import initialize_vae


@dataclass(frozen=True)
class VAESettings:
    """An autoencoder from scratch."""

    model: str = "mini"
    """A preset's name."""
    start: str | None = None
    """A file to go on from instead."""
    edges: float = 0.5
    """Weight of the slopes' L1."""
    perceptual: float = 0.0
    kl: float = 1e-5
    """More makes the latents of a network without norms vanish before it has learnt to use them."""
    noise: float = 0.05
    """Deviation of a latent where the encoder gives none."""
    masked: float = 0.2
    """Share of clips with grey holes, which the inpainter will have encoded."""
    images: float = 0.0
    """Share of steps on single frames."""


@dataclass(frozen=True)
class TransformerSettings:
    """A transformer from scratch."""

    vae: str
    """Of the latents: a file or a name."""
    model: str = "mini"
    """A preset's name."""
    start: str | None = None
    """A file to go on from instead."""
    checkpointing: bool = False
    cache: str | None = None
    """Folder for latents; None = encode at every step."""
    cached_samples: int = 4096
    flow: FlowSettings = field(default_factory=lambda: FlowSettings(one_step=0.8))


@dataclass(frozen=True)
class PretrainSettings:
    """One of the two."""

    data: DataSettings
    run: RunSettings
    vae: VAESettings | None = None
    transformer: TransformerSettings | None = None

    def __post_init__(self) -> None:
        if (self.vae is None) == (self.transformer is None):
            raise ValueError("expected one of the sections vae and transformer")


class Autoencoder(nn.Module):
    """Encode, disturb, decode, as one call."""

    def __init__(self, vae: VideoVAE, noise: float):
        super().__init__()
        self.vae, self.noise = vae, noise

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the reconstruction of `[B, 3, T, H, W]` and the latents' moments."""
        mean, log_variance = encode_moments(self.vae, video)
        deviation = self.noise if log_variance is None else (0.5 * log_variance).exp()
        raw = mean + deviation * torch.randn_like(mean) if self.training else mean
        return decode_raw(self.vae, raw), mean, log_variance


def train(settings: PretrainSettings, folder: Path) -> Path:
    """Run a pretraining to its end (or to the signal that stops it); return the exported file.

    Raises:
        DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    if settings.vae is not None:
        return train_vae(settings, settings.vae, folder)
    assert settings.transformer is not None
    return train_transformer(settings, settings.transformer, folder)


def train_vae(settings: PretrainSettings, own: VAESettings, folder: Path) -> Path:
    """Train the autoencoder and export it with its latents' statistics."""
    run = start(settings, folder)
    vae = build_autoencoder(own)
    model = Autoencoder(vae, own.noise)
    dataset = PairDataset(settings.data, seed=run.seed)
    held_out = PairDataset(replace(settings.data, focus=0.5), seed=run.seed, held_out=True)
    perceptual = perceptual_or_none(own.perceptual, run.device)

    def export(path: Path) -> None:
        set_statistics(vae, (dataset[i]["video"] for i in range(min(64, 16 * settings.run.batch))))
        save_vae(vae, path)

    loss = ReconstructionLoss(own, settings.data.frames, perceptual)
    return run.fit(
        [Player("vae", model, loss, adamw(model, settings.run))],
        dataset,
        sample=lambda _: preview_vae(vae, held_out),
        export=export,
    )


def build_autoencoder(own: VAESettings) -> VideoVAE:
    """Return the autoencoder to train: a new one, or that of a file."""
    if own.start:
        vae = load_vae(own.start, device="cpu")
    else:
        vae = build_vae(own.model)
        initialize_vae(vae)
    return vae.float().requires_grad_(True).train()


@dataclass(frozen=True)
class ReconstructionLoss:
    """The error of reconstructed clips, single frames and clips with holes."""

    own: VAESettings
    frames: int
    perceptual: Perceptual | None

    def __call__(self, module: nn.Module, batch: Batch) -> Losses:
        """Return the losses."""
        own, video = self.own, batch["video"]
        if float(torch.rand(())) < own.images:
            video = video.transpose(1, 2).flatten(0, 1)[:: self.frames // 2 + 1].unsqueeze(2)
        else:
            chance = torch.rand(len(video), 1, 1, 1, 1, device=video.device)
            video = torch.where(chance < own.masked, masked(video, batch["mask"]), video)
        recon, mean, log_variance = module(video)
        recon = recon.float()
        losses = {"l1": (recon - video).abs().mean(), "kl": kl(mean, log_variance)}
        if own.edges:
            losses["edges"] = edge_loss(recon, video)
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(as_frames(recon), as_frames(video)).mean()
        return weighted_sum(losses, {**vars(own), "l1": 1.0})


@torch.no_grad()
def preview_vae(
    vae: VideoVAE, dataset: PairDataset, count: int = 6
) -> tuple[Tensor, dict[str, float]]:
    """Show held-out frames and their reconstructions; return the PSNR."""
    rows, figures = [], []
    for index in range(min(count, len(dataset.entries))):
        video = dataset[index]["video"][None].to(vae.device)
        recon = decode_raw(vae, encode_moments(vae, video)[0]).clamp(0, 1)
        truth, frames = video[0].transpose(0, 1), recon[0].transpose(0, 1)
        figures.append(psnr(frames, truth))
        middle = len(truth) // 2
        rows.append([truth[0], frames[0], truth[middle], frames[middle]])
    return contact_sheet(two_columns(rows), 192), {"psnr": sum(figures) / len(figures)}


@torch.no_grad()
def set_statistics(vae: VideoVAE, videos: Iterator[Tensor]) -> None:
    """Measure the raw latents' mean and deviation a channel and put them into the config."""
    raw = [encode_moments(vae, v[None].to(vae.device))[0][0].flatten(1).cpu() for v in videos]
    raw = torch.cat(raw, dim=1)
    config: Any = replace(
        vae.config, mean=tuple(raw.mean(1).tolist()), std=tuple(raw.std(1).tolist())
    )
    vae.config = config


def start_transformer(own: TransformerSettings, latent_space: str) -> Transformer:
    """Return the transformer to train: a new one of this latent space, or that of a file."""
    if own.start:
        transformer = load_transformer(own.start, dtype=torch.float32)
    else:
        transformer = Transformer(replace(transformer_config(own.model), latent_space=latent_space))
        transformer.initialize_weights()
    if not transformer.config.is_inpainting:
        raise ValueError(f"transformer: expected an inpainting model, got {own.start or own.model}")
    return transformer


def train_transformer(settings: PretrainSettings, own: TransformerSettings, folder: Path) -> Path:
    """Train the transformer and export it."""
    run = start(settings, folder)
    vae = load_vae(own.vae, device=run.device)
    transformer = start_transformer(own, vae.config.latent_space)
    check_space(own.start or own.model, transformer, vae)
    model = FlowModel(transformer.requires_grad_(True).train(), checkpointing=own.checkpointing)
    dataset: Dataset = PairDataset(settings.data, seed=run.seed)
    held_out = PairDataset(settings.data, seed=run.seed, held_out=True)
    if own.cache:
        dataset = cache_latents(
            dataset,
            vae,
            Path(own.cache),
            own.cached_samples,
            vae_digest=file_digest(own.vae),
            accelerator=run.accelerator,
        )

    def loss(module: nn.Module, batch: Batch) -> Losses:
        encode_batch(vae, batch)
        return flow_loss(module, batch, own.flow, run.seed)

    return run.fit(
        [Player("transformer", model, loss, adamw(model, settings.run))],
        dataset,
        sample=lambda module: preview(module, vae, held_out),
        export=lambda path: save_transformer(path, transformer),
    )


if __name__ == "__main__":
    sys.exit(main_of(PretrainSettings, train, __doc__))
