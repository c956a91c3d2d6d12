"""Models whose weights ComfyUI moves between its devices."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from threading import Lock
from typing import Any

import comfy.model_management
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..dreamstereo_core import DiffusionInpainter, Inpainter, MaskedFrame
from ..dreamstereo_core.depth import (
    DepthEstimator,
    MiniDepth,
    SteadyDepth,
    TransformersDepth,
    VideoDepthAnything,
    WrappedDepth,
)
from ..dreamstereo_core.fill import DEFAULTS, FillOptions
from ..dreamstereo_core.models.transformer import Transformer
from ..dreamstereo_core.models.vae.base import VideoVAE
from ..dreamstereo_core.types import Video

VAE_VALUES = 7000 * 64
"""Values that Wan's decoder holds for each latent pixel, as ComfyUI's own Wan VAE reckons."""

_loading = Lock()
_at_work: list[ModelPatcher] = []


def bring(patcher: ModelPatcher, memory_required: float = 0, *, whole: bool = False) -> None:
    """Have ComfyUI bring a model to its device, beside those that `kept_together` names.

    Args:
        patcher: the model.
        memory_required: bytes that it needs there beside its weights.
        whole: load all of it, since it is small and used at every step.
    """
    with _loading:  # depth is estimated in a thread of its own
        comfy.model_management.load_models_gpu(
            [patcher, *(other for other in _at_work if other is not patcher)],
            memory_required=memory_required,
            force_full_load=whole,
        )


@contextmanager
def kept_together(*models: Any) -> Iterator[None]:
    """Let none of these models push another off the device: they work at the same time."""
    patchers = [found.patcher for model in models if (found := _innermost(model)) is not None]
    _at_work.extend(patchers)
    try:
        yield
    finally:
        del _at_work[:]  # ComfyUI runs one node at a time


def _innermost(model: Any) -> Any:
    """Return the managed model inside of its wrappers, None where there is none."""
    while model is not None and not hasattr(model, "patcher"):
        model = getattr(model, "estimator", None)
    return model


class InpainterWeights(nn.Module):
    """What has to be on the device together: neither half of an inpainter works alone."""

    def __init__(self, transformer: Transformer, vae: VideoVAE):
        super().__init__()
        self.transformer, self.vae = transformer, vae


class ManagedInpainter(Inpainter):
    """A diffusion inpainter that ComfyUI brings to `device` when a shot begins.

    Its memory is ComfyUI's to give: other models leave for it, and it leaves for others. `options`
    are its own; others than the defaults, which graphs of the first days give, go before them.
    """

    def __init__(
        self,
        inpainter: DiffusionInpainter,
        device: torch.device,
        offload_device: torch.device,
        options: FillOptions = DEFAULTS,
    ):
        self.inpainter = replace(inpainter, device=device)
        self.name = inpainter.name
        self.options = options
        self.patcher = ModelPatcher(
            InpainterWeights(inpainter.transformer, inpainter.vae), device, offload_device
        )

    @property
    def about(self) -> dict[str, Any]:
        """Return the inpainter's, and its own options."""
        return {**self.inpainter.about, **vars(self.options)}

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill as the inpainter does."""
        options = self.options if options == DEFAULTS else options
        frames = iter(frames)
        for first in frames:
            height, width = first.video.shape[-2:]
            height, width = self.inpainter.working_size((height, width))
            itemsize = next(self.inpainter.vae.parameters()).element_size()
            memory = VAE_VALUES * (height // 8) * (width // 8) * itemsize
            # Less than 4 GB even of Wan 1.3B.
            bring(self.patcher, memory, whole=True)
            yield from self.inpainter.stream(chain([first], frames), options)


class _Weights(nn.Module):
    """A network as ComfyUI can hold it: transformers' own models refuse attributes of others."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network


class ManagedDepth(WrappedDepth):
    """A large depth network that ComfyUI brings to `device` when frames come."""

    def __init__(
        self,
        estimator: TransformersDepth | VideoDepthAnything,
        device: torch.device,
        offload_device: torch.device,
    ):
        super().__init__(estimator)
        estimator.device = device
        self.patcher = ModelPatcher(_Weights(estimator.network), device, offload_device)

    def predict(
        self, video: Video, state: Any = None, *, new_shot: bool = False
    ) -> tuple[Tensor, Any]:
        """Predict as the estimator does."""
        bring(self.patcher, whole=True)
        return super().predict(video, state, new_shot=new_shot)

    def flush(self, state: Any) -> Tensor:
        """End a shot as the estimator does."""
        bring(self.patcher, whole=True)
        return super().flush(state)


def managed_depth(
    estimator: DepthEstimator, device: torch.device, offload_device: torch.device
) -> DepthEstimator:
    """Return the estimator with its network, if it has a large one, in ComfyUI's hands.

    The embedded one is small: ComfyUI need not move it about.
    """
    if isinstance(estimator, MiniDepth):
        estimator.network.to(device)
    if isinstance(estimator, SteadyDepth):
        estimator.estimator = managed_depth(estimator.estimator, device, offload_device)
    if isinstance(estimator, TransformersDepth | VideoDepthAnything):
        return ManagedDepth(estimator, device, offload_device)
    return estimator


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
