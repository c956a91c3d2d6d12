"""What every depth estimator is: `predict` for streams, `estimate` for whole clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..errors import DepthError as DepthError
from ..shots import BarDetector, ShotDetector, find_shots
from ..stream import Frame, beside, by_shot
from ..types import InverseDepth, ShotScale, Video
from ..video_io import Source, VideoInfo
from .normalize import ShotNormalizer, normalize
from .upsample import upsample_inverse_depth

_NEAREST_METERS = 0.05  # closer points count as this close
_CHUNK = 8  # frames of a clip that are predicted at once


class DepthEstimator(Protocol):
    """Gives each frame an inverse depth."""

    name: str
    """The model or file, as people know it."""
    normalized: bool
    """Whether `predict` returns an InverseDepth already, so that no shot scale is applied."""

    @property
    def late(self) -> bool:
        """Whether `predict` returns fewer depths than it gets frames."""
        return False

    @property
    def whole_frames(self) -> bool:
        """Whether `predict` takes whole frames rather than what letterbox bars enclose."""
        return self.normalized

    @property
    def grown(self) -> bool:
        """Whether near things have been let grow already, as a conversion does."""
        return False

    @property
    def about(self) -> dict[str, Any]:
        """What tells this depth from another one; finished pieces of a film must agree in it."""
        return {"name": self.name}

    @property
    def files(self) -> tuple[Source, ...]:
        """The files that are read during prediction; models have none."""
        return ()

    def from_frame(self, index: int) -> DepthEstimator:
        """Return the estimator for a film that begins at its frame `index`; models return self."""
        return self

    def for_film(self, film: VideoInfo, stop: int | None = None) -> DepthEstimator:
        """Return the estimator for this film up to its frame `stop`; models return self.

        Raises:
            DepthError: a supplied depth does not fit the film.
        """
        return self

    def predict(
        self, video: Video, state: Any = None, *, new_shot: bool = False
    ) -> tuple[Tensor, Any]:
        """Return raw inverse depth ``[n, 1, h, w]`` and the state for the next chunk.

        Raw inverse depth has any positive scale and any resolution; larger is nearer. Chunks arrive
        in order, and none crosses a cut; `new_shot` says that this chunk starts a shot. The result
        is the same however a film is cut into chunks. An estimator that looks ahead returns fewer
        depths than frames, at first none. The others come in order, from later calls or `flush`.
        """
        ...

    def portable(self, state: Any) -> Any:
        """Return a state of `predict` with which `from_frame` goes on in another run."""
        return state

    def flush(self, state: Any) -> Tensor:
        """End a shot; return raw inverse depth ``[n, 1, h, w]`` of the frames still without one."""
        return torch.empty(0, 1, 1, 1)

    def stream(self, frames: Iterable[Frame], chunk_frames: int = _CHUNK) -> Iterator[Tensor]:
        """Yield each frame's raw inverse depth ``[1, 1, h, w]`` within its bars, perhaps late.

        Args:
            frames: the frames of a film, in order.
            chunk_frames: frames that `predict` gets at once; it does not change the depth.

        Raises:
            RuntimeError: `predict` and `flush` gave another number of depths than a shot has
                frames.
        """

        def stage(taken: Iterator[Frame]) -> Iterator[Tensor]:
            return self._predict_all(taken, chunk_frames)

        for frame, raw in beside(frames, stage, Frame.at_rest):
            yield frame.bars.crop_scaled(raw, frame.pixels) if self.whole_frames else raw

    def _predict_all(self, frames: Iterable[Frame], chunk_frames: int) -> Iterator[Tensor]:
        state = None
        for shot in by_shot(frames):
            new_shot, owed = True, 0
            for chunk in _chunks(shot, chunk_frames):
                if (notes := chunk[0].notes) is not None:
                    notes.written["depth"] = new_shot, self.portable(state)
                    new_shot, state = notes.read.get("depth", (new_shot, state))
                seen = [f.pixels[None] if self.whole_frames else f.picture for f in chunk]
                raws, state = self.predict(torch.cat(seen), state, new_shot=new_shot)
                new_shot, owed = False, owed + len(chunk) - len(raws)
                chunk.clear()
                seen.clear()
                yield from raws[:, None]
            raws = self.flush(state)
            if len(raws) != owed:
                raise RuntimeError(
                    f"{self.name}: expected {owed} more depths at the shot's end, got {len(raws)}"
                )
            yield from raws[:, None]

    def estimate(self, video: Video) -> InverseDepth:
        """Return the inverse depth ``[T, 1, H, W]`` of a whole clip: one scale per shot.

        Letterbox and pillarbox bars are left out and get the depth of the picture's edge.

        Raises:
            TypeError: `video` is not a floating point tensor.
            ValueError: `video` has another shape, or the raw depth is not finite.
        """
        check_frames("video", video, channels=3)
        return torch.cat([f.inverse_depth for f in self.estimate_frames(map(Frame, video))])

    def estimate_frames(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield each frame of a clip with the inverse depth ``[1, 1, H, W]`` of `estimate`."""
        found = find_shots(frames, ShotDetector(), BarDetector())
        for frame in with_depth(found, self):
            yield replace(frame, inverse_depth=_whole_frame(frame))


def _chunks(frames: Iterable[Frame], most: int) -> Iterator[list[Frame]]:
    """Yield the frames in chunks; one that has notes is the first of its chunk."""
    chunk: list[Frame] = []
    for frame in frames:
        if chunk and frame.notes is not None:
            yield chunk
            chunk = []
        chunk.append(frame)
        if len(chunk) == most:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def with_depth(
    frames: Iterable[Frame], estimator: DepthEstimator, chunk_frames: int = _CHUNK
) -> Iterator[Frame]:
    """Give each frame its inverse depth, in [0, 1] on one scale per shot, and that scale.

    An estimator that normalises has the scale from 0 to 1. Large frames come at rest
    (`Frame.awake`).

    Raises:
        RuntimeError: the estimator gave too few depths for a shot, or too many.
        ValueError: a depth is not finite.
    """

    def raws(taken: Iterator[Frame]) -> Iterator[Tensor]:
        return estimator.stream(taken, chunk_frames)

    normalizer = ShotNormalizer()

    def scales(deep: Iterator[Frame]) -> Iterator[ShotScale]:
        return normalizer.stream(shown(deep))

    def shown(deep: Iterator[Frame]) -> Iterator[tuple[Tensor, bool]]:
        for frame in deep:
            if frame.notes is not None:
                normalizer.pool = frame.notes.keep("scale", normalizer.pool)
            yield frame.inverse_depth, frame.new_shot

    waited = beside(frames, raws, Frame.at_rest)
    deep = (replace(frame, inverse_depth=raw) for frame, raw in waited)
    for frame, scale in beside(deep, scales):
        if estimator.normalized:
            scale = replace(scale, low=0.0, high=1.0)
        inverse_depth = normalize(frame.inverse_depth, scale.low, scale.high)
        yield replace(frame, inverse_depth=inverse_depth, scale=scale)


class WrappedDepth(DepthEstimator):
    """A wrapper of another estimator, with its properties; subclasses override what they change."""

    def __init__(self, estimator: DepthEstimator) -> None:
        self.estimator = estimator
        self.name, self.normalized = estimator.name, estimator.normalized

    @property
    def late(self) -> bool:
        """Return the wrapped estimator's."""
        return self.estimator.late

    @property
    def whole_frames(self) -> bool:
        """Return the wrapped estimator's."""
        return self.estimator.whole_frames

    @property
    def grown(self) -> bool:
        """Return the wrapped estimator's."""
        return self.estimator.grown

    def from_frame(self, index: int) -> DepthEstimator:
        """Return the same wrapper around the estimator from that frame on."""
        wrapper = copy(self)
        wrapper.estimator = self.estimator.from_frame(index)
        return wrapper

    @property
    def about(self) -> dict[str, Any]:
        """Return the wrapped estimator's."""
        return self.estimator.about

    @property
    def files(self) -> tuple[Source, ...]:
        """Return the wrapped estimator's."""
        return self.estimator.files

    def for_film(self, film: VideoInfo, stop: int | None = None) -> DepthEstimator:
        """Return the same wrapper around the estimator for this film."""
        wrapper = copy(self)
        wrapper.estimator = self.estimator.for_film(film, stop)
        return wrapper

    def predict(
        self, video: Video, state: Any = None, *, new_shot: bool = False
    ) -> tuple[Tensor, Any]:
        """Predict as the wrapped estimator does, with its state."""
        return self.estimator.predict(video, state, new_shot=new_shot)

    def portable(self, state: Any) -> Any:
        """Return the wrapped estimator's."""
        return self.estimator.portable(state)

    def flush(self, state: Any) -> Tensor:
        """End a shot as the wrapped estimator does, with its state."""
        return self.estimator.flush(state)


def _whole_frame(frame: Frame) -> InverseDepth:
    """Return a frame's inverse depth at its size; bars get that of the picture's edge."""
    inside = upsample_inverse_depth(frame.inverse_depth, frame.picture)
    return F.pad(inside, frame.bars.sides, mode="replicate") if frame.bars else inside


def invert_meters(depth: Tensor) -> Tensor:
    """Return the raw inverse depth of a depth in metres."""
    return 1 / depth.clamp(min=_NEAREST_METERS)
