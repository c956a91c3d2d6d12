"""Table 3 at smoke size: one tiny model, trained a few steps on each strategy's pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from data.latents import encode_batch
from data.pair_dataset import DataSettings, PairDataset, batches
from data.pair_shards import PairWriter
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.vae.base import VideoVAE
from making.pair_builder import PairBuilder, PairOptions
from objectives.flow import FlowModel, FlowSettings, flow_loss

STRATEGIES = {"Random Mask": "random", "TrajectoryCrafter": "forward", "Ours": "gapw"}
"""The table's rows, and what opens the holes of their pairs."""
STEPS = 3


def train_strategies(
    film: Path, depth: Path, model: Path, vae: VideoVAE, options: PairOptions, folder: Path
) -> list[tuple[str, str]]:
    """Return a row of the table and a checkpoint for each strategy.

    Args:
        film: the only source.
        depth: its depth file.
        model: the checkpoint that all start from.
        vae: whose latents it fills.
        options: what the pairs are like, but for their holes.
        folder: for pairs and checkpoints.
    """
    rows = []
    for name, warp in STRATEGIES.items():
        builder = PairBuilder(replace(options, warp=warp), {film: depth})
        writer = PairWriter(folder / warp, {"warp": warp})
        writer.add(film.name, builder.video_pairs(film, film.name))
        writer.flush()
        path = folder / f"{warp}.safetensors"
        _train(model, vae, options, folder / warp, path)
        rows.append((name, str(path)))
    return rows


def _train(model: Path, vae: VideoVAE, options: PairOptions, pairs: Path, path: Path) -> None:
    transformer = load_network(model, TRANSFORMER, dtype=torch.float32)
    module = FlowModel(transformer.requires_grad_(True).train())
    settings = DataSettings(
        str(pairs),
        frames=options.frames,
        height=options.height,
        width=options.width,
        held_out=0,
    )
    dataset = PairDataset(settings)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    for _, batch in zip(range(STEPS), batches(dataset, 1, start=0), strict=False):
        encode_batch(vae, batch)
        optimizer.zero_grad()
        flow_loss(module, batch, FlowSettings(), 0)["loss"].backward()
        optimizer.step()
    save_network(transformer, path, TRANSFORMER)
