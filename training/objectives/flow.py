"""Flow matching of an inpainting transformer: what it is given, what it loses, what it fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from data.latents import encode_batch
from data.pair_dataset import PairDataset, masked
from data.random_streams import random_stream
from dreamstereo_core.models.conditioning import (
    inpainting_input,
    to_latent_mask,
)
from dreamstereo_core.models.sparse import select_tokens, token_mask
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.base import VideoVAE
from engine.pictures import contact_sheet, two_columns
from evaluation.metrics import psnr
from objectives.losses import draw_timesteps, flow_noise, hole_weight, weighted_mse


@dataclass(frozen=True)
class FlowSettings:
    """The objective."""

    objective: Literal["velocity", "x0"] = "velocity"
    """"x0": the error of the latents themselves; the same at t = 1, milder below."""
    one_step: float = 0.0
    """Share of samples at t = 1, the only one that one-step inference asks for."""
    shift: float = 5.0
    """Of the other timesteps, towards noise."""
    known_weight: float = 1.0
    """Of latents without a hole, whose prediction inference throws away; the paper has 1."""
    sparse: float = 0.0
    """Share of steps on the tokens around holes alone, as at inference; the paper has 0."""
    dilation: int = 5
    """Of those tokens."""
    continued: float = 0.0
    """Share of clips whose first latents are given, as in the second window of a long clip."""

    def __post_init__(self) -> None:
        for name in ("one_step", "known_weight", "sparse", "continued"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")


class FlowModel(nn.Module):
    """A transformer with its timestep and context, as one call: what DDP and FSDP want.

    Args:
        transformer: an inpainting one.
        context: `[1, L, text_dim]`; None = its own, or zeros where it has none.
        checkpointing: recompute the blocks in the backward pass, to need less memory.
    """

    def __init__(
        self, transformer: Transformer, context: Tensor | None = None, checkpointing: bool = False
    ):
        super().__init__()
        self.transformer = transformer
        if context is None and not transformer.config.learned_context:
            context = transformer.default_context()
        self.register_buffer("given_context", context, persistent=False)
        if checkpointing:
            for block in transformer.blocks:
                block.forward = _recomputed(block.forward)

    def forward(
        self,
        noisy: Tensor,
        missing: Tensor,
        masked_latent: Tensor,
        timestep: Tensor,
        tokens: Tensor | None = None,
        captions: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Predict the velocity `[B, 16, T', H', W']`.

        `captions` are `[B, L, text_dim]`, and `[B]` bool: a clip without one gets the one context.
        """
        context: Any = self.given_context
        if captions is not None:
            own = self.transformer.context if context is None else context
            context = _in_place_of(own, *captions)
        conditioning = self.transformer.prepare(timestep, context)
        x = inpainting_input(noisy, missing, masked_latent)
        return self.transformer(x, conditioning, tokens)


def _in_place_of(context: Any, captions: Tensor, captioned: Tensor) -> Tensor:
    """Return `[B, L, text_dim]`: a clip's caption if it has one, else `context` `[1, L, dim]`."""
    length = max(context.shape[1], captions.shape[1])
    context, captions = (F.pad(x, (0, 0, 0, length - x.shape[1])) for x in (context, captions))
    return torch.where(captioned.view(-1, 1, 1), captions.to(context), context)


def captions_of(batch: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Return what `FlowModel` wants as captions; None = the batch has none."""
    return (batch["caption"], batch["captioned"]) if "caption" in batch else None


def _recomputed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(*args: Any) -> Tensor:
        return checkpoint(forward, *args, use_reentrant=False)  # pyright: ignore[reportReturnType]

    return run


def noise_of(batch: dict[str, Any], seed: int) -> Tensor:
    """Return the noise of each clip, by its number."""
    latent = batch["masked_latent"]
    generators = [random_stream(seed, "noise", int(index)) for index in batch["index"]]
    noise = torch.stack([torch.randn(latent.shape[1:], generator=g) for g in generators])
    return noise.to(latent.device)


def flow_loss(
    model: nn.Module, batch: dict[str, Any], settings: FlowSettings, seed: int
) -> dict[str, Tensor]:
    """Return the loss of a batch with latents; the noise is each sample's own, by its number."""
    latent, masked_latent = batch["latent"].float(), batch["masked_latent"].float()
    missing = batch["missing"].float()
    if settings.continued:
        masked_latent, missing = give_start(latent, masked_latent, missing, settings.continued)
    generators = [random_stream(seed, "timestep", int(index)) for index in batch["index"]]
    timestep = torch.cat(
        [
            draw_timesteps(1, one_step=settings.one_step, shift=settings.shift, generator=g)
            for g in generators
        ]
    ).to(latent.device)
    noisy, velocity = flow_noise(latent, noise_of(batch, seed), timestep)
    weight, tokens = hole_weight(missing, settings.known_weight), None
    if settings.sparse and float(torch.rand(())) < settings.sparse:
        tokens = select_tokens(to_latent_mask(missing), dilation=settings.dilation)
        weight = weight * token_mask(tokens, latent.shape)
    if tokens is not None and tokens.shape[1] == 0:
        tokens = None  # no hole at all: learn from the whole
        weight = torch.ones_like(weight)
    predicted = model(noisy, missing, masked_latent, timestep, tokens, captions_of(batch))
    if settings.objective == "x0":  # z_t - t v is the latent: its error is t times the velocity's
        t = timestep.view(-1, 1, 1, 1, 1)
        predicted, velocity = t * predicted, t * velocity
    return {"loss": weighted_mse(predicted, velocity, weight)}


def give_start(
    latent: Tensor, masked_latent: Tensor, missing: Tensor, share: float
) -> tuple[Tensor, Tensor]:
    """Give the first latents of some clips whole, as a window gets them from the one before."""
    masked_latent, missing = masked_latent.clone(), missing.clone()
    for i in range(len(latent)):
        most = min(4, latent.shape[2] - 1)
        if most and float(torch.rand(())) < share:
            count = int(torch.randint(1, most + 1, ()))
            masked_latent[i, :, :count] = latent[i, :, :count]
            missing[i, :, :count] = 0
    return masked_latent, missing


@torch.no_grad()
def fill_once(
    model: nn.Module,
    batch: dict[str, Tensor],
    seed: int,
) -> Tensor:
    """Return the latents of one Euler step, `[B, 16, T', H', W']`.

    Args:
        model: of a `FlowModel`.
        batch: with latents.
        seed: of the noise.
    """
    latent = batch["masked_latent"].float()
    noise = noise_of(batch, seed)
    timestep = torch.ones(len(latent), device=latent.device)
    return noise - model(noise, batch["missing"].float(), latent, timestep, None)


@torch.no_grad()
def preview(
    model: nn.Module,
    vae: VideoVAE,
    dataset: PairDataset,
    count: int = 6,
) -> tuple[Tensor, dict[str, float]]:
    """Fill held-out clips: masked, filled and true frames, and the PSNR inside the holes."""
    rows: list[list[Tensor]] = []
    figures: list[float] = []
    device = next(model.parameters()).device
    for index in range(min(count, len(dataset.entries))):
        sample = {k: v[None].to(device) for k, v in dataset[index].items()}
        encode_batch(vae, sample)
        filled = vae.decode(fill_once(model, sample, index)).to(sample["video"])
        video, mask = sample["video"], sample["mask"]
        result = torch.where(mask > 0, filled, video)[0].transpose(0, 1)
        truth, hole = video[0].transpose(0, 1), mask[0].transpose(0, 1)
        given = masked(truth, hole)
        if hole.any():
            figures.append(psnr(result.clamp(0, 1), truth, hole))
        at = int(hole.sum((1, 2, 3)).argmax())
        rows.append([given[at], result[at], filled[0, :, at], truth[at]])
    mean = sum(figures) / max(1, len(figures))
    return contact_sheet(two_columns(rows), 192), {"hole_psnr": mean}
