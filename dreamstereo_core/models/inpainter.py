"""`mini`'s network: a sparse video transformer with convolutions around it.

It makes a first fill better. Convolutions turn each 16 pixels squared, as of Wan's tokens, into a
token and back; the tokens around the holes alone take part (SASI, paper, Sec. 3.3), and attend to
one another and to those of the frames before. One step, and no autoencoder: a small one would be
too soft.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..types import OcclusionMask, TokenIndex, Video
from .attention import KeyValue, Rotation, SelfAttention, rope_rotation, sdpa
from .files.load import NetworkKind
from .files.stored_config import check_sizes, read_config
from .layers import feed_forward
from .sparse import dilate_tokens, gather_tokens
from .unet import COARSEST, UNet
from .vae.base import channels_innermost

LONGEST_MEMORY = 64
"""Most frames in the memory; each keeps its tokens' keys and values."""


@dataclass(frozen=True)
class InpaintingConfig:
    """The transformer's sizes."""

    dim: int = 192
    ffn_dim: int = 576
    num_heads: int = 6
    num_layers: int = 4
    memory: int = 2
    """How many frames before the current one its tokens attend to."""

    def __post_init__(self) -> None:
        names = ("dim", "ffn_dim", "num_heads", "num_layers")
        check_sizes({name: getattr(self, name) for name in names})
        check_sizes({"memory": self.memory}, least=0, most=LONGEST_MEMORY)
        if self.dim % self.num_heads or self.dim // self.num_heads % 2:
            raise ValueError(
                f"dim, num_heads: expected dim / num_heads to be an even number, got "
                f"{self.dim} / {self.num_heads}"
            )


@dataclass
class Memory:
    """What the network keeps of a shot's earlier frames, and how many there were."""

    frames: int = 0
    past: deque[tuple[int, list[KeyValue]]] = field(default_factory=deque)
    """The number of each frame, with the keys and values of its tokens in each layer."""

    def copy(self) -> Memory:
        """Return the same memory, which later frames do not change."""
        return Memory(self.frames, deque(self.past))


class InpaintingNetwork(nn.Module):
    """Corrects the fill of holes; known pixels stay as they are.

    Args:
        config: the transformer's sizes.
        operations: namespace of `Conv2d`, `Linear`, `LayerNorm` and `RMSNorm`; torch.nn's, or
            others that cast weights as they run.
    """

    def __init__(self, config: InpaintingConfig | None = None, operations: Any = nn):
        super().__init__()
        self.config = config = config or InpaintingConfig()
        self.unet = UNet(config.dim, operations)
        self.blocks = nn.ModuleList(_Block(config, operations) for _ in range(config.num_layers))

    def initialize_weights(self) -> None:
        """Draw the weights for training from scratch, so that at first nothing is added."""
        self.unet.initialize_weights()
        for name, parameter in self.blocks.named_parameters():
            if name.endswith(("attn.o.weight", "ffn.2.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * len(self.blocks)) ** 0.5)
            elif name.endswith(("attn.o.bias", "ffn.2.bias")):
                nn.init.zeros_(parameter)

    def forward(
        self, filled: Video, occlusion_mask: OcclusionMask, *, dilation: int | None = 5
    ) -> Video:
        """Return corrected clips, all frames at once; `step` gives the same frame by frame.

        Args:
            filled: clips with their holes filled, `[B, T, 3, H, W]`, any H and W.
            occlusion_mask: `[B, T, 1, H, W]`, 1 in the holes that are to be refined, else 0.
            dilation: side of the square, in tokens and odd, by which the holes grow to the tokens
                that are computed; None computes every token.
        """
        clips, frames = filled.shape[:2]
        flat, mask = filled.flatten(0, 1), occlusion_mask.flatten(0, 1)
        *finer, middle = self.unet.encode(flat, mask)
        kept = touched_tokens(mask, dilation).unflatten(0, (clips, frames))  # [B, T, h, w]
        tokens = rearrange(middle, "(b t) c h w -> b (t h w) c", b=clips)
        grid = frames, middle.shape[-2], middle.shape[-1]
        every = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        rotation = rope_rotation(every, grid, self.config.dim // self.config.num_heads)
        x, visible = tokens, self._visible(kept)
        for block in self.blocks:
            x, _ = block(x, rotation, (), visible)
        x = torch.where(kept.flatten(1).unsqueeze(2), x, tokens)
        middle = rearrange(x.to(middle), "b (t h w) c -> (b t) c h w", t=frames, h=grid[1])
        added = self.unet.decode([*finer, middle], (flat.shape[-2], flat.shape[-1]))
        return filled + (added * mask).to(filled).unflatten(0, (clips, frames))

    def step(
        self,
        filled: Video,
        occlusion_mask: OcclusionMask,
        memory: Memory,
        *,
        dilation: int | None = 5,
    ) -> Video:
        """Return the next frame of a shot corrected; only tokens around holes are computed.

        Args:
            filled: the frame with its holes filled, `[1, 3, H, W]`, any H and W.
            occlusion_mask: `[1, 1, H, W]`, 1 in the holes that are to be refined, else 0.
            memory: the memory of this shot's earlier frames; this frame is added to it.
            dilation: as in `forward`.
        """
        number = memory.frames
        memory.frames += 1
        while memory.past and memory.past[0][0] < number - self.config.memory:
            memory.past.popleft()
        if not occlusion_mask.any():
            return filled
        *finer, middle = self.unet.encode(filled, occlusion_mask)
        kept = touched_tokens(occlusion_mask, dilation)
        middle = self._attend(middle, kept.flatten().nonzero().T, memory, number)
        added = self.unet.decode([*finer, middle], (filled.shape[-2], filled.shape[-1]))
        return filled + (added * occlusion_mask).to(filled)

    def _attend(self, middle: Tensor, tokens: TokenIndex, memory: Memory, number: int) -> Tensor:
        """Return `[1, C, h, w]` in which the kept tokens `[1, K]` have attended."""
        every = rearrange(middle, "1 c h w -> 1 (h w) c")
        grid = 1, middle.shape[-2], middle.shape[-1]
        head_dim = self.config.dim // self.config.num_heads
        rotation = rope_rotation(tokens, grid, head_dim, start=number)
        x = gather_tokens(every, tokens)
        own = []
        for layer, block in enumerate(self.blocks):
            x, key_value = block(x, rotation, [past[layer] for _, past in memory.past])
            own.append(key_value)
        memory.past.append((number, own))
        x = every.scatter(1, tokens.unsqueeze(2).expand_as(x), x)
        return rearrange(x, "1 (h w) c -> 1 c h w", h=grid[1])

    def _visible(self, kept: Tensor) -> Tensor:
        """Return which tokens of `[B, T, h, w]` each attends to, `[B, 1, T h w, T h w]` bool."""
        frames, height, width = kept.shape[1:]
        time = torch.arange(frames, device=kept.device).repeat_interleave(height * width)
        age = time[:, None] - time
        near = (age >= 0) & (age <= self.config.memory)
        # A token that takes no part attends to itself, since an empty row would give NaN.
        itself = torch.eye(len(time), dtype=torch.bool, device=kept.device)
        return near & kept.flatten(1)[:, None, None] | itself


class _Block(nn.Module):
    def __init__(self, config: InpaintingConfig, operations: Any):
        super().__init__()
        dim = config.dim
        self.norm1 = operations.LayerNorm(dim)
        self.attn = SelfAttention(
            dim, config.num_heads, 1e-6, operations=operations, attention=sdpa
        )
        self.norm2 = operations.LayerNorm(dim)
        self.ffn = feed_forward(dim, config.ffn_dim, dim, operations)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation,
        past: list[KeyValue] | tuple[()],
        visible: Tensor | None = None,
    ) -> tuple[Tensor, KeyValue]:
        query, key, value = self.attn.project(self.norm1(x), rotation)
        keys = torch.cat([*(k for k, _ in past), key], dim=2)
        values = torch.cat([*(v for _, v in past), value], dim=2)
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=visible)
        x = x + self.attn.merge(attended)
        return x + self.ffn(self.norm2(x)), (key, value)


def touched_tokens(occlusion_mask: OcclusionMask, dilation: int | None) -> Tensor:
    """Return the tokens that holes touch, dilated, `[T, 1, H, W]` -> `[T, h, w]` bool.

    With None they are all tokens of the frames that have holes.

    Raises:
        ValueError: the dilation is not an odd number.
    """
    height, width = occlusion_mask.shape[-2:]
    mask = F.pad(occlusion_mask, (0, -width % COARSEST, 0, -height % COARSEST))
    touched = F.max_pool2d((mask > 0).float(), COARSEST)[:, 0]
    if dilation is None:
        return (touched.amax((1, 2), keepdim=True) > 0).expand_as(touched)
    return dilate_tokens(touched, dilation)


INPAINTING: NetworkKind[InpaintingNetwork] = NetworkKind(
    title="a DreamStereo inpainter",
    mark="inpainter",
    build=InpaintingNetwork,
    parse=partial(read_config, InpaintingConfig),
    blocks=lambda config: config.num_layers,
    finish=channels_innermost,
)
"""The network of the fill `mini`."""
