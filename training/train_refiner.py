"""Train the network that makes first fills better, from scratch, in the pixels of single frames.

python training/train_refiner.py training/configs/mini_refiner.yaml --out runs/mini_refiner

`model.safetensors` is what `load_refiner` reads; `embed_weights.py` makes it `mini`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from dataset import DataSettings, PairDataset, sample_generator
from loop import Batch, Losses, Player, RunSettings, Trainer, adamw, make_accelerator
from losses import LEAST_ERROR, mean_error
from metrics import psnr
from pictures import contact_sheet, two_columns
from recipe import main_of, perceptual_or_none
from residual import wide_holes
from torch import Tensor, nn

from dreamstereo_core.models.refiner import Refiner, load_refiner, save_refiner
from dreamstereo_core.models.vae_base import channels_innermost

SHOWN = 48


@dataclass(frozen=True)
class RefinerSettings:
    """The frames, and the weights of the losses."""

    data: DataSettings
    run: RunSettings
    start: str | None = None
    """File of a refiner to go on with; None = a new one."""
    recolour: float = 0.3
    """Share of the frames whose colours change places."""
    perceptual: float = 0.0
    """Weight of ST-LPIPS in the holes, which costs six times what the network does."""

    def __post_init__(self) -> None:
        if self.data.frames != 1:
            raise ValueError(f"data.frames: expected 1, got {self.data.frames}")
        if not 0 <= self.recolour <= 1:
            raise ValueError(f"recolour: expected 0 to 1, got {self.recolour}")
        if self.perceptual < 0:
            raise ValueError(f"perceptual: expected at least 0, got {self.perceptual}")


def train(settings: RefinerSettings, folder: Path) -> Path:
    """Run the training to its end (or to the signal that stops it); return the exported file.

    Raises:
        CheckpointError, DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    run = settings.run
    accelerator = make_accelerator(run)
    torch.manual_seed(run.seed)
    if settings.start is None:
        refiner = Refiner()
        refiner.initialize_weights()
    else:
        refiner = load_refiner(settings.start)
    channels_innermost(refiner)
    refiner.requires_grad_(True).train()
    perceptual = perceptual_or_none(settings.perceptual, accelerator.device)
    dataset = PairDataset(settings.data, seed=run.seed)
    held_out = PairDataset(settings.data, seed=run.seed, held_out=True)
    for pairs in (dataset, held_out):
        pairs.require_fills()

    def loss(module: nn.Module, batch: Batch) -> Losses:
        truth, fill, mask = frames_of(varied(batch, run.seed, settings.recolour))
        refined = module(fill, fill, mask).float()
        error = mean_error(refined, truth, mask) / (mean_error(fill, truth, mask) + LEAST_ERROR)
        losses = {"error": error.mean()}
        total = losses["error"]
        if perceptual is not None:
            losses["perceptual"] = perceptual.inside(refined, truth, mask)
            total = total + settings.perceptual * losses["perceptual"]
        return {"loss": total, **losses}

    trainer = Trainer(
        folder,
        settings,
        run,
        [Player("refiner", refiner, loss, adamw(refiner, run))],
        dataset,
        sample=lambda: preview(refiner, held_out),
        workers=settings.data.workers,
        accelerator=accelerator,
    )
    trainer.fit()
    return trainer.export(lambda path: save_refiner(refiner, path))


def frames_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the truth, the first fill and the wide holes of single frames, `[B, C, H, W]`."""
    return batch["video"][:, :, 0], batch["fill"][:, :, 0], wide_holes(batch["mask"])[:, :, 0]


def varied(batch: Batch, seed: int, recolour: float) -> Batch:
    """Turn half of the clips upside down and exchange colours, by the samples' numbers."""
    parts = {name: batch[name].clone() for name in ("video", "fill", "mask")}
    for i, index in enumerate(batch["index"].tolist()):
        generator = sample_generator(seed + 2, index)
        turn, change = torch.rand(2, generator=generator).tolist()
        order = torch.randperm(3, generator=generator)
        for name, part in parts.items():
            if turn < 0.5:
                part[i] = part[i].flip(-2)
            if change < recolour and name != "mask":
                part[i] = part[i][order]
    return parts


@torch.no_grad()
def preview(
    refiner: nn.Module, dataset: PairDataset, count: int = SHOWN
) -> tuple[Tensor, dict[str, float]]:
    """Show held-out frames, fills before and after; return the mean PSNR in their holes."""
    rows, before, after = [], [], []
    for index in range(count):
        sample = {name: part[None] for name, part in dataset[index].items()}
        truth, fill, mask = frames_of(sample)
        if mask.sum() < 100:
            continue
        refined = refiner(fill, fill, mask).clamp(0, 1)
        before.append(psnr(fill, truth, mask))
        after.append(psnr(refined, truth, mask))
        if len(rows) < 8:
            rows.append([(truth * (1 - mask))[0], fill[0], refined[0], truth[0]])
    figures = {"first_fill": sum(before) / len(before), "psnr": sum(after) / len(after)}
    return contact_sheet(two_columns(rows), 192), figures


if __name__ == "__main__":
    sys.exit(main_of(RefinerSettings, train, __doc__))
