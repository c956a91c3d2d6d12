"""What every depth estimator is: `predict` for streams, `estimate` for whole clips."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..bars import BarDetector, Bars
from ..checks import check_frames
from ..scenes import ShotDetector
from ..segments import split_film
from ..types import InverseDepth, Video
from .normalize import ShotNormalizer, normalize
from .upsample import upsample_inverse_depth

_NEAREST_METERS = 0.05  # closer points count as this close
_PART = 16  # frames between two looks for cuts


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

        Letterbox and pillarbox bars are not looked at; they get the depth of the picture's edge.

        Raises:
            TypeError: `video` is no floating point tensor.
            ValueError: `video` has another shape, or the raw depth is not finite.
        """
        check_frames("video", video, channels=3)
        shots = _shots(video)
        normalizer = ShotNormalizer()
        state, scales, raws = None, [], []
        for pictures, bars in shots:
            seen = pictures if self.whole_frames else bars.crop(pictures)
            raw, state = self.predict(seen, state, new_shot=True)
            raw = torch.cat([part for part in (raw, self.flush(state)) if len(part)])
            if self.whole_frames:
                raw = bars.crop_scaled(raw, pictures)
            for i, frame in enumerate(raw):
                scales += normalizer.push(frame, new_shot=i == 0)
            raws.append(raw)
        scales += normalizer.flush()
        depths = []
        for (pictures, bars), raw in zip(shots, raws, strict=True):
            own, scales = scales[: len(raw)], scales[len(raw) :]
            if not self.normalized:
                ends = torch.tensor([(s.low, s.high) for s in own]).view(-1, 2, 1, 1, 1)
                raw = normalize(raw, ends[:, 0], ends[:, 1])
            inside = upsample_inverse_depth(raw, bars.crop(pictures))
            depths.append(F.pad(inside, bars.sides, mode="replicate") if bars else inside)
        return torch.cat(depths)


def _shots(video: Video) -> list[tuple[Video, Bars]]:
    """Return each shot's frames, a view, and their bars; where bars change, a shot begins."""
    starts, bars = [], []
    start = 0
    for part in split_film(video, ShotDetector(), BarDetector(), _PART):
        if part.new_shot:
            starts.append(start)
            bars.append(part.bars)
        start += len(part.video)
    stops = [*starts[1:], len(video)]
    return [(video[a:b], around) for a, b, around in zip(starts, stops, bars, strict=True)]


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
