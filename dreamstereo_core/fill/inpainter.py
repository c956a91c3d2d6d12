"""The interface of inpainters: masked frames of one shot in, whole frames out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from ..checks import check_choice, check_finite, check_frames
from ..sampling import SAMPLERS
from ..stream import Notes
from ..types import Disparity, OcclusionMask, Video


@dataclass(frozen=True)
class MaskedFrame:
    """One warped frame `[1, 3, H, W]`, its holes (> 0) and its disparity `[1, 1, H, W]`."""

    video: Video
    occlusion_mask: OcclusionMask
    disparity: Disparity | None = None
    stretched: bool = False
    """Whether the holes of `video` hold the warp's stretched sheet rather than nothing of use."""
    notes: Notes | None = None
    """As of `Frame`."""
    warm_up: bool = False
    """As of `Frame`: what it becomes is not wanted."""


@dataclass(frozen=True)
class FillOptions:
    """Settings of a diffusion inpainter; other inpainters ignore most of them.

    Raises:
        ValueError: an option is out of its range.
    """

    num_steps: int = 1
    """Denoising steps."""
    dilation: int = 5
    """Size k, odd, of the kernel that dilates the kept tokens."""
    seed: int = 0
    """Seed of the noise."""
    sampler: str = "euler"
    """How several steps follow each other, one of `sampling.SAMPLERS`."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps: expected at least 1, got {self.num_steps}")
        if self.dilation < 1 or self.dilation % 2 == 0:
            raise ValueError(f"dilation: expected an odd number from 1 up, got {self.dilation}")
        if self.seed < 0:
            raise ValueError(f"seed: expected at least 0, got {self.seed}")
        check_choice("sampler", self.sampler, SAMPLERS)


DEFAULTS = FillOptions()
SAMPLES = 64
"""Values of a weight that tell it from another one: a LoRA changes all of them."""


class Inpainter(ABC):
    """Fills the holes of a warped video, which are expected to the right of near things."""

    name: str
    resumable = False
    """Whether a shot can be gone on with: from the notes at a frame, after `warm_up` frames."""
    warm_up = 0
    """Frames before that one that must come along."""

    @property
    def about(self) -> dict[str, Any]:
        """Return what tells its fills from another one's, of JSON's types."""
        return {"name": self.name}

    @abstractmethod
    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill one shot of any length in bounded memory; yield `[1, 3, H, W]` for each frame."""

    def inpaint(
        self,
        video: Video,
        occlusion_mask: OcclusionMask,
        *,
        disparity: Disparity | None = None,
        num_steps: int = 1,
        dilation: int = 5,
        seed: int = 0,
        sampler: str = FillOptions.sampler,
        stretched: bool = False,
    ) -> Video:
        """Fill one shot `[T, 3, H, W]` of any T, H and W; the result is to be blended by `blend`.

        Args:
            video: the content of its holes is ignored, but for `stretched`.
            occlusion_mask: `[T, 1, H, W]`, > 0 where a pixel is missing.
            disparity: `[T, 1, H, W]` in `video`'s view, to tell background from foreground; its
                values in holes are ignored.
            num_steps: denoising steps of a diffusion inpainter.
            dilation: size k of the kernel that dilates a diffusion inpainter's kept tokens.
            seed: seed of a diffusion inpainter's noise.
            sampler: "euler", or "renoise" for models that are distilled to few steps.
            stretched: whether the holes of `video` hold the warp's stretched sheet, which "classic"
                and "mini" make use of, as in the pipeline.

        Raises:
            TypeError: an argument is not a floating point tensor.
            ValueError: a shape is wrong, the mask or the disparity is not finite, or an option is
                out of its range.
        """
        check_frames("video", video, channels=3)
        check_frames("occlusion_mask", occlusion_mask, channels=1, like=video)
        check_finite("occlusion_mask", occlusion_mask)
        if disparity is not None:
            check_frames("disparity", disparity, channels=1, like=video)
            check_finite("disparity", disparity)
        mask = (occlusion_mask > 0).float()
        frames = (
            MaskedFrame(
                video[t : t + 1],
                mask[t : t + 1],
                None if disparity is None else disparity[t : t + 1],
                stretched,
            )
            for t in range(len(video))
        )
        filled = self.stream(frames, FillOptions(num_steps, dilation, seed, sampler))
        return torch.cat(list(filled))


class WrappedInpainter(Inpainter):
    """A wrapper of another inpainter, with its properties; subclasses override what they change."""

    def __init__(self, inpainter: Inpainter):
        self.inpainter, self.name = inpainter, inpainter.name

    @property
    def about(self) -> dict[str, Any]:
        """Return the wrapped inpainter's."""
        return self.inpainter.about

    @property
    def resumable(self) -> bool:
        """Return the wrapped inpainter's."""
        return self.inpainter.resumable

    @property
    def warm_up(self) -> int:
        """Return the wrapped inpainter's."""
        return self.inpainter.warm_up


class MirroredInpainter(WrappedInpainter):
    """Fills a left eye as the mirrored problem, since holes are expected right of near things."""

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill as the inpainter does, with left and right exchanged."""
        mirrored = (
            replace(
                frame,
                video=frame.video.flip(-1),
                occlusion_mask=frame.occlusion_mask.flip(-1),
                disparity=None if frame.disparity is None else frame.disparity.flip(-1),
            )
            for frame in frames
        )
        for video in self.inpainter.stream(mirrored, options):
            yield video.flip(-1)


def digest(weights: Mapping[str, Tensor]) -> str:
    """Return what tells weights from other ones: a hash of a few values of each."""
    found = sha256()
    for name, weight in weights.items():
        found.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        values = weight.detach().reshape(-1)
        few = values[:: max(1, len(values) // SAMPLES)].contiguous().cpu()
        found.update(few.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
