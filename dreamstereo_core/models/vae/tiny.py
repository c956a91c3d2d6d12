"""Tiny autoencoders of 2-D convolutions, whose blocks also see the frame before.

The layout and the parameter names are those of madebyollin/taehv (MIT), so that taew2_1 and
lighttaew2_1 load. Inside, a video is ``[B, T, C, H, W]``.

Time: latent k stands for the frames that Wan's does, 4k - 3 to 4k, and the decoder's first three
frames are dropped. But the encoder reads frames 0 to 4k + 3 for it, in groups of four from the
first frame on: the published weights learned Wan's latents of 12 frames from frames grouped like
that (madebyollin/seraena, TAEHV_Training_Example). So a video is filled up at its end, as taehv's
`encode_video` does; three frames put before it would shift what they see by three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import GROUP, VideoVAE, channels_innermost
from .config import TAEW, TinyVAEConfig
from .tiles import Memory, Step


def _frames(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a layer of pictures to each frame of ``[B, T, C, H, W]``."""
    y = layer(x.flatten(0, 1))
    return y.unflatten(0, x.shape[:2])


def _pictures(
    layer: Callable[[Tensor], Tensor], radius: int = 0, up: int = 1, down: int = 1
) -> Step:
    return Step(lambda x, past: (_frames(layer, x), past), radius, up, down)


class MemBlock(nn.Module):
    """Three convolutions that see a frame and the one before it, with a residual."""

    def __init__(self, width: int, ops: Any) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            ops.Conv2d(width * 2, width, 3, padding=1),
            nn.ReLU(inplace=True),
            ops.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            ops.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        """Return the block's output; the memory is its last input frame."""
        if past is None:
            past = torch.zeros_like(x[:, :1])
        before = torch.cat((past, x[:, :-1]), 1)
        y = _frames(self.conv, torch.cat((x, before), 2)) + x
        return F.relu_(y), x[:, -1:].clone(memory_format=torch.preserve_format)

    def step(self) -> Step:
        """Return the block as a step of three 3x3 convolutions."""
        return Step(self, radius=3)


class TimePool(nn.Module):
    """Turn `stride` frames into one by a 1x1 convolution."""

    def __init__(self, width: int, stride: int, ops: Any) -> None:
        super().__init__()
        self.stride = stride
        self.conv = ops.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        """Map ``[B, T, C, H, W]`` to ``[B, T / stride, C, H, W]``."""
        return _frames(self.conv, x.unflatten(1, (-1, self.stride)).flatten(2, 3)), past

    def step(self) -> Step:
        """Return the layer as a step that keeps the size."""
        return Step(self)


class TimeGrow(nn.Module):
    """Turn one frame into `stride` by a 1x1 convolution, `space` times as large."""

    def __init__(self, width: int, stride: int, space: int, ops: Any) -> None:
        super().__init__()
        self.stride, self.space = stride, space
        self.conv = ops.Conv2d(width, width * stride, 1, bias=False)

    def forward(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        """Map ``[B, T, C, H, W]`` to ``[B, T * stride, C, H * space, W * space]``."""
        # taehv enlarges first; the two commute, and this order is less work.
        x = _frames(self.conv, x).unflatten(2, (self.stride, -1)).flatten(1, 2)
        if self.space > 1:
            x = _frames(lambda y: F.interpolate(y, scale_factor=self.space), x)
        return x, past

    def step(self) -> Step:
        """Return the layer as a step of stride 1/space."""
        return Step(self, up=self.space)


class Soften(nn.Module):
    """Limit latents softly by 3 tanh(x / 3)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, softly limited to [-3, 3]."""
        return torch.tanh(x / 3) * 3


class TinyVAE(VideoVAE):
    """An autoencoder like taew2_1; its encoder looks three frames ahead, see the module."""

    first_group = GROUP

    def __init__(self, config: TinyVAEConfig = TAEW, operations: Any = nn) -> None:
        super().__init__(config)
        self.encoder = nn.Sequential(*_encoder(config, operations))
        self.decoder = nn.Sequential(*_decoder(config, operations))
        channels_innermost(self)

    def encoder_steps(self) -> list[Step]:
        """Return the encoder's layers."""
        return [_step(layer) for layer in self.encoder]

    def decoder_steps(self, picture: Tensor | None = None) -> list[Step]:
        """Return the decoder's layers, which see no picture."""
        return [_step(layer) for layer in self.decoder]

    def to_network(self, video: Tensor) -> Tensor:
        """Put the frames before the channels."""
        return video.transpose(1, 2)

    def from_network(self, video: Tensor) -> Tensor:
        """Put the channels before the frames."""
        return video.transpose(1, 2)

    def latent_to_network(self, latent: Tensor) -> Tensor:
        """Put the frames before the channels."""
        return latent.transpose(1, 2)

    def latent_from_network(self, moments: Tensor) -> Tensor:
        """Put the channels before the frames."""
        return moments.transpose(1, 2)


def _step(layer: Any) -> Step:
    if hasattr(layer, "step"):
        return layer.step()
    if isinstance(layer, nn.Conv2d) or hasattr(layer, "kernel_size"):
        return _pictures(layer, radius=layer.kernel_size[0] // 2, down=layer.stride[0])
    return _pictures(layer)


def _encoder(config: TinyVAEConfig, ops: Any) -> list[nn.Module]:
    width = config.stem
    layers: list[nn.Module] = [
        ops.Conv2d(3, width, 3, padding=1),
        nn.ReLU(inplace=True),
    ]
    for stage in config.encoder:
        layers += [
            TimePool(width, stage.time, ops),
            ops.Conv2d(width, stage.width, 3, padding=1, stride=stage.space, bias=False),
            *(MemBlock(stage.width, ops) for _ in range(stage.blocks)),
        ]
        width = stage.width
    return [*layers, ops.Conv2d(width, len(config.mean), 3, padding=1)]


def _decoder(config: TinyVAEConfig, ops: Any) -> list[nn.Module]:
    width = config.decoder[0].width
    layers: list[nn.Module] = [
        Soften(),
        ops.Conv2d(len(config.mean), width, 3, padding=1),
        nn.ReLU(inplace=True),
    ]
    after = [stage.width for stage in config.decoder[1:]] + [config.stem]
    for stage, out in zip(config.decoder, after, strict=True):
        layers += [
            *(MemBlock(stage.width, ops) for _ in range(stage.blocks)),
            nn.Identity(),  # taehv's enlarging, which TimeGrow does
            TimeGrow(stage.width, stage.time, stage.space, ops),
            ops.Conv2d(stage.width, out, 3, padding=1, bias=False),
        ]
    last = ops.Conv2d(config.stem, 3, 3, padding=1)
    return [*layers, nn.ReLU(inplace=True), last]
