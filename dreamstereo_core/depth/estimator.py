"""What every depth estimator is: `predict` for streams, `estimate` for whole clips."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from fractions import Fraction
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..segments import split_film
from ..shots import BarDetector, ShotDetector
from ..types import InverseDepth, Video
from ..video_io import Source, VideoInfo
from .stream import DepthFrame, stream_depth
from .upsample import upsample_inverse_depth

_NEAREST_METERS = 0.05  # closer points count as this close
_CHUNK = 8  # frames of a clip that are predicted at once


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

    @property
    def files(self) -> tuple[Source, ...]:
        """The files that are read while it predicts; models have none."""
        return ()

    def from_frame(self, index: int) -> DepthEstimator:
        """Return the estimator for a film that begins at its frame `index`; models need none."""
        return self

    def for_film(
        self, film: VideoInfo, stop: int | None = None, times: Iterator[Fraction] | None = None
    ) -> DepthEstimator:
        """Return the estimator for this film up to its frame `stop`; models need none.

        `times` gives the time of each frame that is converted, in seconds of the film's clock.

        Raises:
            DepthError: a supplied depth does not fit the film.
        """
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
        parts = split_film(video, ShotDetector(), BarDetector(), _CHUNK)
        return torch.cat([_whole_frame(frame) for frame in stream_depth(self, parts)])


class WrappedDepth(DepthEstimator):
    """Around another estimator: is what that one is; `predict` and the state are its own."""

    def __init__(self, estimator: DepthEstimator) -> None:
        self.estimator = estimator
        self.name, self.normalized = estimator.name, estimator.normalized

    @property
    def whole_frames(self) -> bool:
        """As of the wrapped estimator."""
        return self.estimator.whole_frames

    def from_frame(self, index: int) -> DepthEstimator:
        """Return the same around the wrapped estimator from that frame on."""
        wrapper = copy(self)
        wrapper.estimator = self.estimator.from_frame(index)
        return wrapper

    @property
    def files(self) -> tuple[Source, ...]:
        """As of the wrapped estimator."""
        return self.estimator.files

    def for_film(
        self, film: VideoInfo, stop: int | None = None, times: Iterator[Fraction] | None = None
    ) -> DepthEstimator:
        """Return the same around the wrapped estimator for this film."""
        wrapper = copy(self)
        wrapper.estimator = self.estimator.for_film(film, stop, times)
        return wrapper

    def flush(self, state: Any) -> Tensor:
        """End a shot as the wrapped estimator does, whose state this is."""
        return self.estimator.flush(state)


def _whole_frame(frame: DepthFrame) -> InverseDepth:
    """Return a frame's inverse depth at its size; bars have that of the picture's edge."""
    inside = upsample_inverse_depth(frame.inverse_depth, frame.bars.crop(frame.video))
    return F.pad(inside, frame.bars.sides, mode="replicate") if frame.bars else inside


def invert_meters(depth: Tensor) -> Tensor:
    """Return the raw inverse depth of a depth in metres."""
    return 1 / depth.clamp(min=_NEAREST_METERS)
