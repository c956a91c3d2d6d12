"""Letterbox and pillarbox bars, found once for each shot, so that they never come and go.

Bars are black and equal on both sides, and the picture begins along a straight line over most of
its length, which tells them from a dark scene. Where no such line shows, the film's last bars hold,
or there are none. A subtitle that lights up within bars does not change them. Only if a quarter of
them lights up they were no bars, and the shot goes on without.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..stream import Frame, Notes, by_shot
from ..types import Bars

_BLACK = 0.05  # level up to which a bar's pixel is black, including its noise
_SAMPLES = 256  # pixels of a row or column that are looked at, about
_SPECKS = 0.02  # share of a bar's row that may be lit, by a logo's corner or by noise
_EDGE = 0.5  # share of the picture's first row that must be lit
_SOFT = 2  # px over which a scaled picture's border may fade
_UNEVEN = 0.02  # of the side, by which two bars may differ
_WIDEST = 0.35  # of the side, the widest bar: a picture of 16 : 9 in 9 : 16
_WIDEST_OF_BOTH = 0.15  # the same with bars on all four sides, so that a lit window has none
_WRONG = 0.25  # share of the bars' pixels that must be lit to show that they are no bars


class _Lit(NamedTuple):
    """Whether pixels of a frame are not black, bool."""

    rows: Tensor
    """Of some in each row, ``[H, n]``."""
    columns: Tensor
    """Of some in each column, ``[W, n]``."""
    notes: Notes | None
    """The frame's."""


class BarDetector:
    """Find each frame's bars while the frames stream by.

    A frame's bars are read from it and the `lookahead` frames after it (or up to the shot's end),
    until a shot has shown whether it has any; from then on they stay.
    """

    def __init__(self, lookahead: int = 8) -> None:
        self.lookahead = lookahead

    def stream(self, frames: Iterable[Frame]) -> Iterator[Bars]:
        """Yield the bars of each frame, `lookahead` frames late or at the shot's end."""
        film = Bars()
        for shot in by_shot(frames):
            search = _Search(film)
            for frame in shot:
                search.coming.append(_lit(frame))
                if len(search.coming) > self.lookahead:
                    yield search.next()
            while search.coming:
                yield search.next()
            film = search.film


class _Search:
    """The search for one shot's bars; until they are found, the film's last bars hold."""

    def __init__(self, film: Bars) -> None:
        self.coming: deque[_Lit] = deque()
        self.film = self._now = film
        self._sure = False  # whether this shot has shown its bars

    def next(self) -> Bars:
        """Return the bars of the first frame of `coming`, and remove it."""
        lit = self.coming[0]
        if lit.notes is not None:
            state = self.film, self._now, self._sure
            self.film, self._now, self._sure = lit.notes.keep("bars", state)
        if not self._sure:
            rows = torch.stack([x.rows for x in self.coming]).any(0)
            columns = torch.stack([x.columns for x in self.coming]).any(0)
            found = _find(rows, columns, self.film)
            if found is None:  # perhaps a subtitle ahead: try this frame's own
                found = _find(lit.rows, lit.columns, self.film)
                found = found if found and _are_black(found, rows, columns) else None
            if found is not None:
                self.film = self._now = found
                self._sure = True
        self.coming.popleft()
        if self._now and not _are_black(self._now, lit.rows, lit.columns):
            self._now, self._sure = Bars(), True
        return self._now


def _find(rows: Tensor, columns: Tensor, film: Bars) -> Bars | None:
    """Return the bars that a shot's lit pixels show, or None if that is unclear.

    If one direction shows bars and the other is unclear, the film's bars are taken for the other.
    Bars that differ from the film's by no more than a picture's soft border become the film's.
    """
    vertical, horizontal = _margins(rows), _margins(columns)
    if not (any(vertical or ()) or any(horizontal or ())) and None in (vertical, horizontal):
        return None
    sides = (*(vertical or (film.top, film.bottom)), *(horizontal or (film.left, film.right)))
    known = (film.top, film.bottom, film.left, film.right)
    if film and all(abs(a - b) <= _SOFT for a, b in zip(sides, known, strict=True)):
        return film
    shares = max(sides[:2]) / len(rows), max(sides[2:]) / len(columns)
    return None if min(shares) > 0 and max(shares) > _WIDEST_OF_BOTH else Bars(*sides)


def _margins(lines: Tensor) -> tuple[int, int] | None:
    """Return how many lines are black before and after the picture; None if that is unclear."""
    side = len(lines)
    shown = (lines.float().mean(1) > _SPECKS).nonzero().flatten().tolist()
    if not shown:
        return None
    first, last = shown[0], shown[-1]
    before, after = first, side - 1 - last
    if max(before, after) > _WIDEST * side or abs(before - after) > max(_SOFT, _UNEVEN * side):
        return None
    across = lines.any(0).nonzero().flatten().tolist()
    soft = min(_SOFT, (last - first) // 2)
    edges = lines[[first + soft, last - soft], across[0] : across[-1] + 1]
    return (before, after) if float(edges.float().mean(1).min()) >= _EDGE else None


def _are_black(bars: Bars, rows: Tensor, columns: Tensor) -> bool:
    sides = (
        *(rows[: bars.top], rows[len(rows) - bars.bottom :]),
        *(columns[: bars.left], columns[len(columns) - bars.right :]),
    )
    return all(len(side) == 0 or float(side.float().mean()) < _WRONG for side in sides)


def _lit(frame: Frame) -> _Lit:
    height, width = frame.pixels.shape[1:]
    rows = frame.pixels[:, :, :: max(1, width // _SAMPLES)].amax(0)
    columns = frame.pixels[:, :: max(1, height // _SAMPLES)].amax(0).T
    return _Lit(rows > _BLACK, columns > _BLACK, frame.notes)
