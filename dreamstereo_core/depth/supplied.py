"""Depth that the user supplies: a video, an image sequence, one image, or a clip in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, tee
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..stream import Frame
from ..types import Video
from ..video_io import Source, VideoInfo, is_own, probe, read_frames
from ..video_io.source import image_paths
from .colored import check_grey
from .deband import deband
from .estimator import DepthError, DepthEstimator, invert_meters
from .film_match import FilmMatch, match_film
from .float_images import is_float, read_floats
from .inversion import InversionGuess

_log = logging.getLogger(__name__)
_LEVEL = 1 / 255  # step between two values of an 8-bit file
_SAME_SHAPE = 0.03  # relative difference of two aspects; some tools round sizes to whole blocks
_LOOKED_AT = 8  # frames that are checked before any work is done
_NEAREST = 1 / 65535  # smallest distance in an integer file, whose unit is unknown


@dataclass
class _Position:
    """How far the depth file has been read, and what was seen on the way."""

    planes: Iterator[Tensor]
    index: int = 0
    """Frames of the film that have got their depth."""
    guess: InversionGuess = field(default_factory=InversionGuess)


class SuppliedDepth(DepthEstimator):
    """Read inverse depth from a file: each value divided by the largest possible one, 1 = near.

    The file is grey, has one channel, or uses red only. An EXR is read from a channel whose name
    ends in Z, depth, V or Y, else from grey RGB. A colour map is refused.

    A frame belongs to the video's frame of the same number. `for_film` compares lengths, matches a
    file of another rate by time, and repeats the last depth where a few are missing. A longer file
    is used as far as the video goes. One image serves every frame.

    Depth that is larger than the video is averaged down, and smaller depth is returned as it is.
    A depth that a conversion has written (the layout "depth") gives the same film again: it has
    bars and growth in it, and its odd sizes are cut back.

    The terraces of 8-bit depth become slopes. EXR and metric depth have no largest value, so they
    get one scale per shot, as an estimator's depth does. If a depth looks inverted, a warning says
    so, and nothing is changed.

    Args:
        source: depth video, image, folder of images, or printf pattern.
        invert: the file has 0 = near.
        metric: the file has distances (EXR: metres), large = far.
        start: the depth's frame that belongs to the first frame of the video.

    Raises:
        VideoError: the file cannot be read.
        DepthError: it has colours.
        ValueError: both `invert` and `metric` were given.
    """

    def __init__(
        self, source: str | Path, *, invert: bool = False, metric: bool = False, start: int = 0
    ) -> None:
        if invert and metric:
            raise ValueError("invert: expected either invert or metric, got both")
        self.name = str(source)
        self._source = source
        self._invert = invert
        self._metric = metric
        self._start = start
        self._match = FilmMatch()
        self._float = is_float(source)
        self._own = False
        if self._float:
            first = next(read_floats(source))  # fails at the door
            self._shapes = {Fraction(first.shape[2], first.shape[1])}
            self._still, self._banded = image_paths(source) is None, False
        else:
            info = probe(source)
            self._shapes = _shapes(info)
            self._still, self._banded = info.is_image, info.bit_depth == 8
            for frame in read_frames(source, stop=_LOOKED_AT):  # fails at the door
                check_grey(frame.pixels, self.name)
            self._own = is_own((image_paths(source) or [Path(source)])[0])
        self.normalized = not (self._float or metric)

    @property
    def whole_frames(self) -> bool:
        """A depth file shows what the film shows, bars and all."""
        return True

    @property
    def grown(self) -> bool:
        """A depth that a conversion has written is what it warped by."""
        return self._own

    @property
    def files(self) -> tuple[Source, ...]:
        """The depth file, folder or pattern."""
        return (self._source,)

    def from_frame(self, index: int) -> SuppliedDepth:
        """Return the same depth for a film that begins at its frame `index`."""
        later = copy(self)
        later._start = self._start + index
        return later

    @property
    def about(self) -> dict[str, Any]:
        """Return its name and how its values are read."""
        return {"name": self.name, "invert": self._invert, "metric": self._metric}

    def for_film(self, film: VideoInfo, stop: int | None = None) -> SuppliedDepth:
        """Return the same depth fitted to a film, see `match_film`.

        A few missing frames, or another shape, lead to a warning.

        Raises:
            DepthError: the depth fits neither frame by frame nor by time.
            VideoError: the depth or the film cannot be read.
        """
        fitted = copy(self)
        wanted = _shapes(film)
        if not any(abs(have / want - 1) < _SAME_SHAPE for have in self._shapes for want in wanted):
            _log.warning(
                "%s: its shape (%.2f wide for 1 high) is not the film's (%.2f); it is stretched to "
                "fit, which is right only where both show the same",
                *(self.name, max(self._shapes), max(wanted)),
            )
        if not self._still:
            fitted._match = match_film(self._source, self._start, film, stop)
        return fitted

    def stream(self, frames: Iterable[Frame], chunk_frames: int = 1) -> Iterator[Tensor]:
        """Yield the depth of each frame, by number or by the frames' own times."""
        if self._match.rate is None:
            return super().stream(frames, chunk_frames)
        frames, again = tee(frames)
        timed = copy(self)
        timed._match = replace(self._match, times=(frame.time for frame in again))
        return super(SuppliedDepth, timed).stream(frames, chunk_frames)

    def predict(
        self, video: Video, state: _Position | None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, _Position]:
        """Return inverse depth ``[T, 1, h, w]`` of the next T frames, and the position after them.

        Raises:
            DepthError: the file has fewer frames than the video.
            VideoError: the file cannot be read.
        """
        state = state or _Position(self._planes())
        if self._still:
            plane = self._prepare(next(self._planes()), video)
            depth = plane.expand(len(video), -1, -1, -1)
        else:
            planes = [self._prepare(plane, video) for plane in islice(state.planes, len(video))]
            if len(planes) < len(video):
                begin = self._start + state.index
                raise DepthError(
                    f"{self.name}: expected a depth for each frame of the video, got "
                    f"{begin + len(planes)} for at least {begin + len(video)} frames"
                )
            depth = torch.cat(planes)
        for i, frame in enumerate(video.split(1)):
            if state.guess.wants(state.index + i) and state.guess.look(depth[i : i + 1], frame):
                _log.warning(
                    "%s: near and far look exchanged; if they are, invert the depth", self.name
                )
        return depth, replace(state, index=state.index + len(video))

    def portable(self, state: _Position | None) -> None:
        """Return nothing: `from_frame` finds the place."""

    def _planes(self) -> Iterator[Tensor]:
        """Yield a depth ``[1, h, w]`` for each frame of the film, from the start on."""
        start = 0 if self._still else self._match.first(self._start)
        if self._float:
            planes = ((None, plane) for plane in read_floats(self._source, start))
        else:
            frames = read_frames(self._source, start)
            planes = ((frame.time, self._grey(frame)) for frame in frames)
        return self._match.fit(planes, self._start, self.name)

    def _grey(self, frame: Frame) -> Tensor:
        check_grey(frame.pixels, self.name)
        return frame.pixels[:1]

    def _prepare(self, plane: Tensor, video: Video) -> Tensor:
        """Return ``[1, 1, h, w]``, near = large, no larger than the video."""
        depth = plane[None].to(video.device)
        if self._banded:
            depth = deband(depth, _LEVEL)
        if self._metric:
            depth = invert_meters(depth) if self._float else 1 / depth.clamp(min=_NEAREST)
        elif self._invert:
            depth = -depth if self._float else 1 - depth
        height, width = video.shape[2:]
        if self._own and depth.shape[2] - height in (0, 1) and depth.shape[3] - width in (0, 1):
            depth = depth[..., :height, :width]  # the encoder has made its size even
        if depth.shape[2] > height or depth.shape[3] > width:
            depth = F.interpolate(depth, (height, width), mode="area")
        return depth


def _shapes(info: VideoInfo) -> set[Fraction]:
    """Return width / height, both as shown and as stored."""
    stored = Fraction(info.width, info.height)
    return {stored, stored * info.pixel_aspect}


class ClipDepth(DepthEstimator):
    """The raw inverse depth ``[T, 1, h, w]`` of a clip, in memory; any scale, larger = nearer."""

    name = "clip"
    normalized = False

    def __init__(self, raw: Tensor) -> None:
        self._raw = raw

    @property
    def whole_frames(self) -> bool:
        """It shows what the clip shows, bars and all."""
        return True

    def predict(
        self, video: Video, state: int | None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, int]:
        """Return the depth of the next frames, and how many frames have had theirs.

        Raises:
            DepthError: the clip is longer than its depth.
        """
        start = state or 0
        stop = start + len(video)
        if stop > len(self._raw):
            raise DepthError(
                f"clip: expected a depth for each frame, got {len(self._raw)} for at least {stop}"
            )
        return self._raw[start:stop], stop
