"""Train the small depth network on views of known inverse depth.

accelerate launch training/train_depth.py training/configs/depth.yaml --out runs/mini_depth

Scale and shift of the truth are unknown to the losses, but for a weak one that keeps the network's
own range between 0 and 1. `model.safetensors` is what `load_depth` reads, and
`training/embed_weights.py` puts into the package.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from data.depth_dataset import DepthDataset, DepthDataSettings
from dreamstereo_core.models.depth.mini import MINI_DEPTH, MiniDepthConfig, MiniDepthNetwork
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.vae.base import channels_innermost
from engine.loop import Batch, Losses, Player, RunSettings
from engine.recipe import main_of, start
from objectives.depth_losses import depth_losses
from objectives.depth_network import optimizer, preview, set_training, started


@dataclass(frozen=True)
class DepthSettings:
    """The network's start, and the weights of the losses."""

    data: DepthDataSettings
    run: RunSettings
    trunk: str | None = None
    """MobileNetV2's ImageNet weights with torchvision's names; None = random ones."""
    start: str | None = None
    """A file of this recipe to go on from instead."""
    widths: tuple[int, ...] = MiniDepthConfig.widths
    size: int = MiniDepthConfig.size
    fine: int = 24
    """Of the network; `start` may be one that has none."""
    trunk_lr: float = 0.3
    """Of the trunk, as a part of the decoder's."""
    frozen: int = 3
    """First layers of the trunk that stay as they are: a fifth of the time, and most general."""
    norms: bool = True
    """Whether batch norms measure each batch; if not, what `start` has measured holds."""
    slopes: float = 0.2
    range: float = 0.5

    def __post_init__(self) -> None:
        for name in ("trunk_lr", "frozen", "slopes", "range"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")


def train(settings: DepthSettings, folder: Path) -> Path:
    """Run the training to its end (or to the signal that stops it); return the exported file.

    Raises:
        CheckpointError, DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    run = start(settings, folder)
    network = build_network(settings)
    set_training(network, settings.frozen, norms=settings.norms)
    channels_innermost(network)
    dataset = DepthDataset(settings.data, seed=run.seed)
    held_out = DepthDataset(settings.data, seed=run.seed, held_out=True)

    def loss(module: nn.Module, batch: Batch) -> Losses:
        return depth_loss(module, batch, settings)

    return run.fit(
        [Player("depth", network, loss, optimizer(network, settings.run, settings.trunk_lr))],
        dataset,
        sample=lambda _: preview(network, held_out, settings.frozen, norms=settings.norms),
        export=lambda path: save_network(network, path, MINI_DEPTH),
    )


def depth_loss(module: nn.Module, batch: Batch, settings: DepthSettings) -> Losses:
    """Return the losses of sharp and of soft views, by their shares of the batch."""
    pictures = batch["picture"].contiguous(memory_format=torch.channels_last)
    # Where only large forms count, the fine layer's work would be averaged away.
    depth = module(pictures, sharp=~batch["soft"])
    total: Losses = {}
    for soft in (False, True):
        chosen = batch["soft"] == soft
        if not chosen.any():
            continue
        parts = depth_losses(
            depth[chosen],
            batch["inverse_depth"][chosen],
            batch["weight"][chosen],
            soft=soft,
            slopes=settings.slopes,
            range_=settings.range,
        )
        for name, part in parts.items():
            total[name] = total.get(name, 0.0) + chosen.float().mean() * part
    return total


def build_network(settings: DepthSettings) -> MiniDepthNetwork:
    """Return the network to start from.

    Raises:
        ValueError: the trunk's weights are not MobileNetV2's.
        OSError: there is no such file.
    """
    if settings.start is not None:
        network = load_network(settings.start, MINI_DEPTH)
        return started(network, size=settings.size, fine=settings.fine)
    network = MiniDepthNetwork(MiniDepthConfig(settings.widths, settings.size, settings.fine))
    if settings.trunk is not None:
        weights = torch.load(settings.trunk, map_location="cpu", weights_only=True)
        own = {name for name in network.state_dict() if name.startswith("features.")}
        missing = sorted(own - weights.keys())
        if missing:
            raise ValueError(f"{settings.trunk}: expected MobileNetV2's weights, no {missing[0]}")
        network.load_state_dict({name: weights[name] for name in own}, strict=False)
    elif settings.frozen:
        raise ValueError("frozen: expected 0 without trunk and start, whose weights are to be kept")
    return network


if __name__ == "__main__":
    sys.exit(main_of(DepthSettings, train, __doc__))
