"""First weights of an autoencoder that is trained from scratch."""

from __future__ import annotations

import torch
from torch import nn

from dreamstereo_core.models.vae.base import VideoVAE
from dreamstereo_core.models.vae.tiny import MemBlock, TimeGrow, TimePool, TinyVAE

COLOURS = 3


@torch.no_grad()
def initialize_vae(vae: VideoVAE) -> None:
    """Let a tiny autoencoder start as a blur: three channels carry the mean colours straight on.

    It has no norms, and from random weights it shows one grey for hundreds of steps while the
    latents, which are but noise to the decoder, fade away. All other channels are random features.
    Autoencoders of Wan's kind have norms and keep the weights they have.
    """
    if not isinstance(vae, TinyVAE):
        return
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    pixels = vae.tiny.patch**2
    for half in (vae.encoder, vae.decoder):
        for module in half:
            if isinstance(module, MemBlock):
                nn.init.zeros_(module.conv[-1].weight)  # pyright: ignore[reportArgumentType]
            elif isinstance(module, TimePool):
                width = module.conv.weight.shape[0]
                _pass(
                    module.conv, [[s * width + c for s in range(module.stride)] for c in range(3)]
                )
            elif isinstance(module, TimeGrow):
                width = module.conv.weight.shape[1]
                for s in range(module.stride):
                    _pass(module.conv, [[c] for c in range(COLOURS)], first=s * width)
            elif isinstance(module, nn.Conv2d):
                _pass(module, [[c] for c in range(COLOURS)])
    first, last = vae.encoder[0], vae.decoder[-1]
    _pass(first, [[c * pixels + p for p in range(pixels)] for c in range(COLOURS)])
    nn.init.normal_(last.weight, std=0.01)  # pyright: ignore[reportArgumentType]
    _pass(last, [[c] for c in range(COLOURS) for _ in range(pixels)], keep=True)


def _pass(conv: nn.Module, sources: list[list[int]], *, first: int = 0, keep: bool = False) -> None:
    """Make output `first` + i the mean of the inputs `sources[i]`, at the kernel's centre."""
    weight: torch.Tensor = conv.weight  # pyright: ignore[reportAssignmentType]
    middle = weight.shape[-1] // 2
    for i, inputs in enumerate(sources):
        if keep:
            weight[first + i, :COLOURS] = 0
        else:
            weight[first + i] = 0
        weight[first + i, inputs, middle, middle] = 1 / len(inputs)
