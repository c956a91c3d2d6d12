"""Inpainters as the plain functions that the evaluation compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter, DiffusionInpainter, Inpainter
from dreamstereo_core.fill import FillOptions, MaskedFrame, MiniInpainter
from dreamstereo_core.fill.holes import MULTIPLE, narrow_filled
from dreamstereo_core.masks import wide_parts
from dreamstereo_core.models.conditioning import missing_channels, to_latent_mask
from dreamstereo_core.models.inpainter import touched_tokens
from dreamstereo_core.models.sparse import select_tokens

Fill = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Video, holes and disparity to a video: see `baselines`."""
DENSE = "dense"
WHOLE = 1 << 16
"""A tile in pixels that no frame exceeds."""


@dataclass(frozen=True)
class ModelFill:
    """An inpainter as a `Fill`, with its options.

    "dense" computes every token of the clip; `mini`, which skips frames without holes, every token
    of the others.
    """

    inpainter: Inpainter
    num_steps: int = 1
    dilation: int | str = 5
    seed: int = 0
    plain: bool = False
    """The paper's protocol: narrow holes are no exception, and no tones are corrected."""
    sampler: str = FillOptions.sampler
    tiles: dict[tuple[int, int], int] = field(default_factory=dict, compare=False, repr=False)
    """The autoencoder's tiles that fit a GPU, by the frames' (H, W); the first call finds them."""

    def __post_init__(self) -> None:
        changes = {"narrow": 1} if self.plain else {}
        if self.dilation == DENSE:
            changes["temporal_stride"] = 1  # keeps every latent frame whole
        if isinstance(self.inpainter, DiffusionInpainter):
            object.__setattr__(self, "inpainter", replace(self.inpainter, **changes))

    def __call__(self, video: Tensor, mask: Tensor, disparity: Tensor) -> Tensor:
        """Fill one clip."""
        return self.filled(video, mask, disparity)[0]

    def filled(
        self, video: Tensor, mask: Tensor, disparity: Tensor, sheet: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return a clip as the pipeline would blend it, and the network's own picture of it.

        `sheet` is the video with the stretched picture in its holes, as the pipeline has it. An
        inpainter without an autoencoder has no picture of its own: both are the same.
        """
        if not isinstance(self.inpainter, DiffusionInpainter):
            sheet = None if self.plain else sheet
            made = self.inpainter.inpaint(
                video if sheet is None else sheet,
                mask,
                disparity=disparity,
                num_steps=self.num_steps,
                dilation=kernel(self.dilation, mask),
                seed=self.seed,
                stretched=sheet is not None,
            )
            return made, made
        # Where no latent is touched, a large kernel would only cost time.
        dilation = 1 if self.dilation == DENSE else int(self.dilation)
        options = FillOptions(self.num_steps, dilation, self.seed, self.sampler)
        inpainter, hole = self._tiled(self.inpainter, video), (mask > 0).float()
        pictures = list(inpainter.stream_decoded(_frames(video, hole), options))
        raw = torch.cat(pictures).to(video)
        if self.plain:
            return raw, raw
        holed = list(narrow_filled(_frames(video, hole), inpainter.narrow))
        if holed[0].wide.any():
            finished = [f.finish(x) for f, x in zip(holed, pictures, strict=True)]
        else:  # the pipeline begins with the first hole, which groups the frames differently
            finished = list(inpainter.stream(_frames(video, hole), options))
        return torch.cat(finished), raw

    def _tiled(self, inpainter: DiffusionInpainter, video: Tensor) -> DiffusionInpainter:
        """Return the inpainter with tiles for a clip; only the first call looks for them."""
        device = inpainter.device or next(inpainter.transformer.parameters()).device
        if device.type == "cpu" or inpainter.tile is not None:
            return inpainter
        size = inpainter.working_size((video.shape[-2], video.shape[-1]))
        height, width = (n + -n % MULTIPLE for n in size)
        if (height, width) not in self.tiles:
            self.tiles[height, width] = inpainter.fit_tile((height, width)) or WHOLE
        return replace(inpainter, tile=self.tiles[height, width])

    def tokens_kept(self, mask: Tensor) -> float:
        """Return the share of a clip's tokens that are computed for its holes `[T, 1, H, W]`."""
        if isinstance(self.inpainter, MiniInpainter):
            wide = wide_parts(mask, self.inpainter.narrow)
            return float(touched_tokens(wide, kernel(self.dilation, mask)).float().mean())
        diffusion = self.inpainter if isinstance(self.inpainter, DiffusionInpainter) else None
        wide = wide_parts(mask, diffusion.narrow if diffusion else 1)
        if diffusion and diffusion.fill_size:
            size = diffusion.working_size((wide.shape[-2], wide.shape[-1]))
            wide = F.adaptive_max_pool2d(wide, size)
        holes = wide.flatten(1).amax(1).nonzero()
        if not len(holes):
            return 0.0
        count = _latent_mask(wide).numel() / 4
        latent = _latent_mask(wide if self.plain else wide[int(holes[0]) :])
        if self.dilation == DENSE:
            return latent.numel() / 4 / count
        stride = diffusion.temporal_stride if diffusion else None
        tokens = select_tokens(latent, dilation=int(self.dilation), temporal_stride=stride)
        return tokens.shape[1] / count


def has_tokens(inpainter: Inpainter) -> bool:
    """Return whether it computes tokens around the holes."""
    return not isinstance(inpainter, ClassicInpainter)


def kernel(dilation: int | str, mask: Tensor) -> int:
    """Return a dilation in tokens; "dense" reaches over the whole frame from anywhere."""
    side = max(mask.shape[-2:]) // MULTIPLE + 1
    return 2 * side + 1 if dilation == DENSE else int(dilation)


def row_names(specs: Sequence[str]) -> dict[str, str]:
    """Return fill -> its row's name: a name as it is, a file without folder and suffix.

    Files of one name also show as many of their folders as tell them apart.
    """
    names = {spec: Path(spec).stem if Path(spec).suffix else spec for spec in specs}
    alike: dict[str, list[str]] = {}
    for spec, name in names.items():
        alike.setdefault(name, []).append(spec)
    for group in alike.values():
        if len(group) > 1:
            names |= _told_apart(group)
    return names


def _told_apart(specs: Sequence[str]) -> dict[str, str]:
    paths = {spec: Path(spec).with_suffix("") for spec in specs}
    for depth in range(2, max(len(path.parts) for path in paths.values()) + 1):
        names = {spec: "/".join(path.parts[-depth:]) for spec, path in paths.items()}
        if len(set(names.values())) == len(names):
            return names
    return {spec: spec for spec in specs}


def _frames(video: Tensor, mask: Tensor) -> Iterator[MaskedFrame]:
    return (MaskedFrame(*frame) for frame in zip(video.split(1), mask.split(1), strict=True))


def _latent_mask(mask: Tensor) -> Tensor:
    """Bring `[T, 1, H, W]` to latents, filled up to whole tokens and groups of frames."""
    frames, _, height, width = mask.shape
    pad = (0, -width % MULTIPLE, 0, -height % MULTIPLE, 0, 0, 0, -(frames - 1) % 4)
    return to_latent_mask(missing_channels(F.pad(mask, pad).transpose(0, 1)[None]))
