"""Mend broken time stamps: joined recordings, a recorder's cuts, single wrong stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

from av import Packet
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from .info import demux, stream_rate

_JUMP_BACK = Fraction(1, 5)  # s; stamps that run back by less are jitter
_JUMP_AHEAD = 60  # s; a longer way ahead is a break in broadcasts, whose clock may start anew
_OVERLAP = Fraction(1, 10)  # s by which sound may begin before its predecessor's end
_NEAR = 1  # s after its predecessor's end at which a packet still runs on
_LOOK_AHEAD = 500  # packets


def may_jump(container: InputContainer) -> bool:
    """Tell whether the clock may start anew in the middle of a file of this kind."""
    return container.format.name in ("mpegts", "mpeg")


@dataclass
class PictureClock:
    """Makes the time stamps of a film's pictures grow; at a break they continue evenly."""

    jumps: bool
    """Whether a jump far ahead is a break as well, see `may_jump`."""
    shift: Fraction = Fraction(0)
    """Seconds that are added to the stamps."""
    _earlier: Fraction = Fraction(0)
    _last: Fraction | None = None

    def move(self, stamp: Fraction | None, step: Fraction) -> Fraction:
        """Return the time of the next picture; pictures usually follow each other by `step` s."""
        last = self._last
        if last is None:
            moved = stamp or Fraction(0)
        elif stamp is None:
            moved = last + step
        else:
            moved = stamp + self.shift
            if not self._runs_on(moved):
                if self._runs_on(stamp + self._earlier):  # only the stamp before was wrong
                    self.shift, self._earlier = self._earlier, self.shift
                    moved = stamp + self.shift
                else:
                    if not last - _JUMP_BACK <= moved <= last:
                        self._earlier, self.shift = self.shift, last + step - stamp
                    moved = last + step
        self._last = moved
        return moved

    def _runs_on(self, time: Fraction) -> bool:
        last = cast(Fraction, self._last)
        return last < time and (not self.jumps or time - last <= _JUMP_AHEAD)


@dataclass
class _Position:
    """How far one track has been read."""

    shift: Fraction = Fraction(0)
    end: Fraction | None = None
    """Seconds at which its last packet ends."""
    repaired: bool = False


@dataclass
class TrackClock:
    """Reads the packets of tracks in file order, each with the time at which it begins.

    Where the pictures' clock breaks, the tracks follow it, so that they stay in step. A single
    wrong stamp is replaced, overlapping packets are left out, and a gap stays a gap.
    """

    container: InputContainer
    picture: VideoStream | None
    tracks: list[Stream]
    repaired: list[int] = field(default_factory=list)
    """Indices of the streams whose stamps were mended, in the order in which that happened."""

    def __post_init__(self) -> None:
        streams = [*self.tracks, *([] if self.picture is None else [self.picture])]
        self._raw = demux(self.container, *streams) if self.tracks else iter(())
        self._queue: deque[Packet] = deque()
        self._pictures = PictureClock(may_jump(self.container))
        self._positions = {stream.index: _Position() for stream in self.tracks}

    def packets(self) -> Iterator[tuple[Packet, Fraction]]:
        """Yield the tracks' packets and the seconds of the source's clock at which they begin."""
        while self._queue or self._read():
            packet = self._queue.popleft()
            if packet.size:
                begin = self._place(packet)
                if begin is not None:
                    yield packet, begin

    def _read(self) -> bool:
        """Read one more packet into the queue; pictures only move their clock."""
        for packet in self._raw:
            if self.picture is None or packet.stream_index != self.picture.index:
                self._queue.append(packet)
                return True
            if packet.dts is not None:
                time = packet.dts * cast(Fraction, packet.time_base)
                self._pictures.move(time, 1 / stream_rate(self.picture))
        return False

    def _place(self, packet: Packet) -> Fraction | None:
        position = self._positions[packet.stream_index]
        stamp, length = _stamp(packet), _length(packet)
        end = position.end
        if stamp is None:
            begin = end or Fraction(0)
        else:
            begin = stamp + position.shift
            sparse = packet.stream.type == "subtitle"
            odd = end is not None and not -_OVERLAP <= begin - end <= _NEAR
            if end is not None and odd and not (sparse and begin >= end - _NEAR - length):
                placed = self._mend(packet, stamp, end, position)
                if placed is None:
                    return None
                begin = placed
        # Subtitles may be long and overlap, so the next one need not wait for their end.
        position.end = begin if packet.stream.type == "subtitle" else begin + length
        return begin

    def _mend(
        self, packet: Packet, stamp: Fraction, end: Fraction, position: _Position
    ) -> Fraction | None:
        """Return the time of a packet whose stamp does not run on, or None to leave it out."""
        begin = stamp + position.shift
        following = self._following(packet)
        until = None if following is None else following + position.shift - end
        again = until is not None and -_OVERLAP <= until <= _NEAR + _length(packet)
        if again and following is not None and not 0 <= following - stamp <= _NEAR:
            self._note(packet)
            return end  # this one is wrong, the next one is right again
        if begin > end and not (self._pictures.jumps and begin - end > _JUMP_AHEAD):
            return begin  # a gap
        if self._pictures.shift == position.shift:
            self._await_picture_break()
        moved = stamp + self._pictures.shift
        if self._pictures.shift != position.shift and -_NEAR <= moved - end <= _JUMP_AHEAD:
            position.shift = self._pictures.shift
            self._note(packet)
            return moved if moved >= end - _OVERLAP else None
        if begin > end:
            return begin
        if begin > end - _NEAR:
            self._note(packet)
            return None  # an overlap
        position.shift = end - stamp
        self._note(packet)
        return end

    def _note(self, packet: Packet) -> None:
        if packet.stream_index not in self.repaired:
            self.repaired.append(packet.stream_index)

    def _following(self, packet: Packet) -> Fraction | None:
        """Return the stamp of the same track's next packet, or None."""
        seen = 0
        while True:
            for later in list(self._queue)[seen:]:
                seen += 1
                if later.stream_index == packet.stream_index and later.size:
                    return _stamp(later)
            if len(self._queue) >= _LOOK_AHEAD or not self._read():
                return None

    def _await_picture_break(self) -> None:
        """Read on until the pictures' clock breaks, since sound may come first in the file."""
        shift = self._pictures.shift
        while self._pictures.shift == shift and len(self._queue) < _LOOK_AHEAD:
            if not self._read():
                return


def _stamp(packet: Packet) -> Fraction | None:
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None else ticks * cast(Fraction, packet.time_base)


def _length(packet: Packet) -> Fraction:
    return (packet.duration or 0) * cast(Fraction, packet.time_base)
