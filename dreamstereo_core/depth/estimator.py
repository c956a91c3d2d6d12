"""What every depth estimator is: `predict` for streams, `estimate` for whole clips."""

from __future__ import annotations

from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor

from ..checks import check_frames
from ..scenes import ShotDetector
from ..types import InverseDepth, Video
from .normalize import ShotNormalizer, normalize
from .upsample import upsample_inverse_depth

_NEAREST_METERS = 0.05  # closer points count as this close


class DepthError(RuntimeError):
    """A depth model or a supplied depth cannot be used; the text is one readable line."""


class DepthEstimator(Protocol):
    """Gives each frame an inverse depth."""

    name: str
    """For people: which model or file."""
    normalized: bool
    """True: `predict` returns an InverseDepth already, and no shot scale is applied."""

    @property
    def whole_frames(self) -> bool:
        """Whether `predict` takes whole frames; else only what letterbox bars enclose."""
        return self.normalized

    def from_frame(self, index: int) -> DepthEstimator:
        """Return the estimator for a film that begins at its frame `index`; models need none."""
        return self

    def predict(
        self, video: Video, state: Any = None, *, new_shot: bool = False
    ) -> tuple[Tensor, Any]:
        """Return raw inverse depth ``[n, 1, h, w]`` and the state for the next chunk.

        Raw: any positive scale, larger = nearer, any resolution. Chunks arrive in order and none
        crosses a cut; `new_shot` says that this one's first frame starts a shot. The result is the
        same however a film is cut into chunks. An estimator that looks ahead returns fewer depths
        than frames, at first none: each frame's comes in order, in a later call or from `flush`.
        """
        ...

    def flush(self, state: Any) -> Tensor:
        """End a shot: return raw inverse depth ``[n, 1, h, w]`` of the frames still without one."""
        return torch.empty(0, 1, 1, 1)

    def estimate(self, video: Video) -> InverseDepth:
        """Return the inverse depth ``[T, 1, H, W]`` of a whole clip: one scale per shot.

        Raises:
            TypeError: `video` is no floating point tensor.
            ValueError: `video` has another shape, or the raw depth is not finite.
        """
        check_frames("video", video, channels=3)
        cuts, _ = ShotDetector().cuts(video)
        starts = cuts.nonzero().flatten().tolist()
        normalizer = ShotNormalizer()
        state, scales, raws = None, [], []
        for start, stop in zip(starts, [*starts[1:], len(video)], strict=True):
            raw, state = self.predict(video[start:stop], state, new_shot=True)
            ready = [part for part in (raw, self.flush(state)) if len(part)]
            for i, frame in enumerate(chain.from_iterable(ready)):
                scales += normalizer.push(frame, new_shot=i == 0)
            raws += ready
        scales += normalizer.flush()
        raw = torch.cat(raws)
        if not self.normalized:
            low, high = (
                torch.tensor([(s.low, s.high) for s in scales]).view(-1, 2, 1, 1, 1).unbind(1)
            )
            raw = normalize(raw, low, high)
        return upsample_inverse_depth(raw, video)


def invert_meters(depth: Tensor) -> Tensor:
    """Return the raw inverse depth of a depth in metres."""
    return 1 / depth.clamp(min=_NEAREST_METERS)


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device; "auto" takes CUDA, then MPS, then the CPU."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
