"""The inpainter protocol, and `ClassicInpainter`: filling without weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from .checks import check_choice, check_finite, check_frames
from .propagation import BackgroundMotion, FilledFrame, background_motion, fill_frame, propagate
from .types import Disparity, OcclusionMask, Video


@dataclass(frozen=True)
class MaskedFrame:
    """One warped frame `[1, 3, H, W]`, holes (1, else 0) and disparity `[1, 1, H, W]`."""

    video: Video
    occlusion_mask: OcclusionMask
    disparity: Disparity | None = None


class Inpainter(Protocol):
    """Fills the holes of a warped video."""

    name: str

    def stream(
        self, frames: Iterable[MaskedFrame], *, num_steps: int = 1, dilation: int = 5, seed: int = 0
    ) -> Iterator[Video]:
        """Fill one shot of any length in bounded memory; yield `[1, 3, H, W]` for each frame."""
        ...

    def inpaint(
        self,
        video: Video,
        occlusion_mask: OcclusionMask,
        *,
        disparity: Disparity | None = None,
        num_steps: int = 1,
        dilation: int = 5,
        seed: int = 0,
    ) -> Video:
        """Fill one shot: `[T, 3, H, W]`, the raw output; `blend` comes after."""
        ...


@dataclass
class ClassicInpainter:
    """Fill holes with background that neighbouring frames reveal, else by extending it.

    Each frame is filled by itself first (`coherence`). Then every hole pixel follows the
    background's motion to the frames `reach` before and behind: where one of them shows the
    background, that is the truth and is taken; elsewhere the neighbours' own fills are averaged in,
    so that the fill moves with the background and does not flicker. What a frame becomes depends on
    the `reach[-1]` frames around it only, not on how the shot is cut into chunks.
    """

    reach: tuple[int, ...] = (1, 2, 4, 6)
    name: str = "classic"

    def inpaint(
        self,
        video: Video,
        occlusion_mask: OcclusionMask,
        *,
        disparity: Disparity | None = None,
        num_steps: int = 1,
        dilation: int = 5,
        seed: int = 0,
    ) -> Video:
        """Fill `[T, 3, H, W]` where `occlusion_mask` `[T, 1, H, W]` is > 0.

        Args:
            video: one shot; what its holes contain is ignored.
            occlusion_mask: > 0 where a pixel is missing.
            disparity: `[T, 1, H, W]` in `video`'s view, to tell background from foreground; its
                holes are ignored.
            num_steps: of no use here, like `dilation` and `seed`: they belong to the diffusion
                inpainters.
            dilation: see `num_steps`.
            seed: see `num_steps`.

        Raises:
            TypeError: an argument is no floating point tensor.
            ValueError: a shape is wrong or the disparity is not finite.
        """
        check_frames("video", video, channels=3)
        check_frames("occlusion_mask", occlusion_mask, channels=1, like=video)
        if disparity is not None:
            check_frames("disparity", disparity, channels=1, like=video)
            check_finite("disparity", disparity)
        mask = (occlusion_mask > 0).float()
        frames = (
            MaskedFrame(
                video[t : t + 1],
                mask[t : t + 1],
                None if disparity is None else disparity[t : t + 1],
            )
            for t in range(len(video))
        )
        return torch.cat(list(self.stream(frames)))

    def stream(
        self, frames: Iterable[MaskedFrame], *, num_steps: int = 1, dilation: int = 5, seed: int = 0
    ) -> Iterator[Video]:
        """Fill one shot frame by frame, `reach[-1]` frames behind the input; see `inpaint`."""
        horizon = max(self.reach, default=0)
        window: deque[FilledFrame] = deque(maxlen=2 * horizon + 1)
        motions: deque[BackgroundMotion] = deque(maxlen=2 * horizon)
        pending = 0  # frames of the window that have not been yielded; the last ones
        for frame in frames:
            window.append(fill_frame(frame.video, frame.occlusion_mask, frame.disparity))
            if len(window) > 1 and horizon:
                motions.append(background_motion(window[-2], window[-1]))
            pending += 1
            if pending > horizon:
                yield propagate(window, motions, len(window) - pending, self.reach)
                pending -= 1
        for at in range(len(window) - pending, len(window)):
            yield propagate(window, motions, at, self.reach)


INPAINTERS = ("classic",)
"""Names that `load_inpainter` knows."""


def load_inpainter(name: str = "classic") -> Inpainter:
    """Load an inpainter by name.

    Raises:
        ValueError: the name is unknown.
    """
    check_choice("fill", name, INPAINTERS)
    return ClassicInpainter()
