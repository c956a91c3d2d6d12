"""First weights of an autoencoder that is trained from scratch."""

from __future__ import annotations

from torch import nn

from dreamstereo_core.models.tiny_vae import MemBlock, TimeGrow, TimePool, TinyVAE
from dreamstereo_core.models.vae_base import VideoVAE


def initialize_vae(vae: VideoVAE) -> None:
    """Draw weights for a tiny autoencoder, which has no norms, so that a signal keeps its size.

    torch's own shrink it at every layer. At first the picture is about grey, and the memory blocks
    do nothing. Autoencoders of Wan's kind have norms and keep the weights they have.
    """
    if not isinstance(vae, TinyVAE):
        return
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, MemBlock):
            nn.init.zeros_(module.conv[-1].weight)  # pyright: ignore[reportArgumentType]
        elif isinstance(module, TimePool | TimeGrow):
            nn.init.kaiming_normal_(module.conv.weight, nonlinearity="linear")
    last = vae.decoder[-1]
    nn.init.normal_(last.weight, std=0.02)  # pyright: ignore[reportArgumentType]
    nn.init.constant_(last.bias, 0.5)  # pyright: ignore[reportArgumentType]
