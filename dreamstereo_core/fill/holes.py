"""What happens to frames before and after a network: narrow holes, first fill, tones."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..masks import wide_parts
from ..stream import Notes, beside
from ..types import OcclusionMask, Video
from .coherence import pull_push
from .colour import lock_colours
from .inpainter import Inpainter, MaskedFrame

GREY = 0.5
"""The value of a hole in the input of Wan's inpainters."""
MULTIPLE = 16
"""Side of a token in pixels; frames are padded to multiples of it."""
NARROW = 4
"""Least width in pixels of a hole that gets tokens. A rough depth opens thousands of narrower
holes, and each would cost as much as a large one."""


@dataclass(frozen=True)
class HoledFrame:
    """A frame `[1, 3, H, W]` whose narrow holes are filled, with its masks `[1, 1, H, W]`."""

    video: Video
    """Its narrow holes are filled; with a first fill, so are the others."""
    every: Tensor
    """Bool, as `wide`: a quarter of the memory."""
    wide: Tensor
    notes: Notes | None = None
    """As of `Frame`."""
    warm_up: bool = False
    """As of `Frame`."""

    def resized(self, size: tuple[int, int], device: torch.device) -> tuple[Video, Tensor]:
        """Return the video and its wide holes, 0 or 1, at another size (H, W) on a device.

        Whatever touches a hole becomes one, and what is known is the mean of known pixels alone.
        """
        video, wide = self.video.to(device), self.wide.to(device, self.video.dtype)
        if video.shape[-2:] == size:
            return video, wide
        known = 1 - wide
        video, weight = (
            F.interpolate(x, size, mode="bilinear", antialias=True) for x in (video * known, known)
        )
        return video / weight.clamp(min=1e-6), F.adaptive_max_pool2d(wide, size)

    def finish(self, decoded: Video) -> Video:
        """Return the result: the network's picture with corrected tones, but for narrow holes."""
        filled = lock_colours(decoded, self.video.to(decoded), self.every.to(decoded))
        return torch.where(self.every > self.wide, self.video, filled.to(self.video))


def narrow_filled(frames: Iterable[MaskedFrame], narrow: int) -> Iterator[HoledFrame]:
    """Fill the holes that are less than `narrow` pixels wide along a row."""
    for frame in frames:
        video, wide = fill_narrow(frame.video, frame.occlusion_mask, narrow)
        yield HoledFrame(video, frame.occlusion_mask > 0, wide > 0)


def first_filled(
    frames: Iterable[MaskedFrame], inpainter: Inpainter, narrow: int
) -> Generator[HoledFrame, None, None]:
    """Fill all holes by another inpainter; only the wide ones are left to the network."""
    for frame, filled in beside(frames, inpainter.stream):
        every = frame.occlusion_mask > 0
        video, wide = torch.where(every, filled, frame.video), wide_parts(every, narrow) > 0
        holed = HoledFrame(video, every, wide, frame.notes, frame.warm_up)
        del frame, filled, video  # what is named here would stay while the next one is made
        yield holed
        del holed


def fill_narrow(
    video: Video, occlusion_mask: OcclusionMask, width: int = NARROW
) -> tuple[Video, OcclusionMask]:
    """Fill the holes that are less than `width` pixels wide along a row from their surroundings.

    Args:
        video: `[T, 3, H, W]`.
        occlusion_mask: `[T, 1, H, W]`, > 0 where a pixel is missing.
        width: in pixels; 1 fills none.

    Returns:
        The video and the mask, 0 or 1, of the holes that are left.
    """
    every, wide = (occlusion_mask > 0).to(video), wide_parts(occlusion_mask, width)
    if not torch.equal(every, wide):
        video = torch.where(every > wide, pull_push(video, 1 - every), video)
    return video, wide


def size_within(size: tuple[int, int], limit: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size (H, W) at which frames of another one just fit into `limit`, if any.

    The aspect is kept.
    """
    if limit is None:
        return size
    scale = min(most / n for most, n in zip(limit, size, strict=True))
    height, width = (max(1, round(n * scale)) for n in size)
    return height, width


def pad_to_tokens(frame: Tensor) -> Tensor:
    """Repeat the last row and column of `[T, C, H, W]` up to whole tokens."""
    bottom, right = (-n % MULTIPLE for n in frame.shape[-2:])
    return F.pad(frame, (0, right, 0, bottom), mode="replicate")
