"""Say beforehand what a diffusion fill needs of a device's memory, and what fits into it.

The networks themselves run on the meta device, which has shapes and no numbers, and the tensors
they make are counted. So the figures follow the code; what a kernel takes for itself within one
operation, and what a device's driver takes, comes on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import nn

from ..models.conditioning import Conditioning
from ..models.config import MASK_CHANNELS, PATCH, TransformerConfig
from ..models.files.transformer import FLOAT32
from ..models.fp8 import FP8, Fp8Linear
from ..models.memory import FlashAttention, MemoryCount
from ..models.transformer import Transformer
from ..models.vae.base import GROUP
from ..models.vae.checkpoint import build_vae
from ..models.vae.config import VAEConfig
from ..sampling import denoise, sigmas

WINDOWS = (21, 15, 11, 8, 6)
"""Latent frames of a window, from good to frugal; 21 are 81 frames."""
TILES = (None, 512, 256)
"""Sides of the autoencoder's tiles in pixels; None is the whole frame. Smaller ones share so much
that together they remember more than they save."""
FRAME_BYTES = 4 * (3 + 1 + 3 + 1 + 1)
"""Of a pixel while its frame waits for its fill: picture, depth, warp, mask and disparity."""


FINISH_BYTES = 4 * 20
"""Of a pixel while a decoded frame is brought to the film's size and its tones are corrected."""


@dataclass(frozen=True)
class Demand:
    """The bytes that one way to fill needs, and which way it is."""

    window: int
    """Latent frames that the transformer sees at once."""
    tile: int | None
    """Side of the autoencoder's tiles in pixels; None is the whole frame."""
    fp8: bool
    """Whether the transformer's weights are kept in 8 bits."""
    weights: int
    caches: int
    """Of the encoder and the decoder between two groups of frames, and the window's latents."""
    transformer: int
    """While a window is inpainted, beside the weights and the caches."""
    encoder: int
    decoder: int
    waiting: int
    """In main memory: frames that wait for a window to be full, and what is known of them."""

    @property
    def peak(self) -> int:
        """Bytes of the device at the worst moment."""
        return self.weights + self.caches + max(self.transformer, self.encoder, self.decoder)


@dataclass(frozen=True)
class Work:
    """What is to be filled, and by what."""

    transformer: TransformerConfig
    vae: VAEConfig
    size: tuple[int, int]
    """Height and width in pixels, as the networks see the frames."""
    dtype: torch.dtype = torch.bfloat16
    share: float = 0.5
    """Kept tokens of a window; 0.35 is the paper's mean, and a window may hold more than that."""
    film: tuple[int, int] | None = None
    """Height and width of the film, where it is filled at another size than its own."""

    @property
    def latent(self) -> tuple[int, int]:
        """Height and width in latents, filled up to whole tokens."""
        height, width = (-(-n // 16) * 2 for n in self.size)
        return height, width


def find_fit(work: Work, memory: int, choices: Iterable[Demand] | None = None) -> Demand | None:
    """Return the first way that needs at most `memory` bytes; None if none does.

    Args:
        work: what is to be filled.
        memory: bytes of the device that may be taken.
        choices: the ways to fill, by preference; None takes all of `ways`.

    Example:
        >>> from dreamstereo_core.models.config import DREAMSTEREO_1_3B
        >>> from dreamstereo_core.models.vae.config import WAN
        >>> work = Work(DREAMSTEREO_1_3B, WAN, size=(480, 832))
        >>> fit = find_fit(work, 24 * 2**30)
        >>> fit.window, fit.tile, fit.fp8
        (21, None, False)
    """
    choices = ways(work) if choices is None else choices
    return next((way for way in choices if way.peak <= memory), None)


def ways(
    work: Work,
    windows: Sequence[int] = WINDOWS,
    fp8: Sequence[bool] = (False, True),
    tiles: Sequence[int | None] = TILES,
) -> Iterator[Demand]:
    """Yield the ways to fill, from fast to frugal: small tiles, then 8 bits, then short windows."""
    for window, small, tile in product(windows, fp8, tiles):
        yield demand(work, window, tile, fp8=small)


@torch.no_grad()
def demand(work: Work, window: int, tile: int | None, *, fp8: bool = False) -> Demand:
    """Return what one way to fill needs."""
    autoencoder, weights = _autoencoder(work, tile), _weights(work, fp8)
    height, width = work.film or work.size
    return Demand(
        window=window,
        tile=tile,
        fp8=fp8,
        weights=weights.transformer + weights.context + autoencoder.weights,
        caches=autoencoder.caches + _latent_bytes(work, window),
        transformer=_window(work, window) + weights.largest,
        encoder=autoencoder.encoder,
        decoder=max(autoencoder.decoder, height * width * FINISH_BYTES),
        waiting=(GROUP * window + 1) * height * width * FRAME_BYTES,
    )


@dataclass(frozen=True)
class _Autoencoder:
    weights: int
    caches: int
    encoder: int
    decoder: int


@dataclass(frozen=True)
class _Weights:
    transformer: int
    context: int
    largest: int
    """Of the layer that is widened from 8 bits while it runs."""


@cache
def _autoencoder(work: Work, tile: int | None) -> _Autoencoder:
    with torch.device("meta"):
        vae = build_vae(work.vae).to(work.dtype).requires_grad_(False)
    height, width = (8 * n for n in work.latent)
    with FlashAttention(), MemoryCount() as count:
        cache = None
        for frames in (1, GROUP, GROUP):
            video = torch.empty(1, 3, frames, height, width, device="meta")
            _, cache = vae.encode_chunk(video, cache, tile=tile)
        encoder, kept = count.peak, count.live  # what `cache` holds stays
        count.restart()
        decoded = None
        for _ in range(3):
            latent = torch.empty(1, len(vae.config.mean), 1, *work.latent, device="meta")
            _, decoded = vae.decode_chunk(latent, decoded, tile=tile)
        caches = count.live
    return _Autoencoder(_bytes(vae), caches, encoder - kept, count.peak - caches)


@cache
def _window(work: Work, window: int) -> int:
    """Return the bytes of one window's activations."""
    config = work.transformer
    model = _meta_transformer(config, work.dtype, fp8=False)
    height, width = work.latent
    tokens = window * height * width // (PATCH[1] * PATCH[2])
    with FlashAttention(), torch.device("meta"):
        parts = torch.empty(1, 6, config.dim)
        context = model.encode_context(model.default_context())
        conditioning = Conditioning((parts,) * config.num_layers, parts[:, :2], context)
        kept = torch.empty(1, max(1, round(work.share * tokens)), dtype=torch.int64)
        with MemoryCount() as count:
            latents = torch.empty(1, config.out_dim, window, height, width)
            missing = torch.empty(1, MASK_CHANNELS, window, height, width)
            denoise(
                model,
                torch.empty_like(latents),
                missing,
                latents,
                schedule=sigmas(1),
                conditionings=[conditioning],
                tokens=kept,
            )
    return count.peak


@cache
def _weights(work: Work, fp8: bool) -> _Weights:
    model = _meta_transformer(work.transformer, work.dtype, fp8=fp8)
    context = 0
    with torch.device("meta"):
        for pairs in model.encode_context(model.default_context()).keys_values:
            context += sum(x.numel() * x.itemsize for pair in pairs for x in pair)
    small = [m for m in model.modules() if isinstance(m, Fp8Linear) and m.weight.itemsize == 2]
    saved = sum(m.weight.numel() - 4 * m.out_features for m in small)
    largest = max((2 * m.weight.numel() for m in small), default=0)
    return _Weights(_bytes(model) - saved, context, largest)


def _meta_transformer(config: TransformerConfig, dtype: torch.dtype, *, fp8: bool) -> Transformer:
    """Return the transformer without numbers, in the precisions of a loaded one."""
    with torch.device("meta"):
        model = Transformer(config, operations=FP8 if fp8 else nn).to(dtype).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.startswith(FLOAT32) or name.endswith("modulation"):
            parameter.data = parameter.data.float()
    return model


def _latent_bytes(work: Work, window: int) -> int:
    """Return the bytes of a window's latents and masks, and of the window's before it."""
    height, width = work.latent
    return 4 * (2 * len(work.vae.mean) + MASK_CHANNELS) * window * height * width


def _bytes(module: nn.Module) -> int:
    return sum(x.numel() * x.itemsize for x in module.state_dict().values())
