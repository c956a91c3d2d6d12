"""The frames at which a piece of a film may end and the next one begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..stream import Frame, Notes

_OF_THE_FILM = ("bars", "around")
"""Stages that know something across a cut, and can begin with it at one."""


@dataclass(frozen=True)
class Recalled:
    """What another run needs so that it can begin with a frame's result."""

    lead: int = 0
    """Frames before that one that it must read and take through the stages, too."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """What the stages know before the first of these; see `Notes`."""
    at: Mapping[str, Any] = field(default_factory=dict)
    """What the fill knows before the frame itself."""


@dataclass
class Marks:
    """Puts notes on the frames around each boundary, and keeps them until a piece ends there.

    The fill looks back at whole frames, which would be large to store. So depth and all that comes
    before the fill begin `lead` frames earlier, and two frames get notes.
    """

    every: int
    """Frames from one boundary to the next."""
    lead: int
    """Frames before a boundary that the fill must see again."""
    resumable: bool
    """Whether any frame may be a boundary; else only one that starts a shot."""
    notes: dict[int, Notes] = field(default_factory=dict)
    """By the frame's number in the film."""

    def __post_init__(self) -> None:
        self.lead = self.lead if self.resumable else 0
        self.every = max(self.every, self.lead + 1)

    def put(self, frames: Iterable[Frame], begin: int, recalled: Recalled) -> Iterator[Frame]:
        """Yield frames with notes on those that need them.

        Args:
            frames: of the film, from `recalled.lead` frames before `begin` on.
            begin: the first frame whose result is wanted.
            recalled: what `at` returned for it in another run.
        """
        first = begin - recalled.lead
        for number, frame in enumerate(frames, first):
            if self._is_marked(number):
                read: dict[str, Any] = {}
                if number == first:
                    read |= recalled.before
                if number == begin:
                    read |= recalled.at
                self.notes[number] = Notes(read=read)
                frame = replace(frame, notes=self.notes[number])
            yield replace(frame, warm_up=True) if number < begin else frame

    def _is_marked(self, number: int) -> bool:
        if not self.resumable:
            return True
        return number % self.every == 0 or (number + self.lead) % self.every == 0

    def ends_before(self, number: int, last: int) -> bool:
        """Tell whether a piece that began at frame `last` ends before frame `number`.

        To be asked for each frame in order, when its result is there.
        """
        if self.resumable:
            return number > last and number % self.every == 0
        ends = self.notes[number].written["new_shot"] and number >= last + self.every
        if not ends:
            del self.notes[number]
        return ends

    def at(self, number: int) -> Recalled:
        """Return what another run needs to begin with this frame's result, and forget it here."""
        if not self.resumable:
            written = self.notes.pop(number).written
            return Recalled(before={k: written[k] for k in _OF_THE_FILM if k in written})
        at, before = (self.notes[n].written for n in (number, number - self.lead))
        for other in [n for n in self.notes if n <= number]:
            del self.notes[other]
        fill = {"fill": at["fill"]} if "fill" in at else {}
        return Recalled(self.lead, {k: v for k, v in before.items() if k != "fill"}, fill)
