"""Wan 2.1's causal 3-D autoencoder (Apache-2.0, Wan-Video/Wan2.1), written anew.

Memory is explicit: each layer takes what it remembers of the frames before, and returns what the
next frames will need. Parameter names are those of the original checkpoint. Time is causal: the
first frame makes a latent by itself, and then every four frames make one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import PICTURE, STRIDE, VideoVAE, channels_innermost
from .config import WAN, WanVAEConfig
from .tiles import Memory, Step

_TIMED = (False, True, True)  # whether each of the three changes of scale halves the frames, too


class RMSNorm(nn.Module):
    """x / rms(x) * gamma over the channels of ``[B, C, ...]``."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * dims))

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalised; the sums of half precision are in float32."""
        # The channels are the innermost axis in memory, so this is one fused pass.
        y = F.rms_norm(x.movedim(1, -1), (x.shape[1],), self.gamma.flatten().to(x.dtype), 1e-24)
        return y.movedim(-1, 1)


def causal(conv: Any, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
    """Convolve ``[B, C, T, H, W]`` with the frames before it, which are zeros at the start."""
    if conv.weight.ndim == 4:
        return per_frame(conv, x), None
    length = conv.weight.shape[2] - 1
    if length == 0:
        return conv(x), None
    if past is None:
        past = x.new_zeros(*x.shape[:2], length, *x.shape[3:])
    x = torch.cat((past, x), 2)
    return conv(x), x[:, :, -length:].clone(memory_format=torch.preserve_format)


def per_frame(layer: Any, x: Tensor) -> Tensor:
    """Apply a layer of pictures to each frame of ``[B, C, T, H, W]``."""
    frames = layer(x.transpose(1, 2).flatten(0, 1))
    return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Norm, SiLU and convolution, twice; with `flat` the second convolution is 2-D."""

    def __init__(self, channels: int, out_channels: int, flat: bool, ops: Any) -> None:
        super().__init__()
        if flat:
            second = ops.Conv2d(out_channels, out_channels, 3, padding=1)
        else:
            second = ops.Conv3d(out_channels, out_channels, 3, padding=(0, 1, 1))
        self.residual = nn.Sequential(
            RMSNorm(channels, 3),
            nn.SiLU(inplace=True),
            ops.Conv3d(channels, out_channels, 3, padding=(0, 1, 1)),
            RMSNorm(out_channels, 3),
            nn.SiLU(inplace=True),
            nn.Identity(),  # dropout in the original
            second,
        )
        same = channels == out_channels
        self.shortcut = nn.Identity() if same else ops.Conv3d(channels, out_channels, 1)

    def forward(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        """Return the block's output and both convolutions' memories."""
        first, second = past or (None, None)
        norm1, act1, conv1, norm2, act2, _, conv2 = self.residual
        y, first = causal(conv1, act1(norm1(x)), first)
        y, second = causal(conv2, act2(norm2(y)), second)
        return y + self.shortcut(x), (first, second)

    def step(self) -> Step:
        """Return the block as a step of two 3x3 convolutions."""
        timed = sum(bool(self.residual[at].weight.ndim == 5) for at in (2, 6))
        return Step(self, radius=2, past=2 * timed)


class AttentionBlock(nn.Module):
    """Self-attention with one head over each frame."""

    def __init__(self, channels: int, ops: Any) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, 2)
        self.to_qkv = ops.Conv2d(channels, channels * 3, 1)
        self.proj = ops.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        """Attend within each frame; there is nothing to remember."""
        return x + per_frame(self._attend, x), past

    def _attend(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2)  # [N, HW, 3C]
        q, k, v = qkv.unsqueeze(1).chunk(3, -1)  # [N, 1, HW, C]
        y = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2)
        return self.proj(y.unflatten(2, x.shape[2:]))

    def step(self) -> Step:
        """Return the block as a step, which needs the whole picture and so never runs on tiles."""
        return Step(self)


class Downsample(nn.Module):
    """Halve the size and, when `timed`, the number of frames after the first."""

    def __init__(self, channels: int, timed: bool, ops: Any) -> None:
        super().__init__()
        conv = ops.Conv2d(channels, channels, 3, stride=2)
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv)
        self.time_conv = None
        if timed:
            self.time_conv = ops.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1))

    def forward(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        """Return the smaller frames; the memory is the last one."""
        x = per_frame(self.resample, x)
        if self.time_conv is None:
            return x, None
        last = x[:, :, -1:].clone(memory_format=torch.preserve_format)
        if past is not None:
            return self.time_conv(torch.cat((past, x), 2)), last
        if x.shape[2] == 1:
            return x, last
        return torch.cat((x[:, :, :1], self.time_conv(x)), 2), last

    def step(self) -> Step:
        """Return the layer as a step of stride 2."""
        return Step(self, radius=1, down=2)


class Upsample(nn.Module):
    """Double the size and, when `timed`, the number of frames after the first."""

    def __init__(self, channels: int, timed: bool, ops: Any) -> None:
        super().__init__()
        conv = ops.Conv2d(channels, channels // 2, 3, padding=1)
        self.resample = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), conv)
        self.time_conv = ops.Conv3d(channels, channels * 2, (3, 1, 1)) if timed else None

    def forward(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        """Return the larger frames; the memory is the last two frames after the first."""
        if self.time_conv is not None:
            x, past = self._grow(x, past)
        return per_frame(self.resample, x), past

    def _grow(self, x: Tensor, past: Memory) -> tuple[Tensor, Memory]:
        alone = x[:, :, :0]
        if past is None:
            # The very first frame is neither doubled nor seen by the convolution.
            alone, x = x[:, :, :1], x[:, :, 1:]
            past = x.new_zeros(*x.shape[:2], 2, *x.shape[3:])
        if x.shape[2] == 0:
            return alone, past
        y, past = causal(self.time_conv, x, past)
        # [B, 2C, T, H, W] -> [B, C, 2T, H, W]: the halves are the earlier and the later frame.
        y = torch.stack(y.chunk(2, 1), 3).flatten(2, 3)
        return torch.cat((alone, y), 2), past

    def step(self) -> Step:
        """Return the layer as a step of stride 1/2."""
        if self.time_conv is None:
            return Step(self, radius=1, up=2)
        return Step(self, radius=1, up=2, past=2, grow=2)


class Glance(nn.Module):
    """Add to features what is known of the picture at their size; at first, nothing."""

    def __init__(self, width: int, frames: int, ops: Any) -> None:
        super().__init__()
        hidden = max(16, width // 2)
        self.conv = nn.Sequential(
            ops.Conv2d(width + frames * PICTURE, hidden, 3, padding=1),
            nn.SiLU(inplace=True),
            ops.Conv2d(hidden, width, 3, padding=1),
        )
        self.frames = frames
        for parameter in self.conv[2].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, past: Memory, picture: Tensor) -> tuple[Tensor, Memory]:
        """Look at the picture of the same frames; there is nothing to remember."""
        picture = picture[:, :, -x.shape[2] :]  # the first latent has fewer frames
        return x + per_frame(self.conv, torch.cat((x, picture.to(x)), 1)), past

    def step(self, picture: Tensor) -> Step:
        """Return the layer as a step of two 3x3 convolutions, beside the frames `[B, 4, T, H, W]`.

        Frames that share a feature's time become channels.
        """
        frames = picture.unflatten(2, (-1, self.frames)).transpose(2, 3).flatten(1, 2)
        return Step(self, radius=2, beside=frames)


def _smaller(picture: Tensor, size: int) -> Tensor:
    """Return the means of the known pixels in cells of `size` pixels, and their share."""
    mean = F.avg_pool3d(picture, (1, size, size))
    share = mean[:, 3:]
    return torch.cat((mean[:, :3] / share.clamp(min=1e-3), share), 1)


def _conv_step(conv: Any) -> Step:
    radius, past = conv.weight.shape[-1] // 2, conv.weight.shape[2] - 1
    return Step(lambda x, past: causal(conv, x, past), radius=radius, past=past)


def _head_step(head: nn.Sequential) -> Step:
    norm, act, conv = head
    return Step(lambda x, past: causal(conv, act(norm(x)), past), radius=1, past=2)


def _middle(width: int, flat: bool, ops: Any) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(width, width, flat, ops),
        AttentionBlock(width, ops),
        ResidualBlock(width, width, flat, ops),
    )


def _head(width: int, out_channels: int, ops: Any) -> nn.Sequential:
    conv = ops.Conv3d(width, out_channels, 3, padding=(0, 1, 1))
    return nn.Sequential(RMSNorm(width, 3), nn.SiLU(inplace=True), conv)


class Encoder(nn.Module):
    """Turn pixels into moments, ``[B, 3, T, H, W] -> [B, 32, T', H/8, W/8]``."""

    def __init__(self, config: WanVAEConfig, ops: Any) -> None:
        super().__init__()
        width = config.widths[0]
        self.conv1 = ops.Conv3d(3, width, 3, padding=(0, 1, 1))
        layers: list[nn.Module] = []
        for i, (out, blocks) in enumerate(zip(config.widths, config.encoder_blocks, strict=True)):
            for _ in range(blocks):
                layers.append(ResidualBlock(width, out, config.flat, ops))
                width = out
            if i < len(_TIMED):
                layers.append(Downsample(width, _TIMED[i], ops))
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(width, config.flat, ops)
        self.head = _head(width, 2 * len(config.mean), ops)

    def steps(self) -> list[Step]:
        """Return the layers in order."""
        blocks: list[Any] = [*self.downsamples, *self.middle]
        return [_conv_step(self.conv1), *(b.step() for b in blocks), _head_step(self.head)]


class Decoder(nn.Module):
    """Turn latents into pixels, ``[B, 16, T', h, w] -> [B, 3, T, 8h, 8w]``."""

    def __init__(self, config: WanVAEConfig, ops: Any) -> None:
        super().__init__()
        width = config.widths[-1]
        self.conv1 = ops.Conv3d(len(config.mean), width, 3, padding=(0, 1, 1))
        self.middle = _middle(width, config.flat, ops)
        layers: list[nn.Module] = []
        glances: list[nn.Module] = []
        scales = zip(config.widths[::-1], config.decoder_blocks[::-1], strict=True)
        for i, (out, blocks) in enumerate(scales):
            for _ in range(blocks):
                layers.append(ResidualBlock(width, out, config.flat, ops))
                width = out
            if i < len(_TIMED):
                layers.append(Upsample(width, _TIMED[::-1][i], ops))
                width //= 2
                if config.conditioned:
                    glances.append(Glance(width, (2, 1, 1)[i], ops))
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(width, 3, ops)
        if config.conditioned:
            glances.append(Glance(3, 1, ops))  # at the pixels, which no norm scales any more
        self.glances = nn.ModuleList(glances)

    def steps(self, picture: Tensor | None = None) -> list[Step]:
        """Return the layers in order; with `glances`, `picture` is what they look at."""
        middle: list[Any] = list(self.middle)
        growing: list[Any] = list(self.upsamples)
        glances: Iterator[Any] = iter(() if picture is None else self.glances)
        steps = [_conv_step(self.conv1), *(layer.step() for layer in middle)]
        size = STRIDE
        for layer in growing:
            steps.append(layer.step())
            if steps[-1].up > 1 and picture is not None:
                size //= steps[-1].up
                steps.append(next(glances).step(_smaller(picture, size)))
        return [*steps, _head_step(self.head), *(glance.step(picture) for glance in glances)]


class WanVAE(VideoVAE):
    """Wan 2.1's autoencoder, with its own or other widths."""

    first_group = 1

    def __init__(self, config: WanVAEConfig = WAN, operations: Any = nn) -> None:
        super().__init__(config)
        channels = len(config.mean)
        self.encoder = Encoder(config, operations)
        self.conv1 = operations.Conv3d(2 * channels, 2 * channels, 1)
        self.conv2 = operations.Conv3d(channels, channels, 1)
        self.decoder = Decoder(config, operations)
        channels_innermost(self)

    def encoder_steps(self) -> list[Step]:
        """Return the encoder's layers."""
        return [*self.encoder.steps(), _conv_step(self.conv1)]

    def decoder_steps(self, picture: Tensor | None = None) -> list[Step]:
        """Return the decoder's layers."""
        to_unit = Step(lambda x, past: (x * 0.5 + 0.5, past))  # [-1, 1] to [0, 1]
        return [_conv_step(self.conv2), *self.decoder.steps(picture), to_unit]

    def to_network(self, video: Tensor) -> Tensor:
        """Map [0, 1] to [-1, 1] and lay the channels out innermost."""
        return (video * 2 - 1).contiguous(memory_format=torch.channels_last_3d)

    def from_network(self, video: Tensor) -> Tensor:
        """Return the video as it is, in [0, 1] already."""
        return video

    def latent_to_network(self, latent: Tensor) -> Tensor:
        """Lay the channels out innermost."""
        return latent.contiguous(memory_format=torch.channels_last_3d)

    def latent_from_network(self, moments: Tensor) -> Tensor:
        """Keep the mean of the moments and drop the log variance."""
        return moments.chunk(2, 1)[0]
