"""What the recipes of the small depth network share: its start, what learns, its pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.depth_dataset import DepthDataset
from dreamstereo_core.models.depth.mini import MiniDepthNetwork
from engine.pictures import contact_sheet, show_depth, two_columns
from engine.run_settings import RunSettings
from evaluation.depth_scores import depth_scores


def started(network: MiniDepthNetwork, *, size: int, fine: int) -> MiniDepthNetwork:
    """Return a network with all weights of another, and a fine layer of `fine` channels if not 0.

    Raises:
        ValueError: it has a fine layer of another width.
    """
    config = network.config
    if config.fine not in (0, fine):
        raise ValueError(f"fine: expected {config.fine}, what the start has")
    grown = MiniDepthNetwork(replace(config, size=size, fine=fine))
    grown.load_state_dict(network.state_dict(), strict=bool(config.fine) or not fine)
    return grown


def set_training(network: MiniDepthNetwork, frozen: int, *, norms: bool = True) -> None:
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
    network: MiniDepthNetwork,
    dataset: DepthDataset,
    frozen: int,
    *,
    norms: bool,
    count: int = 24,
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
        rows.append([sample["picture"], show_depth(truth), show_depth(estimate)])
    set_training(network, frozen, norms=norms)
    means = {
        name: sum(getattr(score, name) for score in scores) / len(scores)
        for name in ("abs_rel", "delta", "ordinal", "disparity")
    }
    return contact_sheet(two_columns(two_columns(rows[:16])), 112), means
