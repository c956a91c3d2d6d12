"""Fill holes by a video transformer that computes only the tokens around them (SASI)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.conditioning import Conditioning, missing_group, to_latent_mask
from ..models.sparse import select_tokens
from ..models.transformer import Transformer
from ..models.vae.base import DecoderCache, EncoderCache, VideoVAE, see
from ..models.vae.hole_tiles import TILE, HoleDecoder
from ..sampling import cross_fade, denoise, position_noise, prepare_steps, sigmas
from ..stream import beside
from ..types import Latent, TokenIndex, Video
from .holes import GREY, MULTIPLE, NARROW, HoledFrame, narrow_filled, pad_to_tokens, size_within
from .inpainter import DEFAULTS, FillOptions, Inpainter, MaskedFrame, digest
from .plan import TILES, WINDOWS, Work, find_fit, ways


@dataclass
class DiffusionInpainter(Inpainter):
    """Fills holes by a Wan-class inpainting transformer between a video encoder and decoder.

    The autoencoder runs through the whole shot. The transformer works on windows of it. Where two
    windows overlap, the later one takes the result of the earlier one for known, and its own result
    is faded in. Frames before the first hole of a shot pass through unchanged. No first fill is
    needed: the model sees grey in the holes. A decoder that sees the picture decodes the tiles with
    holes only.
    """

    transformer: Transformer
    vae: VideoVAE
    context: Tensor | None = None
    """`[1, L, text_dim]`; None is the transformer's own."""
    shift: float = 5.0
    """Shift of the noise schedule, see `sigmas`; a single step does not depend on it."""
    window: int = 21
    """Latent frames that the transformer sees at once; 21 are 81 frames."""
    overlap: int = 4
    """Latent frames that two windows share."""
    narrow: int = NARROW
    """Holes that are less than this many pixels wide are filled from their surroundings."""
    temporal_stride: int | None = None
    """Keep every such latent frame of a window whole, see `select_tokens`; None keeps none."""
    tile: int | None = None
    """Side of the autoencoder's tiles in pixels; None makes them as large as the memory allows. It
    changes memory and speed, not the picture."""
    bucket: int | None = None
    """Fill a window's kept tokens up to a multiple of this with some that nobody sees, so that a
    compiled transformer or a CUDA graph meets few shapes; the picture is the same."""
    device: torch.device | None = None
    """The device to compute on; None is the transformer's."""
    memory: int | None = None
    """Bytes of the device that it may take, weights and all: tiles and windows shrink to it. None
    sets no limit."""
    fill_size: tuple[int, int] | None = None
    """Height and width into which frames are scaled while the networks see them, aspect kept, so
    that a model works at the size that it was trained at; None is the frames' own. Narrow holes,
    tones and the result are the frames', and its noise is that of frames of the smaller size."""
    name: str = "diffusion"

    def __post_init__(self) -> None:
        if not self.transformer.config.is_inpainting:
            raise ValueError(
                "transformer: expected an inpainting model (36 input channels: Fun-InP, DreamStereo"
                " or a base with a DreamStereo LoRA), got one with "
                f"{self.transformer.config.in_dim}"
            )
        if not 0 <= self.overlap < self.window:
            raise ValueError(
                f"overlap: expected 0 to {self.window - 1} latent frames of a window of "
                f"{self.window}, got {self.overlap}"
            )
        if self.fill_size is not None and min(self.fill_size) < MULTIPLE:
            height, width = self.fill_size
            raise ValueError(
                f"fill_size: expected at least {MULTIPLE}x{MULTIPLE} pixels, got {width}x{height}"
            )

    @property
    def about(self) -> dict[str, Any]:
        """Return its settings that change the picture, and digests of its weights."""
        names = ("shift", "window", "overlap", "narrow", "temporal_stride", "fill_size", "memory")
        return {
            "name": self.name,
            **{name: getattr(self, name) for name in names},
            "fp8": self._compressed,
            "weights": digest(self.transformer.state_dict()),
            "vae": digest(self.vae.state_dict()),
            "context": None if self.context is None else digest({"context": self.context}),
        }

    @property
    def _compressed(self) -> bool:
        return any(x.itemsize == 1 for x in self.transformer.parameters())

    def working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size (H, W) at which the networks see frames of another one."""
        return size_within(size, self.fill_size)

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill one shot; the results come up to a window late.

        Raises:
            ValueError: an option is out of its range.
            MemoryError: a window does not fit into memory; the message says what would fit.
        """
        holes = narrow_filled(frames, self.narrow)
        for first in holes:
            if not first.wide.any():
                yield first.video
                continue
            for frame, decoded in beside(chain([first], holes), _Shot(self, options).decoded):
                yield frame.finish(decoded)

    def stream_decoded(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Yield what the autoencoder makes of one shot, from its first frame on, as it is.

        No tones are corrected, and nothing is put beside it: what measurements call raw.

        Raises:
            ValueError, MemoryError: as `stream`.
        """
        yield from _Shot(self, options).decoded(narrow_filled(frames, self.narrow))

    def fit_tile(self, size: tuple[int, int]) -> int | None:
        """Return the largest of `TILES` with which frames of (H, W) pixels fit the memory.

        Raises:
            MemoryError: none of them fits.
        """
        for tile in TILES:
            try:
                video = torch.full((1, 3, 5, *size), GREY, device=self.vae.device)
                self.vae.decode(self.vae.encode(video, tile=tile), tile=tile)
                return tile
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
        height, width = size
        raise MemoryError(
            f"vae: too little memory for frames of {width}x{height} pixels even by tiles of "
            f"{TILES[-1]}; smaller frames would fit, or a smaller autoencoder"
        )

    def fitted(self, size: tuple[int, int]) -> tuple[int, int | None]:
        """Return the window and the tile with which frames of (H, W) pixels keep to `memory`.

        Raises:
            MemoryError: none does.
        """
        if self.memory is None:
            return self.window, self.tile
        shorter = [n for n in WINDOWS if self.overlap < n < self.window]
        work = Work(
            self.transformer.config,
            self.vae.config,
            self.working_size(size),
            self.transformer.dtype,
            film=size,
        )
        tiles = TILES if self.tile is None else (self.tile,)
        choices = list(ways(work, [self.window, *shorter], [self._compressed], tiles))
        fit = find_fit(work, self.memory, choices)
        if fit is None:
            least = min(choices, key=lambda way: way.peak)
            raise MemoryError(
                f"memory: expected at least {least.peak / 2**20:.0f} MiB for frames of "
                f"{size[1]}x{size[0]} pixels, got {self.memory / 2**20:.0f} MiB"
            )
        return fit.window, fit.tile


class _Shot:
    """The state of one shot while it is filled."""

    def __init__(self, inpainter: DiffusionInpainter, options: FillOptions):
        self.inpainter, self.options = inpainter, options
        self.schedule = sigmas(options.num_steps, inpainter.shift)
        self.device = inpainter.device or next(inpainter.transformer.parameters()).device
        self.tile, self.window = inpainter.tile, inpainter.window
        self.start = 0  # latent frame at which the window starts
        self.latents: list[Latent] = []  # of the masked video, from the window's start on
        self.missing: list[Tensor] = []
        self.carried: list[Latent] = []  # the previous window's result, where it overlaps
        self.film = self.size = (0, 0)  # of the frames, and as the networks see them, in pixels
        self.pending = 0  # frames that have not come out yet
        self.encoder: EncoderCache | None = None
        self.decoder: DecoderCache | None = None
        self.hole_decoder: HoleDecoder | None = None
        self.groups: deque[list[HoledFrame]] = deque()  # of the latents that are not decoded yet

    def decoded(self, frames: Iterator[HoledFrame]) -> Iterator[Video]:
        """Yield what the autoencoder makes of each frame's inpainted latents."""
        inpainter = self.inpainter
        conditionings = self._prepare()
        group = list(islice(frames, 1))
        height, width = group[0].video.shape[-2:]
        self.film, self.size = (height, width), inpainter.working_size((height, width))
        if inpainter.memory is not None:
            self.window, self.tile = inpainter.fitted(self.film)
        elif inpainter.tile is None and self.device.type != "cpu":
            height, width = (n + -n % MULTIPLE for n in self.size)
            self.tile = inpainter.fit_tile((height, width))
        while group:
            following = list(islice(frames, 4))
            self._take(group, last=not following)
            yield from self._windows(conditionings, last=not following)
            group = following

    @torch.no_grad()
    def _prepare(self) -> list[Conditioning]:
        transformer, context = self.inpainter.transformer, self.inpainter.context
        if context is None:
            context = transformer.default_context()
        return prepare_steps(transformer, self.schedule, context, self.device)

    @torch.no_grad()
    def _take(self, group: list[HoledFrame], *, last: bool) -> None:
        """Encode the frames of one latent; a short last group repeats its last frame."""
        self.pending += len(group)
        if self.encoder is not None:  # the first latent of a shot has one frame
            group = group + [group[-1]] * (4 - len(group))
        video, mask = self._pixels(group)
        masked = torch.where(mask > 0, GREY, video)
        latent, self.encoder = self.inpainter.vae.encode_chunk(
            masked, self.encoder, last=last, tile=self.tile
        )
        if latent.shape[2]:
            self.latents += latent.to(self.device).split(1, 2)
        self.missing.append(missing_group(mask))
        if self.inpainter.vae.conditioned:
            self.groups.append(group)

    def _pixels(self, group: list[HoledFrame]) -> tuple[Tensor, Tensor]:
        """Return frames `[1, 3, T, H, W]` and their wide holes `[1, 1, T, H, W]`, padded."""
        parts = [frame.resized(self.size, self.device) for frame in group]
        video, mask = (pad_to_tokens(torch.cat(part)) for part in zip(*parts, strict=True))
        return video.transpose(0, 1)[None], mask.transpose(0, 1)[None]

    def _windows(self, conditionings: Sequence[Conditioning], *, last: bool) -> Iterator[Video]:
        """Inpaint complete windows (at the end, all) and yield the frames that are final."""
        size, overlap = self.window, self.inpainter.overlap
        while (count := len(self.latents)) >= size or (last and count):
            done = count if last and count <= size else size - overlap
            inpainted = self._inpaint(min(count, size), conditionings)
            for latent in inpainted[:done]:
                yield from self._decode(latent)
            self.carried = inpainted[done:]
            del self.latents[:done], self.missing[:done]
            self.start += done

    @torch.no_grad()
    def _inpaint(self, count: int, conditionings: Sequence[Conditioning]) -> list[Latent]:
        """Return the inpainted latents of a window of `count` latent frames."""
        overlap = len(self.carried)
        latents, missing = torch.cat(self.latents[:count], 2), torch.cat(self.missing[:count], 2)
        tokens = self._tokens(missing)
        latents = torch.cat([*self.carried, latents[:, :, overlap:]], 2)
        missing[:, :, :overlap] = 0
        result = latents.clone()
        if tokens.shape[1]:
            try:
                result = self._denoise(latents, missing, tokens, conditionings)
            except torch.cuda.OutOfMemoryError as error:
                raise MemoryError(self._advice(latents, missing, conditionings)) from error
        if overlap:
            carried = torch.cat(self.carried, 2)
            result[:, :, :overlap] = cross_fade(carried, result[:, :, :overlap])
        return list(result.split(1, 2))

    def _tokens(self, missing: Tensor) -> TokenIndex:
        return select_tokens(
            to_latent_mask(missing),
            dilation=self.options.dilation,
            temporal_stride=self.inpainter.temporal_stride,
        )

    def _denoise(
        self,
        latents: Latent,
        missing: Tensor,
        tokens: TokenIndex,
        conditionings: Sequence[Conditioning],
    ) -> Latent:
        _, channels, count, height, width = latents.shape
        shape, options = (channels, height, width), self.options

        def noise(step: int) -> Latent:
            drawn = position_noise(self.start, count, shape, seed=options.seed, step=step)
            return drawn.to(self.device)

        return denoise(
            self.inpainter.transformer,
            noise(0),
            missing,
            latents,
            schedule=self.schedule,
            conditionings=conditionings,
            tokens=tokens,
            bucket=self.inpainter.bucket,
            fresh=noise if options.sampler == "renoise" else None,
        )

    def _advice(
        self, latents: Latent, missing: Tensor, conditionings: Sequence[Conditioning]
    ) -> str:
        """Return a message that says how long a window would fit, by trying."""
        count = latents.shape[2]
        problem = f"inpainter: too little memory for a window of {count} latent frames"
        while count > 1:
            count //= 2
            torch.cuda.empty_cache()
            part = missing[:, :, :count]
            try:
                self._denoise(latents[:, :, :count], part, self._tokens(part), conditionings)
            except torch.cuda.OutOfMemoryError:
                continue
            return f"{problem}; one of {count} fits, as does a smaller dilation or smaller frames"
        return f"{problem}, and for one of a single one; smaller frames would fit"

    @torch.no_grad()
    def _decode(self, latent: Latent) -> Iterator[Video]:
        vae = self.inpainter.vae
        if vae.conditioned:
            if self.hole_decoder is None:
                self.hole_decoder = HoleDecoder(vae, min(self.tile or TILE, TILE))
            seen = see(*self._pixels(self.groups.popleft()))
            video = self.hole_decoder.decode(latent, seen)[..., : self.size[0], : self.size[1]]
        else:
            video, self.decoder = vae.decode_chunk(
                latent, self.decoder, size=self.size, tile=self.tile
            )
        frames = video[0].transpose(0, 1)[: self.pending]
        self.pending -= len(frames)
        for frame in frames.split(1):
            if self.size != self.film:
                frame = F.interpolate(frame, self.film, mode="bicubic", antialias=True)
            yield frame
