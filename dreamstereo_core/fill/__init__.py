"""Inpainters: what fills the holes that the warp opens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..devices import choose_device
from ..models.attention import Attention, sdpa
from ..models.files.checkpoint_file import WEIGHTS, CheckpointError, mark_of, open_checkpoint
from ..models.files.describe import describe_file
from ..models.files.load import load_network
from ..models.files.transformer import TRANSFORMER
from ..models.inpainter import INPAINTING
from ..models.lora import CONTEXT, load_lora, merge_loras
from ..models.transformer import Transformer
from ..models.vae.base import VideoVAE
from ..models.vae.checkpoint import load_vae
from .classic import ClassicInpainter
from .diffusion import DiffusionInpainter
from .inpainter import (
    DEFAULTS,
    FillOptions,
    Inpainter,
    MaskedFrame,
    MirroredInpainter,
    WrappedInpainter,
)
from .mini import MiniInpainter

__all__ = [
    "DEFAULTS",
    "INPAINTERS",
    "ClassicInpainter",
    "DiffusionInpainter",
    "FillOptions",
    "Inpainter",
    "MaskedFrame",
    "MiniInpainter",
    "MirroredInpainter",
    "WrappedInpainter",
    "check_space",
    "load_context",
    "load_inpainter",
]

MINI = "mini"
CLASSIC = "classic"
INPAINTERS = (MINI, CLASSIC)
"""Names that `load_inpainter` knows beside files."""
_log = logging.getLogger(__name__)


def load_inpainter(
    spec: str | Path = MINI,
    vae: str | Path | VideoVAE | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    *,
    loras: Sequence[tuple[str | Path, float]] = (),
    context: Tensor | str | Path | None = None,
    operations: Any = nn,
    attention: Attention = sdpa,
    memory: float | None = None,
    fill_size: tuple[int, int] | None = None,
) -> Inpainter:
    """Load an inpainter.

    Args:
        spec: "mini" (embedded weights: a small transformer refines what "classic" fills), "classic"
            (no weights), a file of `training/train_mini.py`, or the file or folder of an inpainting
            transformer: Wan 2.1 Fun-InP 1.3B, a DreamStereo model, or a T2V base together with a
            DreamStereo LoRA.
        vae: the autoencoder, or what `load_vae` takes; None = Wan's own, looked for beside the
            transformer and in the folder `vae` beside its folder.
        device: "auto" takes CUDA, then MPS, then the CPU.
        dtype: of weights and computation; None = the files' on a GPU, else float32.
        loras: files and strengths, merged into the weights.
        context: the text encoder's output `[1, L, text_dim]`, or a safetensors file with it under
            "context"; None = the one that a LoRA has brought, else the checkpoint's own, else
            zeros.
        operations: as for `Transformer`; `models.fp8.FP8` keeps 16-bit weights in 8 bits.
        attention: as for `Transformer`.
        memory: GiB of the device that it may take, weights and all; tiles and windows shrink to it.
        fill_size: height and width into which a transformer's frames are scaled while it fills
            them, so that it works at the size that it was trained at; None = the film's own.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file is of another model or damaged, or the model is no inpainting one; or
            `fill_size` is too small, or given for a fill that has none.

    Example:
        >>> import torch
        >>> inpainter = load_inpainter("classic")
        >>> video, hole = torch.rand(2, 3, 48, 64), torch.zeros(2, 1, 48, 64)
        >>> hole[..., 20:25] = 1
        >>> inpainter.inpaint(video, hole).shape
        torch.Size([2, 3, 48, 64])
    """
    path = WEIGHTS / "mini_inpainter.safetensors" if spec == MINI else Path(spec)
    small = spec in INPAINTERS or mark_of(path) == INPAINTING.mark
    if small and fill_size is not None:
        raise ValueError(
            f"fill_size: expected a diffusion transformer with it, got {spec}, which fills frames "
            "of any size"
        )
    if spec == CLASSIC:
        return ClassicInpainter()
    device = choose_device(device)
    if small:
        network = load_network(path, INPAINTING, device=device, operations=operations)
        return MiniInpainter(network)
    if not path.exists():
        known = ", ".join(INPAINTERS)
        raise FileNotFoundError(f"fill: expected {known} or a checkpoint file, got {str(spec)!r}")
    if dtype is None and device.type == "cpu":
        dtype = torch.float32
    options: dict[str, Any] = {"operations": operations, "attention": attention}
    transformer = load_network(path, TRANSFORMER, device=device, dtype=dtype, **options)
    narrow = transformer.config
    merge_loras(transformer, [(load_lora(file, transformer), scale) for file, scale in loras])
    if not transformer.config.is_inpainting:
        raise CheckpointError(
            f"{path}: expected an inpainting transformer; this one has "
            f"{transformer.config.in_dim} input channels: add the DreamStereo LoRA that was trained"
            " on it, or take a Fun-InP model"
        )
    if not isinstance(vae, VideoVAE):
        folders = (path.parent, path.parent.parent / "vae")
        vae = load_vae(vae or "wan", folders=folders, device=device, dtype=dtype)
    check_space(path, transformer, vae)
    if isinstance(context, str | Path):
        context = load_context(context)
    widened = transformer.config.in_dim > narrow.in_dim and narrow.cross_attention
    if context is None and widened and not transformer.config.learned_context:
        _log.warning(
            "%s: a context was learned with it, which is neither inside nor in context.safetensors "
            "beside it; zeros take its place: give it as the context",
            " and ".join(str(file) for file, strength in loras if strength),
        )
    limit = None if memory is None else int(memory * 2**30)
    return DiffusionInpainter(
        transformer,
        vae,
        context,
        device=device,
        memory=limit,
        fill_size=fill_size,
        name=path.stem,
    )


def load_context(path: str | Path) -> Tensor:
    """Read a context `[1, L, text_dim]` that `training/encode_prompt.py` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it holds no context, or not only finite numbers.
    """
    file = open_checkpoint(path)
    shape = file.shapes.get(CONTEXT, ())
    if len(shape) != 3 or shape[0] != 1:
        raise CheckpointError(
            f"{file.path}: expected a tensor 'context' of shape [1, L, text_dim], got "
            f"{list(shape) or f'none; this is {describe_file(file)}'}"
        )
    return file.read_weight(CONTEXT)


def check_space(path: str | Path, transformer: Transformer, vae: VideoVAE) -> None:
    """Require that both speak of the same latents.

    Raises:
        CheckpointError: the autoencoder's are others; the picture would be noise.
    """
    wanted, got = transformer.config.latent_space, vae.config.latent_space
    if wanted != got:
        raise CheckpointError(
            f"{path}: expected an autoencoder of the latent space {wanted!r}, on which the "
            f"transformer was trained; got one of {got!r}"
        )
    if transformer.config.out_dim != len(vae.config.mean):
        raise CheckpointError(
            f"{path}: expected a transformer of {len(vae.config.mean)} latent channels, as the "
            f"autoencoder's; got one of {transformer.config.out_dim}"
        )
