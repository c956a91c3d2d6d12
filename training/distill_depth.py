"""Teach the small depth network what a published one answers, on fresh crops of real pictures.

    python training/distill_depth.py training/configs/distill_depth.yaml --out runs/mini_depth3

Teacher and student look at the same crop ("function matching": Beyer et al., "Knowledge
distillation: A good teacher is patient and consistent", CVPR 2022); the student sees it changed, as
films differ. The teacher looks at one of several sizes, so that the student learns their mean. Each
batch has rendered views, too, whose truth is exact: they keep the edges where they are.
`model.safetensors` is what `load_depth` reads, and `training/embed_weights.py` puts into the
package.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.depth_dataset import DepthDataset, DepthDataSettings
from dreamstereo_core.models.depth.mini import MINI_DEPTH, MiniDepthConfig
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.vae.base import channels_innermost
from engine.loop import Batch, Losses, Player, RunSettings
from engine.recipe import main_of, start
from making.taught_crops import CropSettings, TaughtCrops
from making.teacher_network import load_teacher
from objectives.depth_losses import depth_losses, gradient_error, normalised, trimmed_error
from objectives.depth_network import optimizer, preview, set_training, started

RANKED = 3000
"""Point pairs of a picture whose order is asked for."""
CLEAR = 0.3
"""Of the teacher's deviations: pairs that are closer have no order."""


@dataclass(frozen=True)
class DistillSettings:
    """Teacher, student, pictures, and the weights of the losses."""

    data: CropSettings
    run: RunSettings
    teacher: str
    """The file of a published network, see `making/teacher_network.py`."""
    start: str
    """The student: a file of `train_depth.py`, or of this recipe."""
    fine: int = MiniDepthConfig.fine
    """Of the student; see `train_depth.py`."""
    size: int = MiniDepthConfig.size
    trunk_lr: float = 0.25
    frozen: int = 7
    rank: float = 0.5
    slopes: float = 0.2
    range: float = 0.1
    rendered: float = 0.3
    """Of the rendered views' losses."""


def train(settings: DistillSettings, folder: Path) -> Path:
    """Run the training to its end (or to the signal that stops it); return the exported file.

    Raises:
        CheckpointError, DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    run = start(settings, folder)
    network = load_network(settings.start, MINI_DEPTH)
    network = started(network, size=settings.size, fine=settings.fine)
    set_training(network, settings.frozen, norms=False)
    channels_innermost(network)
    dataset = TaughtCrops(
        settings.data, load_teacher(settings.teacher), batch=settings.run.batch, seed=run.seed
    )
    held_out = DepthDataset(DepthDataSettings(settings.data.views), seed=run.seed, held_out=True)

    def loss(module: nn.Module, batch: Batch) -> Losses:
        return distill_loss(module, batch, settings)

    return run.fit(
        [Player("depth", network, loss, optimizer(network, settings.run, settings.trunk_lr))],
        dataset,
        sample=lambda _: preview(network, held_out, settings.frozen, norms=False),
        export=lambda path: save_network(network, path, MINI_DEPTH),
    )


def distill_loss(module: nn.Module, batch: Batch, settings: DistillSettings) -> Losses:
    """Return the losses of taught crops and of rendered views, by their shares of the batch."""
    pictures = batch["picture"].contiguous(memory_format=torch.channels_last)
    taught, target = batch["taught"], batch["inverse_depth"]
    # On taught crops the fine layer would only be averaged away.
    depth = module(pictures, sharp=~taught)
    losses: Losses = {"loss": depth.new_zeros(())}
    if taught.any():
        step = depth.shape[-1] // (pictures.shape[-1] // 2)  # a network with a fine layer doubles
        coarse = depth[taught][..., ::step, ::step]
        wanted = F.interpolate(target[taught], coarse.shape[-2:], mode="bilinear")  # NaN spreads
        losses = taught_losses(coarse, wanted, settings, torch.Generator().manual_seed(0))
        losses["loss"] = losses["loss"] * taught.float().mean()
    if (~taught).any():
        exact = depth_losses(depth[~taught], target[~taught], batch["weight"][~taught],
                             slopes=0.5, range_=0.5)["loss"]  # fmt: skip
        losses["rendered"] = exact
        losses["loss"] = losses["loss"] + settings.rendered * exact
    return losses


def taught_losses(
    depth: Tensor, target: Tensor, settings: DistillSettings, generator: torch.Generator
) -> Losses:
    """Compare `[B, 1, h, w]` with a teacher's answers, of any scale and shift, NaN = unknown."""
    valid = target.isfinite()
    a, b = normalised(depth, valid), normalised(target.nan_to_num(0.0), valid)
    i, j = torch.randint(a[0].numel(), (2, RANKED), generator=generator).to(a.device)
    first, second, known = a.flatten(1), b.flatten(1), valid.flatten(1)
    wanted = (second[:, i] - second[:, j]) * (known[:, i] & known[:, j])
    order = F.softplus(-4 * (first[:, i] - first[:, j]) * wanted.sign()) / 4
    ends = torch.quantile(depth.flatten(1), depth.new_tensor((0.02, 0.98)), dim=1)
    losses = {
        "shape": trimmed_error(a, b, valid, 0.05).mean(),
        "rank": (order * (wanted.abs() > CLEAR)).mean(),
        "slopes": gradient_error(a, b, valid).mean(),
        "range": (ends[0] - 0.03).abs().mean() + (ends[1] - 1).abs().mean(),
    }
    total = losses["shape"] + settings.rank * losses["rank"]
    total = total + settings.slopes * losses["slopes"] + settings.range * losses["range"]
    return {"loss": total, **losses}


if __name__ == "__main__":
    sys.exit(main_of(DistillSettings, train, __doc__))
