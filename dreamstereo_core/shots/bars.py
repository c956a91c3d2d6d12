"""Letterbox and pillarbox bars: found once per shot, so that they never come and go.

Bars are black, lie on both sides alike, and the picture begins along a straight line over most of
its length. That is what tells them from a dark scene: where nothing shows it, the film's last bars
stay, or there are none. What lights up within bars (a subtitle) stays within them; only if a
quarter of them lights up, they were no bars, and the shot goes on without.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

_BLACK = 0.05  # level up to which a bar's pixel is black, its noise included
_SAMPLES = 256  # pixels of a row or column that are looked at
_SPECKS = 0.02  # share of a bar's row that may be lit: a logo's corner, noise
_EDGE = 0.5  # share of the picture's first rows that must be lit
_SOFT = 2  # px over which a scaled picture's border may fade
_UNEVEN = 0.02  # of the side, by which two bars may differ
_WIDEST = 0.35  # of the side, one bar: 16 : 9 in 9 : 16
_WIDEST_OF_BOTH = 0.15  # where there are bars on all four sides: a window in the dark is none
_WRONG = 0.25  # share of the bars' pixels that must be lit for them to be none


@dataclass(frozen=True)
class Bars:
    """Widths of the bars around a picture, in pixels."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))

    def crop(self, frames: Tensor) -> Tensor:
        """Return the picture inside of ``[..., H, W]``, a view."""
        height, width = frames.shape[-2:]
        return frames[..., self.top : height - self.bottom, self.left : width - self.right]

    def paste(self, picture: Tensor, frames: Tensor) -> Tensor:
        """Return `frames` ``[..., H, W]`` with `picture` inside and their own bars around it."""
        if not self:
            return picture
        whole = frames.to(picture.dtype, copy=True)
        self.crop(whole).copy_(picture)
        return whole

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """Left, right, top and bottom, as `torch.nn.functional.pad` takes them."""
        return self.left, self.right, self.top, self.bottom

    def pad(self, picture: Tensor, value: float) -> Tensor:
        """Return ``[..., H, W]`` with `picture` inside and bars of one value around it."""
        return F.pad(picture, self.sides, value=value)

    def crop_scaled(self, depth: Tensor, frames: Tensor) -> Tensor:
        """Return what of a depth ``[..., h, w]`` of whole `frames` ``[..., H, W]`` lies inside."""
        y, x = (a / b for a, b in zip(depth.shape[-2:], frames.shape[-2:], strict=True))
        sides = (self.top * y, self.bottom * y, self.left * x, self.right * x)
        return Bars(*map(round, sides)).crop(depth)


_Lit: TypeAlias = tuple[Tensor, Tensor]
"""What of a frame is not black: some of each row, bool ``[H, n]``, and each column, ``[W, n]``."""


class BarDetector:
    """Find each frame's bars while the frames stream by.

    A frame's bars are read from it and the `lookahead` frames after it (or up to the shot's end),
    until a shot has shown whether it has any; from then on they stay.
    """

    def __init__(self, lookahead: int = 8) -> None:
        self.lookahead = lookahead
        self._waiting: deque[_Lit] = deque()
        self._starting = False
        self._film = self._now = Bars()
        self._sure = False  # whether this shot has shown its bars

    def push(self, frame: Tensor, new_shot: bool = False) -> list[Bars]:
        """Take a frame ``[3, H, W]``; return the bars that are now known, in the frames' order."""
        known = self.flush() if new_shot else []
        self._starting |= new_shot
        self._waiting.append(_lit(frame))
        if len(self._waiting) > self.lookahead:
            known.append(self._release())
        return known

    def flush(self) -> list[Bars]:
        """End the shot and return the bars of its last frames."""
        return [self._release() for _ in range(len(self._waiting))]

    def _release(self) -> Bars:
        if self._starting:
            self._now, self._sure, self._starting = self._film, False, False
        if not self._sure:
            rows, columns = (torch.stack(x).any(0) for x in zip(*self._waiting, strict=True))
            found = _find(rows, columns, self._film)
            if found is None:  # a subtitle ahead: this frame's own, if those ahead let it be
                found = _find(*self._waiting[0], self._film)
                found = found if found and _are_black(found, rows, columns) else None
            if found is not None:
                self._film = self._now = found
                self._sure = True
        lit = self._waiting.popleft()
        if self._now and not _are_black(self._now, *lit):
            self._now, self._sure = Bars(), True
        return self._now


def _find(rows: Tensor, columns: Tensor, film: Bars) -> Bars | None:
    """Return the bars that a shot's lit pixels show; None if they show neither bars nor none.

    Where one direction shows bars and the other nothing, the film's stand for the other; they stand
    for all that is off by no more than a picture's soft border.
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
    """Return how many lines are black before and after the picture; None if that is unsure."""
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


def _lit(frame: Tensor) -> _Lit:
    height, width = frame.shape[1:]
    rows = frame[:, :, :: max(1, width // _SAMPLES)].amax(0)
    columns = frame[:, :: max(1, height // _SAMPLES)].amax(0).T
    return rows > _BLACK, columns > _BLACK
