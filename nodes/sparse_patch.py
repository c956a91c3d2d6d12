"""Sparse tokens for ComfyUI's own Wan models: only what surrounds the holes is computed."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from comfy.ldm.common_dit import pad_to_patch_size
from comfy.ldm.wan.model import WanModel
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy_api.latest import io
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..dreamstereo_core import select_tokens
from ..dreamstereo_core.checks import check_finite
from ..dreamstereo_core.fill.holes import MULTIPLE, NARROW
from ..dreamstereo_core.masks import wide_parts
from ..dreamstereo_core.models.conditioning import FRAMES, PIXELS, missing_channels, to_latent_mask
from ..dreamstereo_core.models.config import INPAINTING_CHANNELS, LATENT_CHANNELS, PATCH
from ..dreamstereo_core.models.sparse import (
    gather_tokens,
    patchify,
    scatter_tokens,
    token_grid,
    token_mask,
)
from ..dreamstereo_core.types import LatentMask, OcclusionMask, TokenIndex
from .layout import to_occlusion_mask
from .wire_types import WAN, schema

KEY = "dreamstereo_sparse_tokens"


class SparseTokens(io.ComfyNode):
    """Patches a Wan MODEL so that it computes only the tokens around the holes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "SparseTokens",
            display_name="Sparse Tokens (Wan)",
            description=(
                "Makes a Wan model compute only the part of the video around the holes; the rest "
                "keeps the masked video's own latents. LoRAs, fp8 and samplers work as before."
            ),
            room=WAN,
            aliases=("sasi", "sparse", "inpainting speed-up", "wan"),
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip=(
                        "A Wan 2.1 or 2.2 (14B) text-to-video or inpainting model, from Load "
                        "Diffusion Model, with LoRAs or without."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    tooltip="1 = hole: a mask for each frame of the clip, or one for all of them.",
                ),
                io.Int.Input(
                    "dilation",
                    default=5,
                    min=1,
                    max=31,
                    step=2,
                    tooltip=(
                        "How far around the holes the model looks: side of a square in tokens of "
                        "16 pixels, odd. Larger: better context, slower."
                    ),
                ),
                io.Int.Input(
                    "temporal_stride",
                    default=0,
                    min=0,
                    max=64,
                    tooltip=(
                        "Also compute every n-th latent frame (4 frames of video) whole, from the "
                        "first on, for more context; 0 = none."
                    ),
                ),
                narrow_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The patched model.")],
        )

    @classmethod
    def execute(
        cls, model: ModelPatcher, mask: Tensor, dilation: int, temporal_stride: int, narrow: int
    ) -> io.NodeOutput:
        """Patch a clone."""
        check_model(model.get_model_object("diffusion_model"))
        holes = to_occlusion_mask(mask)
        check_finite("mask", holes)
        patch = SparsePatch(wide_parts(holes, narrow), dilation, temporal_stride or None)
        patched = model.clone()
        for kind, wrapper in (
            (WrappersMP.DIFFUSION_MODEL, patch.predict_velocity),
            (WrappersMP.APPLY_MODEL, patch.denoise),
        ):
            patched.remove_wrappers_with_key(kind, KEY)  # a second patch replaces the first
            patched.add_wrapper_with_key(kind, KEY, wrapper)
        return io.NodeOutput(patched)


def narrow_input() -> io.Int.Input:
    """Describe the width below which a hole keeps no tokens."""
    return io.Int.Input(
        "narrow",
        default=NARROW,
        min=1,
        max=64,
        tooltip=(
            "Holes of less pixels than this along a row are filled from beside them and keep no "
            "tokens; the same in Inpaint Conditioning and Sparse Tokens. 1 = none."
        ),
    )


class SparsePatch:
    """Two wrappers: one computes the kept tokens, one puts the known latents at all others."""

    def __init__(self, mask: OcclusionMask, dilation: int, temporal_stride: int | None):
        self.mask = mask
        self.dilation, self.temporal_stride = dilation, temporal_stride
        self._tokens: dict[tuple, TokenIndex] = {}

    def predict_velocity(
        self,
        executor: WrapperExecutor,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None,
        time_dim_concat: Tensor | None,
        transformer_options: dict[str, Any],
        **kwargs: Any,
    ) -> Tensor:
        """Wrap `WanModel._forward`; the velocity is 0 at tokens that are not kept.

        Raises:
            ValueError: the conditioning holds frames that are not the video's own.
        """
        foreign = {"time_dim_concat": time_dim_concat} | kwargs
        for name in ("time_dim_concat", "reference_latent"):
            if foreign.get(name) is not None:
                raise ValueError(f"Sparse Tokens (Wan): expected no {name} in the conditioning")
        model: WanModel = executor.class_obj
        forward = partial(_forward, model, self.tokens(x, transformer_options))
        # The wrappers behind this one stay in the chain; only its end is another.
        chain = WrapperExecutor.new_class_executor(
            forward, model, executor.wrappers, executor.idx + 1
        )
        return chain.execute(
            x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs
        )

    def denoise(
        self,
        executor: WrapperExecutor,
        x: Tensor,
        sigma: Tensor,
        c_concat: Tensor | None,
        c_crossattn: Tensor | None,
        control: Any,
        transformer_options: dict[str, Any],
        **kwargs: Any,
    ) -> Tensor:
        """Wrap `BaseModel._apply_model`: the known latents are the estimate where none is made.

        A text-to-video model is told no latents; its input stays as it is there.

        Raises:
            ValueError: an inpainting model is told no latents.
        """
        known = x if c_concat is None else known_latents(c_concat).to(x)
        tokens = self.tokens(x, transformer_options)
        if tokens.shape[1] == 0:
            return known
        made = executor(x, sigma, c_concat, c_crossattn, control, transformer_options, **kwargs)
        height, width = x.shape[-2:]
        shape = pad_to_patch_size(x[:1], PATCH).shape
        return torch.where(token_mask(tokens, shape)[..., :height, :width], made, known)

    def tokens(self, latent: Tensor, transformer_options: dict[str, Any]) -> TokenIndex:
        """Return the kept tokens `[1, K]` of a latent `[B, C, T', H', W']`, all of it or a window.

        Raises:
            ValueError: the mask does not fit the latent.
        """
        time, height, width = latent.shape[2:]
        window = transformer_options.get("context_window")
        frames = tuple(range(time) if window is None else window.index_list)
        key = (frames, height, width, latent.device)
        if key not in self._tokens:
            count = time if window is None else max(len(self.mask) // FRAMES, max(frames)) + 1
            mask = to_latents(self.mask, count, height, width)[:, :, list(frames)]
            tokens = select_tokens(
                mask, dilation=self.dilation, temporal_stride=self.temporal_stride
            )
            self._tokens[key] = tokens.to(latent.device)
        return self._tokens[key]


def check_model(model: Any) -> None:
    """Require a Wan model whose tokens are the video's alone.

    Raises:
        ValueError: it is another model, or a variant with more inputs (VACE, camera, sound ...).
    """
    # Variants are subclasses with a forward_orig of their own.
    if type(model) is not WanModel:
        got = type(model).__name__
    elif model.patch_embedding.weight.shape[1] not in (LATENT_CHANNELS, INPAINTING_CHANNELS):
        got = f"a Wan model with {model.patch_embedding.weight.shape[1]} input channels"
    else:
        return
    raise ValueError(
        "model: expected a Wan 2.1 or 2.2 (14B) text-to-video or inpainting model with "
        f"{LATENT_CHANNELS} or {INPAINTING_CHANNELS} input channels, got {got}"
    )


def known_latents(c_concat: Tensor) -> Tensor:
    """Take the masked video's latents `[B, 16, T', H', W']` from the mask and them.

    Raises:
        ValueError: there are none.
    """
    known = c_concat[:, -LATENT_CHANNELS:]
    if not bool(known.any()):
        raise ValueError(
            "Sparse Tokens (Wan): expected the masked video's latents in the conditioning, "
            "positive and negative, got none; connect Inpaint Conditioning (Wan)"
        )
    return known


def to_latents(mask: OcclusionMask, time: int, height: int, width: int) -> LatentMask:
    """Bring a mask `[T, 1, H, W]` of any size to latents; odd sizes grow to whole tokens.

    Raises:
        ValueError: its frames or its proportions are another clip's.
    """
    needed = 1 + FRAMES * (time - 1)
    frames, _, mask_height, mask_width = mask.shape
    # A clip that is no 4n + 1 frames long is either cut or padded before it is encoded.
    if frames != 1 and abs(frames - needed) >= FRAMES:
        raise ValueError(f"mask: expected 1 frame or the video's {needed}, got {frames}")
    if abs(mask_height * width / mask_width - height) * PIXELS > MULTIPLE:
        raise ValueError(
            f"mask: expected the proportions of the video's {width * PIXELS} x {height * PIXELS} "
            f"pixels, got {mask_width} x {mask_height}"
        )
    mask = mask[[min(t, frames - 1) for t in range(needed)]]
    bottom, right = height * PIXELS - mask_height, width * PIXELS - mask_width
    if 0 <= bottom < MULTIPLE and 0 <= right < MULTIPLE:
        mask = F.pad(mask, (0, right, 0, bottom), mode="replicate")  # as the video was
    # A pixel counts wherever it reaches, so that no hole is lost on the way.
    mask = F.adaptive_max_pool2d(mask, (height * PIXELS, width * PIXELS))
    missing = missing_channels(mask.movedim(1, 0).unsqueeze(0))
    return F.pad(to_latent_mask(missing), (0, width % PATCH[2], 0, height % PATCH[1]))


def _forward(
    model: WanModel,
    tokens: TokenIndex,
    x: Tensor,
    timestep: Tensor,
    context: Tensor,
    clip_fea: Tensor | None,
    time_dim_concat: None,
    transformer_options: dict[str, Any],
    **kwargs: Any,
) -> Tensor:
    """Do what `WanModel._forward` does, on the kept tokens alone."""
    size = x.shape[2:]
    freqs = model.rope_encode(
        *size, device=x.device, dtype=x.dtype, transformer_options=transformer_options
    )  # [1, N, ...]
    x = pad_to_patch_size(x, PATCH)
    (t, h, w), kept = token_grid(x), tokens.expand(len(x), -1)
    # The kept patches side by side are a video too, one latent frame that is one token high.
    strip = rearrange(
        gather_tokens(patchify(x), kept),
        "b k (c p q) -> b c 1 p (k q)",
        p=PATCH[1],
        q=PATCH[2],
    )
    strip = model.forward_orig(
        strip,
        timestep,
        context,
        clip_fea=clip_fea,
        freqs=freqs[:, tokens[0]],
        transformer_options=transformer_options,
        **kwargs,
    )
    velocity = rearrange(
        scatter_tokens(patchify(strip), kept, t * h * w),
        "b (t h w) (c p q) -> b c t (h p) (w q)",
        t=t,
        h=h,
        p=PATCH[1],
        q=PATCH[2],
    )
    return velocity[..., : size[1], : size[2]]
