"""One step that makes a choice: a mixture of three colours, taught, and distilled without pairs."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from dreamstereo_core.sampling import sigmas
from objectives.distribution import critic_loss, matching_loss
from objectives.losses import draw_timesteps, flow_noise, weighted_mse
from paper.tiny_runs import markdown

COLOURS = ((1.0, -0.7, -0.8), (-0.8, 0.5, -0.6), (-0.7, -0.6, 0.8))
BATCH, MANY, SHIFT = 256, 16, 5.0
SHAPE = (BATCH, 3, 1, 1, 1)


class Flow(nn.Module):
    """A velocity of one hole's colour, called as a `FlowModel` is."""

    def __init__(self, width: int = 64):
        super().__init__()
        layers = [nn.Linear(4, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 3))

    def forward(
        self, noisy: Tensor, missing: Tensor, masked: Tensor, timestep: Tensor, tokens: None = None
    ) -> Tensor:
        """Predict the velocity `[B, 3, 1, 1, 1]`."""
        given = torch.cat([noisy.flatten(1), timestep[:, None]], 1)
        return self.layers(given).view_as(noisy)


def compare_unpaired(out: Path, steps: int) -> str:
    """Teach a flow three colours, make one step of it by the distribution; return what they draw.

    Args:
        out: not used; all that there is fits here.
        steps: of the teaching, and of the distillation.
    """
    torch.manual_seed(0)
    teacher, every = Flow(), torch.tensor(COLOURS)
    batch = {"missing": torch.ones(BATCH, 4, 1, 1, 1), "masked_latent": torch.zeros(SHAPE)}
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        true = every[torch.randint(len(every), (BATCH,))].view(SHAPE)
        t = draw_timesteps(BATCH, one_step=0.1, shift=SHIFT, generator=generator)
        noisy, velocity = flow_noise(true, torch.randn(SHAPE), t)
        made = teacher(noisy, batch["missing"], batch["masked_latent"], t)
        _step(optimizer, weighted_mse(made, velocity, torch.ones(BATCH, 1, 1, 1, 1)))
    teacher.requires_grad_(False)
    student, critic = (copy.deepcopy(teacher).requires_grad_(True) for _ in range(2))
    moves = [torch.optim.AdamW(m.parameters(), lr=r) for m, r in ((student, 3e-4), (critic, 1e-3))]
    for _ in range(steps):
        predicted = draw(student, torch.randn(SHAPE), 1)
        batch["predicted"] = predicted.detach()
        _step(moves[0], matching_loss(teacher, critic, batch, predicted, SHIFT))
        _step(moves[1], critic_loss(critic, batch, SHIFT)["loss"])
    rows = []
    for name, model, count in (("teacher", teacher, 1), ("teacher", teacher, MANY),
                               ("distilled", student, 1)):  # fmt: skip
        off, shares = figures(model, count)
        rows.append([name, count, f"{off:.3f}", " / ".join(f"{share:.0%}" for share in shares)])
    return markdown(("colours by", "steps", "off the nearest", "shares"), rows)


def draw(model: nn.Module, noise: Tensor, steps: int) -> Tensor:
    """Return the colours of Euler steps from noise."""
    x, missing = noise, torch.ones(len(noise), 4, 1, 1, 1)
    for level, following in pairwise(sigmas(steps, SHIFT)):
        t = torch.full((len(noise),), level)
        x = x + (following - level) * model(x, missing, torch.zeros_like(x), t, None)
    return x


@torch.no_grad()
def figures(model: nn.Module, steps: int) -> tuple[float, list[float]]:
    """Return how far drawn colours are from the nearest of the three, and the share of each.

    The distance is a mean square, in units of that between two of the colours.
    """
    every = torch.tensor(COLOURS)
    noise = torch.randn(16 * BATCH, *SHAPE[1:], generator=torch.Generator().manual_seed(2))
    drawn = draw(model, noise, steps).flatten(1)
    nearest = torch.cdist(drawn, every).square().min(1)
    between = (every - every.roll(1, 0)).square().sum(1).mean()
    shares = [float((nearest.indices == i).float().mean()) for i in range(len(every))]
    return float(nearest.values.mean() / between), shares


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
