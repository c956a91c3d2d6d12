"""An inpainter whose weights ComfyUI moves between its devices."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import comfy.model_management
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..dreamstereo_core import DiffusionInpainter, Inpainter, MaskedFrame
from ..dreamstereo_core.fill import DEFAULTS, FillOptions
from ..dreamstereo_core.models.transformer import Transformer
from ..dreamstereo_core.models.vae.base import VideoVAE
from ..dreamstereo_core.types import Video

VAE_VALUES = 7000 * 64
"""Values that Wan's decoder holds for each latent pixel, as ComfyUI's own Wan VAE reckons."""


class InpainterWeights(nn.Module):
    """What has to be on the device together: neither half of an inpainter works alone."""

    def __init__(self, transformer: Transformer, vae: VideoVAE):
        super().__init__()
        self.transformer, self.vae = transformer, vae


class ManagedInpainter(Inpainter):
    """A diffusion inpainter that ComfyUI brings to `device` when a shot begins.

    Its memory is ComfyUI's to give: other models leave for it, and it leaves for others.
    """

    def __init__(
        self, inpainter: DiffusionInpainter, device: torch.device, offload_device: torch.device
    ):
        self.inpainter = replace(inpainter, device=device)
        self.name = inpainter.name
        self.patcher = ModelPatcher(
            InpainterWeights(inpainter.transformer, inpainter.vae), device, offload_device
        )

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill as the inpainter does."""
        frames = iter(frames)
        for first in frames:
            height, width = first.video.shape[-2:]
            itemsize = next(self.inpainter.vae.parameters()).element_size()
            comfy.model_management.load_models_gpu(
                [self.patcher],
                memory_required=VAE_VALUES * (height // 8) * (width // 8) * itemsize,
                # Less than 4 GB even of Wan 1.3B, of which all is used at every step.
                force_full_load=True,
            )
            yield from self.inpainter.stream(chain([first], frames), options)


def comfy_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend by the implementation that ComfyUI was started with, `[B, heads, L, head_dim]`."""
    return optimized_attention(
        query, key, value, query.shape[1], skip_reshape=True, skip_output_reshape=True
    )


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype in which ComfyUI would compute a Wan model on `device`."""
    if comfy.model_management.should_use_bf16(device):
        return torch.bfloat16
    return torch.float16 if comfy.model_management.should_use_fp16(device) else torch.float32
