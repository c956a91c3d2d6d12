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
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.depth_dataset import DepthDataset, DepthDataSettings
from dreamstereo_core.models.depth.mini import MINI_DEPTH, MiniDepthConfig, MiniDepthNetwork
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.vae.base import channels_innermost
from engine.loop import Batch, Losses, Player, RunSettings
from engine.pictures import contact_sheet, two_columns
from engine.recipe import main_of, start
from evaluation.depth_scores import depth_scores
from objectives.depth_losses import depth_losses


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
    set_training(network, settings.frozen, settings.norms)
    channels_innermost(network)
    dataset = DepthDataset(settings.data, seed=run.seed)
    held_out = DepthDataset(settings.data, seed=run.seed, held_out=True)

    def loss(module: nn.Module, batch: Batch) -> Losses:
        return depth_loss(module, batch, settings)

    return run.fit(
        [Player("depth", network, loss, optimizer(network, settings.run, settings.trunk_lr))],
        dataset,
        sample=lambda _: preview(network, held_out, settings),
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
        return started(load_network(settings.start, MINI_DEPTH), settings)
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


def started(network: MiniDepthNetwork, settings: DepthSettings) -> MiniDepthNetwork:
    """Return a network with all weights of another, and a fine layer if the settings want one.

    Raises:
        ValueError: it has a fine layer of another width.
    """
    config = network.config
    if config.fine not in (0, settings.fine):
        raise ValueError(f"fine: expected {config.fine}, what {settings.start} has")
    grown = MiniDepthNetwork(replace(config, size=settings.size, fine=settings.fine))
    grown.load_state_dict(network.state_dict(), strict=bool(config.fine) or not settings.fine)
    return grown


def set_training(network: MiniDepthNetwork, frozen: int, norms: bool = True) -> None:
    """Let all but the first layers of the trunk learn; their batch norms keep what they have."""
    network.train()
    for layer in list(network.features)[:frozen]:
        layer.eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not norms:
            module.eval()


def optimizer(network: MiniDepthNetwork, run: RunSettings, trunk_lr: float) -> torch.optim.AdamW:
    """Return AdamW with a lower rate for the trunk; vectors do not decay."""
    groups = []
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    for in_trunk, factor in ((True, trunk_lr), (False, 1.0)):
        own = [p for name, p in trained if name.startswith("features.") == in_trunk]
        for decays in (True, False):
            groups.append(
                {
                    "params": [p for p in own if (p.ndim > 1) == decays],
                    "weight_decay": run.weight_decay if decays else 0.0,
                    "lr_factor": factor,
                }
            )
    return torch.optim.AdamW(groups, lr=run.lr, betas=run.betas)


@torch.no_grad()
def preview(
    network: MiniDepthNetwork, dataset: DepthDataset, settings: DepthSettings, count: int = 24
) -> tuple[Tensor, dict[str, float]]:
    """Show held-out pictures, their true and their estimated inverse depth; return the scores."""
    network.eval()
    rows, scores = [], []
    device = network.mean.device
    for index in range(min(count, len(dataset.entries))):
        sample = dataset[index]
        estimate = network(sample["picture"][None].to(device))[0].cpu()
        truth = sample["inverse_depth"]
        size = truth.shape[-2:]
        estimate = F.interpolate(estimate[None], size, mode="bilinear")[0]
        scores.append(depth_scores(estimate, truth))
        rows.append([sample["picture"], _grey(truth), _grey(estimate)])
    set_training(network, settings.frozen, settings.norms)
    means = {
        name: sum(getattr(score, name) for score in scores) / len(scores)
        for name in ("abs_rel", "delta", "ordinal", "disparity")
    }
    return contact_sheet(two_columns(two_columns(rows[:16])), 112), means


def _grey(inverse_depth: Tensor) -> Tensor:
    values = inverse_depth.nan_to_num(0.0)
    low, high = torch.quantile(values.flatten(), torch.tensor((0.02, 0.98))).tolist()
    return ((values - low) / max(high - low, 1e-6)).clamp(0, 1).expand(3, -1, -1)


if __name__ == "__main__":
    sys.exit(main_of(DepthSettings, train, __doc__))
