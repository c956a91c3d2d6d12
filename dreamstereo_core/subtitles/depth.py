"""Put subtitles in front of what they cover, and move them slowly."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace

from ..checks import check_frame_rate
from ..stream import Frame
from ..types import Caption, Disparity
from .draw import CaptionStyle, bitmap_of
from .read import Subtitles

_MARGIN = 0.2  # % of the width in front of what they cover, or of the screen
_NEARER, _FARTHER = 4.0, 1.0  # % of the width in a second
_AHEAD_S = 0.25
_REACH = 0.03  # of the width, to the sides: where the eyes see other things beside the text
_AROUND_PX = 3  # of the depth, whose edges are not quite those of the picture
_Key = tuple[str, bool]


@dataclass
class _Waiting:
    frame: Frame
    needs: dict[_Key, float]
    """Text and place -> the least disparity that is in front of all that it covers."""


class CaptionDepth:
    """Gives frames their captions.

    A caption is in front of the screen and of all that it covers, always. It comes nearer by at
    most 4 % of the width in a second, which a look ahead makes room for, except where things
    come nearer than that; it goes back by 1 % in a second. At cuts it jumps, as the picture does.

    Args:
        subtitles: what is shown, and when.
        style: how it looks.
        disparity: of a frame's inverse depth, in its own pixels.
        frame_rate: frames per second.
    """

    def __init__(
        self,
        subtitles: Subtitles,
        style: CaptionStyle,
        disparity: Callable[[Frame], Disparity],
        frame_rate: float = 24.0,
    ) -> None:
        check_frame_rate(frame_rate)
        self._subtitles, self._style, self._disparity = subtitles, style, disparity
        self._rate = frame_rate
        self._ahead = math.ceil(_AHEAD_S * frame_rate)
        self._last: dict[bool, float] = {}
        """Disparity of the caption at each place in the last frame."""

    def stream(self, frames: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Yield each frame with its captions, a few frames late."""
        waiting: deque[_Waiting] = deque()
        for frame in frames:
            if frame.new_shot:
                yield from self._drain(waiting, 0)
            waiting.append(_Waiting(frame.at_rest(), self._needs(frame)))
            yield from self._drain(waiting, self._ahead)
        yield from self._drain(waiting, 0)

    def _drain(self, waiting: deque[_Waiting], most: int) -> Iterator[Frame]:
        while len(waiting) > most:
            frame = waiting[0].frame
            if frame.notes is not None:
                kept = frame.notes.keep("captions", dict(self._last))
                self._last = dict(kept)
            captions = self._captions(waiting)
            waiting.popleft()
            yield replace(frame, captions=captions)

    def _captions(self, waiting: deque[_Waiting]) -> tuple[Caption, ...]:
        frame, needs = waiting[0].frame, waiting[0].needs
        if frame.new_shot:
            self._last = {}
        percent = frame.pixels.shape[-1] / 100
        captions = []
        for (text, top), need in needs.items():
            wanted = need
            for number, later in enumerate(waiting):
                if (text, top) not in later.needs:
                    break
                rise = _NEARER * percent * number / self._rate
                wanted = max(wanted, later.needs[text, top] - rise)
            if top in self._last:
                wanted = max(wanted, self._last[top] - _FARTHER * percent / self._rate)
            captions.append(Caption(text, top, wanted))
        self._last = {caption.top: caption.disparity for caption in captions}
        return tuple(captions)

    def _needs(self, frame: Frame) -> dict[_Key, float]:
        shown = self._subtitles.at(frame.time)
        if not shown:
            return {}
        disparity = self._disparity(frame)
        return {key: self._need(frame, disparity, *key) for key in shown}

    def _need(self, frame: Frame, disparity: Disparity, text: str, top: bool) -> float:
        """Return the least disparity of a caption, in pixels of the frame."""
        height, width = frame.pixels.shape[-2:]
        margin = _MARGIN / 100 * width
        x0, y0, x1, y1 = bitmap_of(text, top, (width, height), self._style).box
        reach = _REACH * width
        inside = frame.picture.shape  # of what the bars enclose
        down, across = (b / a for a, b in zip(inside[-2:], disparity.shape[-2:], strict=True))
        rows = _range(y0 - frame.bars.top, y1 - frame.bars.top, down, disparity.shape[-2])
        columns = _range(x0 - reach - frame.bars.left, x1 + reach - frame.bars.left, across,
                         disparity.shape[-1])  # fmt: skip
        covered = disparity[..., rows, columns]
        if not covered.numel():  # a bar, which lies on the screen
            return margin
        return max(0.0, float(covered.max()) / across) + margin


def _range(first: float, last: float, scale: float, size: int) -> slice:
    """Return the pixels of the depth that a range of the picture's may show."""
    begin = math.floor(first * scale) - _AROUND_PX
    end = math.ceil(last * scale) + _AROUND_PX
    return slice(max(0, begin), max(0, min(size, end)))
