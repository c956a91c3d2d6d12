"""What every video autoencoder shares: [0, 1] pixels, normalised latents, chunks, tiles, padding.

Time: T frames give 1 + ceil((T - 1) / 4) latents; the last group of four is filled up by repeating
the last frame. Height and width are filled up to multiples of 8 by repeating the border. `decode`
gives all of it back unless `frames` and `size` say what to keep.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...checks import check_finite
from .config import STRIDES, VAEConfig
from .tiles import Memory, Region, Step, first_growing, grid, run_regions, run_steps

STRIDE, GROUP = STRIDES  # px of a latent; frames of one, but for the first
PICTURE = 4
"""Channels of what a decoder sees of the picture."""


def see(video: Tensor, occlusion_mask: Tensor) -> Tensor:
    """Return what a decoder sees of known pixels: RGB in [-1, 1], 0 in holes, and where they are.

    Args:
        video: ``[B, 3, T, H, W]`` in [0, 1].
        occlusion_mask: ``[B, 1, T, H, W]``, > 0 where a pixel is missing.

    Returns:
        ``[B, 4, T, H, W]``.
    """
    known = (occlusion_mask <= 0).to(video)
    return torch.cat(((video * 2 - 1) * known, known), 1)


@dataclass(frozen=True)
class EncoderCache:
    """What `encode_chunk` continues from."""

    pending: Tensor
    """``[B, 3, t, H, W]`` frames that do not fill a group yet, as they came."""
    final: Tensor
    """``[B, 3, 1, H, W]``, the last frame that came."""
    count: int
    """Frames that came."""
    memory: Memory


@dataclass(frozen=True)
class DecoderCache:
    """What `decode_chunk` continues from."""

    shape: tuple[int, ...]
    """``(B, h, w)`` of the latents."""
    regions: tuple[Region, ...]
    memory: Memory


class VideoVAE(nn.Module):
    """A causal video autoencoder: 8x8 pixels and 4 frames to one latent of 16 channels."""

    first_group: int
    """Frames that the encoder reads for the first latent, which stands for the first one alone."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def encoder_steps(self) -> list[Step]:
        """Return the encoder's layers."""

    @abstractmethod
    def decoder_steps(self, picture: Tensor | None = None) -> list[Step]:
        """Return the decoder's layers; the last one gives pixels in [0, 1].

        A decoder that sees the picture takes it as ``[B, 4, 4 T', 8 h, 8 w]``, see `see`.
        """

    @abstractmethod
    def to_network(self, video: Tensor) -> Tensor:
        """Bring [0, 1] pixels ``[B, 3, T, H, W]`` to the encoder's range and layout."""

    @abstractmethod
    def from_network(self, video: Tensor) -> Tensor:
        """Bring the decoder's output, in [0, 1], back to ``[B, 3, T, H, W]``."""

    @abstractmethod
    def latent_to_network(self, latent: Tensor) -> Tensor:
        """Bring raw latents ``[B, 16, T', h, w]`` to the decoder's layout."""

    @abstractmethod
    def latent_from_network(self, moments: Tensor) -> Tensor:
        """Bring the encoder's output back to raw latents ``[B, 16, T', h, w]``."""

    @torch.no_grad()
    def encode(self, video: Tensor, *, tile: int | None = None) -> Tensor:
        """Return the normalised latents ``[B, 16, T', h, w]`` of ``[B, 3, T, H, W]`` in [0, 1].

        Args:
            video: any T, H and W; see the module for how they are filled up.
            tile: work on tiles of this many pixels, to need less memory. The result is the same.

        Raises:
            ValueError: the video has another shape or is not finite.
        """
        latents, cache = [], None
        _check("video", video, 3, "T, H, W")
        for chunk in video.split(GROUP, 2):
            latent, cache = self.encode_chunk(chunk, cache, tile=tile)
            latents.append(latent)
        latents.append(self.encode_chunk(video[:, :, :0], cache, tile=tile, last=True)[0])
        return torch.cat(latents, 2)

    def fill_up(self, video: Tensor) -> Tensor:
        """Repeat the last frame of a whole video until the encoder gives all of its latents."""
        return _repeat(video, video[:, :, -1:], self._missing(video.shape[2]))

    def _missing(self, count: int) -> int:
        return self.first_group + -(-(count - 1) // GROUP) * GROUP - count

    def encode_chunk(
        self,
        video: Tensor,
        cache: EncoderCache | None = None,
        *,
        last: bool = False,
        tile: int | None = None,
    ) -> tuple[Tensor, EncoderCache]:
        """Encode the next frames of a video; the latents do not depend on how it is cut.

        Args:
            video: ``[B, 3, T, H, W]`` in [0, 1], any T.
            cache: what the chunk before returned; None at the start.
            last: fill up the last groups with the last frame and flush them.
            tile: as in `encode`.

        Returns:
            The latents of the groups that are complete, ``[B, 16, T', h, w]``, T' may be 0.
        """
        frames, final, count, memory = video, video[:, :, -1:], video.shape[2], None
        if cache is not None:
            _check_same(video, cache.pending)
            frames = torch.cat((cache.pending, video), 2)
            final = torch.cat((cache.final, final), 2)[:, :, -1:]
            count, memory = cache.count + count, cache.memory
        first = self.first_group if frames.shape[2] == count else GROUP
        if last and count:
            frames = _repeat(frames, final, self._missing(count))
        complete = max(0, (frames.shape[2] - first) // GROUP + 1)
        full = first + GROUP * (complete - 1) if complete else 0
        if complete:
            latent, memory = self._encode(frames[:, :, :full], memory, tile)
        else:
            height, width = (-(-n // STRIDE) for n in frames.shape[3:])
            latent = frames.new_zeros(len(frames), len(self.config.mean), 0, height, width).float()
        return latent, EncoderCache(frames[:, :, full:].clone(), final.clone(), count, memory)

    def _encode(self, video: Tensor, memory: Memory, tile: int | None) -> tuple[Tensor, Memory]:
        parameter = next(self.parameters())
        bottom, right = (-n % STRIDE for n in video.shape[3:])
        video = video.to(parameter.device, parameter.dtype)
        if bottom or right:
            padded = F.pad(video.flatten(0, 1), (0, right, 0, bottom), mode="replicate")
            video = padded.unflatten(0, video.shape[:2])
        x, steps = self.to_network(video), self.encoder_steps()
        if tile is None:
            x, memory = run_steps(steps, x, memory)
        else:
            x, memory = self._encode_tiles(steps, x, memory, _check_tile(tile))
        mean, std = self.statistics()
        return (self.latent_from_network(x).float() - mean) / std, memory

    def _encode_tiles(
        self, steps: list[Step], x: Tensor, memory: Memory, tile: int
    ) -> tuple[Tensor, Memory]:
        # Tile by tile as long as the picture shrinks; then it is small, and attention needs it all.
        border = max(i + 1 for i, step in enumerate(steps) if step.down > 1)
        tiled, whole = memory or (None, None)
        height, width = (n // STRIDE for n in x.shape[-2:])
        regions = grid(height, width, tile // STRIDE)
        x, tiled = run_regions(steps[:border], x, tiled, regions)
        x, whole = run_steps(steps[border:], x, whole)
        return x, (tiled, whole)

    @torch.no_grad()
    def decode(
        self,
        latent: Tensor,
        *,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        tile: int | None = None,
        picture: Tensor | None = None,
    ) -> Tensor:
        """Return the video ``[B, 3, T, H, W]`` in [0, 1] of normalised latents.

        Args:
            latent: ``[B, 16, T', h, w]``.
            frames: keep this many; the default keeps 4 T' - 3.
            size: (H, W) to keep; the default keeps (8 h, 8 w).
            tile: work on tiles of this many pixels, to need less memory. The result is the same.
            picture: ``[B, 4, 4 T' - 3, 8 h, 8 w]`` of `see`, for a decoder that is `conditioned`;
                None: nothing is known.

        Raises:
            ValueError: an argument has another shape, or the latents are not finite.
        """
        _check("latent", latent, len(self.config.mean), "T', h, w")
        video, cache = [], None
        for i, chunk in enumerate(latent.split(1, 2)):
            seen = None if picture is None else picture[:, :, max(0, 4 * i - 3) : 4 * i + 1]
            x, cache = self.decode_chunk(chunk, cache, size=size, tile=tile, picture=seen)
            video.append(x)
        return torch.cat(video, 2)[:, :, :frames]

    @property
    def conditioned(self) -> bool:
        """Whether the decoder sees the picture, too."""
        return getattr(self.config, "conditioned", False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def decode_chunk(
        self,
        latent: Tensor,
        cache: DecoderCache | None = None,
        *,
        size: tuple[int, int] | None = None,
        tile: int | None = None,
        picture: Tensor | None = None,
    ) -> tuple[Tensor, DecoderCache]:
        """Decode the next latents of a video; the frames do not depend on how it is cut.

        Args:
            latent: ``[B, 16, T', h, w]``, T' >= 1.
            cache: what the chunk before returned; None at the start.
            size: as in `decode`.
            tile: as in `decode`.
            picture: as in `decode`, of these latents' frames.

        Returns:
            ``[B, 3, T, H, W]`` in [0, 1]; the first latent of a video gives one frame.
        """
        _check("latent", latent, len(self.config.mean), "T', h, w")
        height, width = (n * STRIDE for n in latent.shape[3:])
        regions = () if tile is None else grid(height, width, _check_tile(tile))
        shape = (len(latent), *latent.shape[3:])
        if cache is not None and (cache.shape != shape or cache.regions != regions):
            raise ValueError(
                f"latent: expected the batch, height, width {list(cache.shape)} and the tiles of "
                f"the chunk before, got {list(shape)}"
            )
        memory = None if cache is None else cache.memory
        x, steps = self.decoder_input(latent), self.decoder_steps(self.beside(latent, picture))
        if not regions:
            x, memory = run_steps(steps, x, memory)
        else:
            # The small picture at once, as attention needs it all; from where it grows, by tiles.
            border = first_growing(steps)
            whole, tiled = memory or (None, None)
            x, whole = run_steps(steps[:border], x, whole)
            x, tiled = run_regions(steps[border:], x, tiled, regions)
            memory = (whole, tiled)
        video = self.from_network(x)
        trimmed = video.shape[2] - (GROUP * latent.shape[2] - (GROUP - 1 if cache is None else 0))
        height, width = size or (height, width)
        video = video[:, :, trimmed:, :height, :width].float().clamp(0, 1)
        return video, DecoderCache(shape, regions, memory)

    def decoder_input(self, latent: Tensor) -> Tensor:
        """Bring normalised latents ``[B, 16, T', h, w]`` to what the decoder's layers take."""
        mean, std = self.statistics()
        raw = latent.to(self.device, torch.float32) * std + mean
        return self.latent_to_network(raw.to(next(self.parameters()).dtype))

    def beside(self, latent: Tensor, picture: Tensor | None) -> Tensor | None:
        """Return what the decoder sees beside latents, ``[B, 4, 4 T', 8 h, 8 w]``; None: nothing.

        Raises:
            ValueError: the picture has another shape, or the decoder sees none.
        """
        batch, _, count, height, width = latent.shape
        if not self.conditioned:
            if picture is not None:
                raise ValueError("picture: expected None, since this decoder sees none")
            return None
        parameter = next(self.parameters())
        shape = (batch, PICTURE, GROUP * count, height * STRIDE, width * STRIDE)
        if picture is None:
            return torch.zeros(shape, device=parameter.device, dtype=parameter.dtype)
        missing = shape[2] - picture.shape[2]  # a video's first latent has one frame
        first = picture[:, :, :1].expand(-1, -1, max(0, missing), -1, -1)
        picture = torch.cat((first, picture), 2).to(parameter)
        if missing not in (0, GROUP - 1) or picture.shape != shape:
            raise ValueError(f"picture: expected shape {list(shape)}, got {list(picture.shape)}")
        return picture

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and deviation by which raw latents are normalised, ``[1, 16, 1, 1, 1]``."""
        both = torch.tensor((self.config.mean, self.config.std), device=self.device)
        mean, std = both.view(2, 1, -1, 1, 1, 1)
        return mean, std


def channels_innermost(module: nn.Module) -> None:
    """Lay the convolutions' weights out with the channels innermost.

    That is 1.2 to 2.5 times faster, and 2-D layers read the frames of a video without a copy.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in module.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def _repeat(video: Tensor, frame: Tensor, count: int) -> Tensor:
    return torch.cat((video, frame.expand(-1, -1, count, -1, -1)), 2)


def _check(name: str, value: Tensor, channels: int, axes: str) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = getattr(value, "dtype", type(value).__name__)
        raise TypeError(f"{name}: expected a floating point tensor, got {kind}")
    if value.ndim != 5 or value.shape[1] != channels or 0 in value.shape:
        shape = list(value.shape)
        raise ValueError(f"{name}: expected shape [B, {channels}, {axes}], got {shape}")
    check_finite(name, value)


def _check_same(video: Tensor, pending: Tensor) -> None:
    if (len(video), *video.shape[3:]) != (len(pending), *pending.shape[3:]):
        raise ValueError(
            f"video: expected the batch and size of the chunk before, {list(pending.shape)}, "
            f"got {list(video.shape)}"
        )


def _check_tile(tile: int) -> int:
    if tile < STRIDE or tile % STRIDE:
        raise ValueError(f"tile: expected a multiple of {STRIDE} pixels, got {tile}")
    return tile
