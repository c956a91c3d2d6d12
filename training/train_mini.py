"""Train `mini`, which makes first fills better, from scratch, in the pixels of short clips.

accelerate launch training/train_mini.py training/configs/mini_inpainter.yaml --out runs/mini

`model.safetensors` is what the fill reads; `embed_weights.py` puts it into the package. The loss
is the error in the holes as a part of the first fill's, of the frames and of what changes between
them; the error is the mean of L1, which keeps edges, and of the root of the squared one.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from data.pair_dataset import DataSettings, PairDataset
from data.random_streams import random_stream
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.inpainter import INPAINTING, InpaintingConfig, InpaintingNetwork
from dreamstereo_core.models.vae.base import channels_innermost
from engine.loop import Batch, Losses, Player, RunSettings, adamw
from engine.pictures import contact_sheet, two_columns
from engine.recipe import main_of, start
from evaluation.metrics import psnr
from evaluation.perceptual import Perceptual, perceptual_or_none
from making.first_fill import wide_holes
from objectives.losses import LEAST_ERROR, mean_error, root_error, weighted_sum

SHOWN = 32
DILATIONS = (3, 5, 7, None)
"""One is drawn for each step, so that the network works with any; None = dense."""


@dataclass(frozen=True)
class MiniSettings:
    """The clips, the network, and the weights of the losses."""

    data: DataSettings
    run: RunSettings
    network: InpaintingConfig = field(default_factory=InpaintingConfig)
    start: str | None = None
    """File of a network to go on with; it may have fewer layers. None = a new one."""
    recolour: float = 0.3
    """Share of the clips whose colours change places."""
    darken: float = 0.3
    """Share of the clips that get darker."""
    steady: float = 0.2
    """Weight of what changes from frame to frame."""
    perceptual: float = 0.0
    """Weight of ST-LPIPS in the holes, of one frame of each clip."""

    def __post_init__(self) -> None:
        for name in ("recolour", "darken"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        for name in ("steady", "perceptual"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")


def train(settings: MiniSettings, folder: Path) -> Path:
    """Run the training to its end (or to the signal that stops it); return the exported file.

    Raises:
        CheckpointError, DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    run = start(settings, folder)
    network = build_network(settings)
    perceptual = perceptual_or_none(settings.perceptual, run.device)
    dataset = PairDataset(settings.data, seed=run.seed)
    held_out = PairDataset(settings.data, seed=run.seed, held_out=True)
    for pairs in (dataset, held_out):
        pairs.require_fills()

    loss = CorrectionLoss(settings, perceptual)
    return run.fit(
        [Player("inpainter", network, loss, adamw(network, settings.run))],
        dataset,
        sample=lambda _: preview(network, held_out),
        export=lambda path: save_network(network, path, INPAINTING),
    )


def build_network(settings: MiniSettings) -> InpaintingNetwork:
    """Return the network to start from.

    Raises:
        CheckpointError: `start` holds none.
        RuntimeError: it is of other sizes.
    """
    network = InpaintingNetwork(settings.network)
    network.initialize_weights()
    if settings.start is not None:
        network.load_state_dict(load_network(settings.start, INPAINTING).state_dict(), strict=False)
    channels_innermost(network)
    return network.train()


@dataclass(frozen=True)
class CorrectionLoss:
    """The error in the holes that the network leaves, as a part of the first fill's."""

    settings: MiniSettings
    perceptual: Perceptual | None

    def __call__(self, module: nn.Module, batch: Batch) -> Losses:
        """Return the losses."""
        truth, fill, mask = clips_of(varied(batch, self.settings))
        dilation = DILATIONS[int(torch.randint(len(DILATIONS), ()))]
        refined = module(fill, mask, dilation=dilation).float()
        losses = {"error": relative_error(refined, fill, truth, mask)}
        if self.settings.steady and mask.shape[1] > 1:
            made, given, true = (x[:, 1:] - x[:, :-1] for x in (refined, fill, truth))
            losses["steady"] = relative_error(made, given, true, mask[:, 1:] * mask[:, :-1])
        if self.perceptual is not None:
            at = int(torch.randint(mask.shape[1], ()))
            seen = (x[:, at] for x in (refined, truth, mask))
            losses["perceptual"] = self.perceptual.inside(*seen)
        return weighted_sum(losses, {**vars(self.settings), "error": 1.0})


def clips_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the truth, the first fill and the wide holes of clips, `[B, T, C, H, W]`."""
    mask = wide_holes(batch["mask"])
    truth, fill, mask = (x.transpose(1, 2) for x in (batch["video"], batch["fill"], mask))
    return truth, fill, mask


def relative_error(result: Tensor, fill: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Return the error of clips `[B, T, 3, H, W]` in the holes, as a part of the fill's."""
    result, fill, truth, mask = (x.transpose(1, 2) for x in (result, fill, truth, mask))
    total = result.new_zeros(())
    for distance in (mean_error, root_error):
        error, before = (distance(x, truth, mask) for x in (result, fill))
        total = total + (error / (before + LEAST_ERROR)).mean() / 2
    return total


def varied(batch: Batch, settings: MiniSettings) -> Batch:
    """Turn half of the clips upside down, exchange colours and darken, by the samples' numbers."""
    parts = {name: batch[name].clone() for name in ("video", "fill", "mask")}
    for i, index in enumerate(batch["index"].tolist()):
        generator = random_stream(settings.run.seed, "changes", index)
        turn, change, darken, dark = torch.rand(4, generator=generator).tolist()
        order = torch.randperm(3, generator=generator)
        for name, part in parts.items():
            if turn < 0.5:
                part[i] = part[i].flip(-2)
            if name == "mask":
                continue
            if change < settings.recolour:
                part[i] = part[i][order]
            if darken < settings.darken:
                part[i] *= 0.1 + 0.9 * dark
    return parts


@torch.no_grad()
def preview(
    network: nn.Module, dataset: PairDataset, count: int = SHOWN
) -> tuple[Tensor, dict[str, float]]:
    """Show held-out clips, fills before and after; return the mean PSNR in their holes."""
    rows, before, after = [], [], []
    for index in range(count):
        sample = {name: part[None] for name, part in dataset[index].items()}
        truth, fill, mask = clips_of(sample)
        if mask.sum() < 100 * mask.shape[1]:
            continue
        refined = network(fill, mask).clamp(0, 1)
        fill, refined, truth, mask = (x[0] for x in (fill, refined, truth, mask))
        before.append(psnr(fill, truth, mask))
        after.append(psnr(refined, truth, mask))
        if len(rows) < 8:
            rows.append([truth[-1] * (1 - mask[-1]), fill[-1], refined[-1], truth[-1]])
    figures = {"first_fill": sum(before) / len(before), "psnr": sum(after) / len(after)}
    return contact_sheet(two_columns(rows), 192), figures


if __name__ == "__main__":
    sys.exit(main_of(MiniSettings, train, __doc__))
