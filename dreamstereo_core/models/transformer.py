"""The video transformer of Wan 2.1, dense or over kept tokens only.

The architecture follows "Wan: Open and Advanced Large-Scale Video Generative Models" (2025); the
parameters have the original files' names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..types import TokenIndex
from .attention import Attention, Grid, Rotation, rope_rotation, sdpa
from .conditioning import Conditioning, EncodedContext
from .config import INPAINTING_CHANNELS, PATCH, TransformerConfig
from .layers import Block, Head, ImageEmbedding, feed_forward, timestep_embedding
from .sparse import gather_tokens, pad_tokens, patchify, scatter_tokens, token_grid, unpatchify


class Transformer(nn.Module):
    """Predicts the velocity of flow matching, eps - z0.

    Args:
        config: its sizes.
        operations: namespace of `Linear`, `Conv3d`, `LayerNorm` and `RMSNorm`; torch.nn's, or
            others that cast or patch weights as they run.
        attention: function of query, key and value, each `[B, heads, L, head_dim]`.
    """

    def __init__(
        self, config: TransformerConfig, *, operations: Any = nn, attention: Attention = sdpa
    ):
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embedding = operations.Conv3d(
            config.in_dim, dim, kernel_size=PATCH, stride=PATCH
        )
        self.time_embedding = nn.Sequential(
            operations.Linear(config.freq_dim, dim), nn.SiLU(), operations.Linear(dim, dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), operations.Linear(dim, 6 * dim))
        if config.cross_attention:
            self.text_embedding = feed_forward(config.text_dim, dim, dim, operations)
        if config.image_dim is not None:
            self.img_emb = ImageEmbedding(config.image_dim, dim, operations=operations)
        if config.learned_context:
            self.context = nn.Parameter(torch.zeros(1, config.text_len, config.text_dim))
        self.blocks = nn.ModuleList(
            Block(config, operations=operations, attention=attention)
            for _ in range(config.num_layers)
        )
        self.head = Head(config, operations=operations)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the computation; bfloat16 if the weights have only 8 bits."""
        dtype = self.patch_embedding.weight.dtype
        return dtype if dtype.itemsize > 1 else torch.bfloat16

    def initialize_weights(self) -> None:
        """Draw the weights for training from scratch; the head starts at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv3d):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]
        for embedding in (self.time_embedding, getattr(self, "text_embedding", ())):
            for module in embedding:
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.head.head.weight)

    def default_context(self) -> Tensor | None:
        """Return the learned context, else zeros `[1, 1, text_dim]`; None without cross-attention.

        Wan's own empty prompt is little else than zeros, since it is padded with them to text_len.
        """
        if self.config.learned_context:
            return self.context
        return torch.zeros(1, 1, self.config.text_dim) if self.config.cross_attention else None

    def encode_context(
        self, context: Tensor | None = None, image: Tensor | None = None
    ) -> EncodedContext:
        """Compute the cross-attention's keys and values of a context, once for many calls.

        Args:
            context: `[B or 1, L, text_dim]`, L at most text_len (padded with zeros); None = the
                learned context of the checkpoint.
            image: CLIP features `[B or 1, I, image_dim]`; None = zeros.

        Raises:
            ValueError: a shape does not fit the config, or there is no context.
        """
        config = self.config
        if not config.cross_attention:
            if context is not None or image is not None:
                raise ValueError("context: expected None, since this model has no cross-attention")
            return EncodedContext(((),) * config.num_layers)
        text = self.text_embedding(self._context(context).to(self.dtype))
        image_tokens = None
        if config.image_dim is not None:
            # Attention to any number of equal tokens gives that token, so one stands for 257.
            features = text.new_zeros(1, 1, config.image_dim) if image is None else image.to(text)
            _check_width("image", features, config.image_dim)
            image_tokens = self.img_emb(features)
        elif image is not None:
            raise ValueError("image: expected None, since this model has no image branch")
        return EncodedContext(
            tuple(block.cross_attn.keys_values(text, image_tokens) for block in self._blocks())
        )

    def prepare(
        self,
        timestep: Tensor,
        context: Tensor | EncodedContext | None = None,
        *,
        image: Tensor | None = None,
    ) -> Conditioning:
        """Compute all that depends only on the timestep and the context, once for many calls.

        Args:
            timestep: `[B or 1]` in [0, 1], 1 = pure noise; on the device to compute on.
            context: as for `encode_context`, or its result.
            image: as for `encode_context`.

        Raises:
            ValueError: a shape does not fit the config, or there is no context.
        """
        if timestep.ndim != 1:
            raise ValueError(f"timestep: expected shape [B], got {list(timestep.shape)}")
        if not isinstance(context, EncodedContext):
            context = self.encode_context(context, image)
        weight: Tensor = self.time_embedding[0].weight  # pyright: ignore[reportAssignmentType]
        dtype = weight.dtype if weight.dtype.itemsize > 1 else torch.float32
        sinusoid = timestep_embedding(timestep, self.config.freq_dim).to(timestep.device, dtype)
        embedding = self.time_embedding(sinusoid)  # [B, dim]
        parts = self.time_projection(embedding).unflatten(1, (6, -1)).float()  # [B, 6, dim]
        last = embedding.float().unsqueeze(1)  # [B, 1, dim]
        return Conditioning(
            modulations=tuple(block.modulation.to(parts) + parts for block in self._blocks()),
            head_modulation=self.head.modulation.to(last) + last,
            context=context,
        )

    def forward(
        self,
        latent: Tensor,
        conditioning: Conditioning,
        tokens: TokenIndex | None = None,
        *,
        bucket: int | None = None,
    ) -> Tensor:
        """Predict the velocity.

        Args:
            latent: `[B, in_dim, T', H', W']`, H' and W' even.
            conditioning: of `prepare`, for B clips or for one.
            tokens: `[B, K]` kept tokens; the others take no part. None = all.
            bucket: fill the kept tokens up to a multiple of this with some that nobody sees, so
                that a compiler or a CUDA graph meets few shapes. The result is the same.

        Returns:
            `[B, out_dim, T', H', W']` in the latent's dtype; 0 at tokens that are not kept.

        Raises:
            ValueError: a shape does not fit.
        """
        grid = self._check(latent, conditioning, tokens)
        if tokens is not None and tokens.shape[1] == 0:
            return latent.new_zeros(len(latent), self.config.out_dim, *latent.shape[2:])
        every = patchify(latent.to(self.dtype))  # [B, N, in_dim * 4]
        if tokens is None:
            positions = torch.arange(every.shape[1], device=every.device).unsqueeze(0)
            x = self._tokens(every, conditioning, self._rotation(positions, grid))
        else:
            padded, visible = (tokens, None) if bucket is None else pad_tokens(tokens, bucket)
            kept = gather_tokens(every, padded)  # [B, K, in_dim * 4]
            x = self._tokens(kept, conditioning, self._rotation(padded, grid), visible)
            x = scatter_tokens(x[:, : tokens.shape[1]], tokens, every.shape[1])
        return unpatchify(x, grid).to(latent.dtype)

    def _rotation(self, tokens: TokenIndex, grid: Grid) -> Rotation:
        return rope_rotation(tokens, grid, self.config.head_dim)

    def _tokens(
        self,
        x: Tensor,
        conditioning: Conditioning,
        rotation: Rotation,
        visible: Tensor | None = None,
    ) -> Tensor:
        # The kept patches lie side by side as one strip. The convolution's stride is its kernel, so
        # it embeds just these patches, whatever the operations do to its weight.
        strip = x.unflatten(2, (-1, *PATCH)).movedim(1, -2).flatten(-2)  # [B, C, 1, 2, 2K]
        x = self.patch_embedding(strip).flatten(2).transpose(1, 2)  # [B, K, dim]
        blocks = zip(
            self._blocks(), conditioning.modulations, conditioning.context.keys_values, strict=True
        )
        for block, modulation, keys_values in blocks:
            x = block(x, modulation, rotation, keys_values, visible)
        return self.head(x, conditioning.head_modulation)

    def _blocks(self) -> list[Block]:
        return list(self.blocks)  # pyright: ignore[reportReturnType]

    def _context(self, context: Tensor | None) -> Tensor:
        config = self.config
        if context is None:
            if not config.learned_context:
                raise ValueError(
                    "context: expected the text encoder's output, since this model has no context "
                    "of its own, got None"
                )
            return self.context
        _check_width("context", context, config.text_dim)
        missing = config.text_len - context.shape[1]
        if missing < 0:
            raise ValueError(
                f"context: expected at most {config.text_len} tokens, got {context.shape[1]}"
            )
        return F.pad(context, (0, 0, 0, missing))

    def _check(self, latent: Tensor, conditioning: Conditioning, tokens: TokenIndex | None) -> Grid:
        grid = token_grid(latent)
        batch, channels = latent.shape[:2]
        if channels != self.config.in_dim:
            raise ValueError(f"latent: expected {self.config.in_dim} channels, got {channels}")
        keys_values = conditioning.context.keys_values[:1]
        clips = {conditioning.head_modulation.shape[0]}
        clips |= {key.shape[0] for pairs in keys_values for key, _ in pairs}
        if not clips <= {1, batch}:
            raise ValueError(
                f"conditioning: expected one for 1 or {batch} clips, got one for {max(clips)}"
            )
        if tokens is not None and (
            tokens.ndim != 2 or tokens.shape[0] != batch or tokens.dtype != torch.int64
        ):
            raise ValueError(
                f"tokens: expected shape [{batch}, K] int64, got {list(tokens.shape)} "
                f"{tokens.dtype}"
            )
        return grid


def widen_for_inpainting(model: Transformer) -> Transformer:
    """Turn a T2V base into a DreamStereo model to be trained (paper, Sec. 3.3).

    The new input channels start at zero and the context is one of zeros, so that at first the model
    predicts what the base does. The two share all other weights.

    Raises:
        ValueError: the model already has other input channels than the noise.
    """
    config = model.config
    if config.in_dim != config.out_dim:
        raise ValueError(
            f"model: expected {config.out_dim} input channels (a T2V model), got {config.in_dim}"
        )
    config = replace(config, in_dim=INPAINTING_CHANNELS, learned_context=config.cross_attention)
    with torch.device("meta"):
        wide = Transformer(config)
    state = model.state_dict()
    weight = state["patch_embedding.weight"]  # [dim, 16, 1, 2, 2]
    extra = INPAINTING_CHANNELS - weight.shape[1]
    state["patch_embedding.weight"] = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, extra))
    if config.learned_context:
        state["context"] = weight.new_zeros(1, config.text_len, config.text_dim)
    wide.load_state_dict(state, strict=True, assign=True)
    return wide


def _check_width(name: str, tokens: Tensor, width: int) -> None:
    if tokens.ndim != 3 or tokens.shape[-1] != width:
        raise ValueError(f"{name}: expected shape [B, L, {width}], got {list(tokens.shape)}")
