"""Decide which depth of a file belongs to which frame of a film."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

from torch import Tensor

from ..video_io import VideoInfo, count_frames, probe
from ..video_io.source import image_paths
from .estimator import DepthError

_log = logging.getLogger(__name__)
_SAME_RATE = Fraction(1, 500)  # 23.976 and 24 count as one rate, 24 and 25 do not

TimedPlane = tuple[Fraction | None, Tensor]
"""A depth ``[1, h, w]`` and its time in seconds, where the file has times."""


@dataclass(frozen=True)
class FilmMatch:
    """How depths are given to a film's frames; by default by number, and none is held."""

    rate: Fraction | None = None
    """The film's frames per second, where depth is matched by time; None: by number."""
    hold: int = 0
    """Frames at the film's end that may repeat the last depth."""
    frames: int | None = None
    """Frames of the depth file; known where `hold` is not 0."""
    warned: bool = False
    """Whether the user has been told already that the last depth is held."""
    times: Iterator[Fraction] | None = None
    """Times of the film's frames in seconds; None: they follow `rate`."""

    def first(self, start: int) -> int:
        """Return the depth file's first frame for a film that begins at its frame `start`."""
        if self.rate is not None:
            return 0
        return start if self.frames is None else min(start, self.frames - 1)

    def fit(self, planes: Iterable[TimedPlane], start: int, name: str) -> Iterator[Tensor]:
        """Yield the depth of each frame of the film; `planes` begin at the frame `first(start)`."""
        return self._by_time(iter(planes), start) if self.rate else self._held(planes, name)

    def _held(self, planes: Iterable[TimedPlane], name: str) -> Iterator[Tensor]:
        plane = None
        for _, plane in planes:
            yield plane
        if plane is None or not self.hold:
            return
        if not self.warned:
            _log.warning("%s: ends before the film; its last depth is repeated", name)
        for _ in range(self.hold):
            yield plane

    def _by_time(self, planes: Iterator[TimedPlane], start: int) -> Iterator[Tensor]:
        """Yield for each of the film's frames the depth that is shown at the same time."""
        rate = self.rate or Fraction(1)
        now = next(planes, None)
        if now is None:
            return
        origin, coming = now[0] or Fraction(0), next(planes, None)
        last = origin + self.hold / rate
        for time in self._film_times(start, rate):
            while coming is not None and (coming[0] or 0) - origin <= time + 1 / (4 * rate):
                now, coming = coming, next(planes, None)
                last = (now[0] or Fraction(0)) + self.hold / rate
            if coming is None and origin + time > last:
                return
            yield now[1]

    def _film_times(self, start: int, rate: Fraction) -> Iterator[Fraction]:
        """Yield the seconds of each frame since the film's first one."""
        if self.times is None:
            yield from (index / rate for index in count(start))
            return
        origin: Fraction | None = None
        for time in self.times:
            origin = time - start / rate if origin is None else origin
            yield time - origin


def match_film(
    source: str | Path,
    start: int,
    film: VideoInfo,
    stop: int | None = None,
) -> FilmMatch:
    """Compare a depth file with a film, before any work is done.

    If both have as many frames, they belong together by number, whatever the rates say. At the end
    up to a second of the film may be missing, or 5 % of it if that is less. Otherwise, a file of
    another rate that lasts as long as the film is matched by time. Any other file must have a depth
    for each frame.

    Args:
        source: the depth: a video or several images.
        start: its frame that belongs to the first frame that is converted.
        film: the whole film.
        stop: the film's frame to stop before.

    Raises:
        DepthError: the file has too few frames.
    """
    depth = probe(source) if image_paths(source) is None else None
    have, whole = _lengths(source, depth, film)
    wanted = whole if stop is None else min(whole, stop)
    lacking = min(max(2, whole // 20), max(2, round(film.frame_rate)))
    short = wanted - have
    if min(abs(short), abs(whole - have)) <= lacking or depth is None:
        if short > lacking:
            raise _too_short(source, have, wanted)
        if short > 0:
            _log.warning("%s: has %d frames for %d; the last one is repeated", source, have, wanted)
        return FilmMatch(hold=lacking, frames=have, warned=short > 0)
    ratio = depth.frame_rate / film.frame_rate
    lasts = have / depth.frame_rate + (lacking + 1 / ratio) / film.frame_rate
    if abs(ratio - 1) > _SAME_RATE and lasts >= wanted / film.frame_rate:
        _log.warning(
            "%s: has %.6g frames a second, the film %.6g; matched by time",
            *(source, depth.frame_rate, film.frame_rate),
        )
        hold = lacking + round(1 / ratio)  # film frames for which one depth is shown anyway
        return FilmMatch(film.frame_rate, hold)
    if short > 0:
        raise _too_short(source, have, wanted)
    return FilmMatch(hold=lacking, frames=have)


def _lengths(source: str | Path, depth: VideoInfo | None, film: VideoInfo) -> tuple[int, int]:
    """Return how many frames both have, counted unless the containers' own numbers agree."""
    said = None if depth is None else depth.frame_count
    if said is not None and said == film.frame_count:
        return said, said
    return count_frames(source), 1 if film.is_image else count_frames(film.source)


def _too_short(source: str | Path, have: int, wanted: int) -> DepthError:
    return DepthError(
        f"{source}: expected a depth for each of the film's {wanted} frames, got {have}"
    )
