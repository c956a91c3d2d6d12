"""Finish an MP4 or QuickTime file: change its movie box, and put it before the pictures.

FFmpeg writes the movie box behind all pictures. It is changed there, where nothing depends on its
size, and then moved to the front in the one pass that "faststart" takes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .box_tree import SAMPLE_ENTRIES, Box, parse

_BLOCK = 1 << 24
_OFFSET_MAX = (1 << 32) - 1


class _Place(NamedTuple):
    kind: bytes
    start: int
    end: int


def finish_movie(path: Path, change: Callable[[Box], None] | None = None) -> None:
    """Move the movie box of a finished file behind its type box, in place.

    Args:
        path: a file as FFmpeg's muxer leaves it: type, pictures, movie box.
        change: called with the movie box, which it may change.

    Raises:
        ValueError: the file has other boxes, or in another order.
        OSError: the disk is full, or refuses.
    """
    with path.open("rb+") as file:
        places = list(_top_level(file))
        if len(places) < 2 or places[0].kind != b"ftyp" or places[-1].kind != b"moov":
            found = b" ".join(place.kind for place in places).decode("latin-1")
            raise ValueError(f"{path}: expected a movie box at the end, got {found}")
        front, end = places[0].end, places[-1].start
        file.seek(end)
        (movie,) = parse(file.read())
        if change is not None:
            change(movie)
        data = _moved(movie)
        _move_up(file, front, end, len(data))
        file.seek(front)
        file.write(data)
        file.truncate(end + len(data))


def read_movie(path: Path) -> Box:
    """Return a file's movie box.

    Raises:
        ValueError: it has none.
    """
    with path.open("rb") as file:
        for place in _top_level(file):
            if place.kind == b"moov":
                file.seek(place.start)
                return next(parse(file.read(place.end - place.start)))
    raise ValueError(f"{path}: has no movie box")


def film_track(movie: Box) -> Box:
    """Return the first track of pictures.

    Raises:
        ValueError: there is none.
    """
    for track in movie.children:
        if track.kind == b"trak" and _description(track) is not None:
            return track
    raise ValueError("movie: has no track of pictures")


def film_entry(movie: Box) -> Box:
    """Return the sample entry of that track."""
    entry = _description(film_track(movie))
    assert entry is not None
    return entry


def _description(track: Box) -> Box | None:
    found = track.child(b"mdia", b"minf", b"stbl", b"stsd")
    entries = [] if found is None else found.children
    return next((entry for entry in entries if entry.kind in SAMPLE_ENTRIES), None)


def _top_level(file: BinaryIO) -> Iterator[_Place]:
    file.seek(0, 2)
    length, at = file.tell(), 0
    while at + 8 <= length:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        size = size or length - at
        if size < 8:
            return
        yield _Place(head[4:8], at, at + size)
        at += size


def _moved(movie: Box) -> bytes:
    """Return the movie box as it is in front of what its offsets point to.

    Offsets that no longer fit into 32 bits get 64 (`co64`), which makes the box larger.
    """
    tables = [
        table
        for track in movie.children
        if (table := track.child(b"mdia", b"minf", b"stbl")) is not None
    ]
    originals = {id(table): _offsets(table) for table in tables}
    wide: set[int] = {id(table) for table in tables if table.child(b"co64") is not None}
    size = len(movie.pack())
    while True:
        for table in tables:
            shifted = [offset + size for offset in originals[id(table)]]
            if max(shifted, default=0) > _OFFSET_MAX:
                wide.add(id(table))
            _put_offsets(table, shifted, id(table) in wide)
        data = movie.pack()
        if len(data) == size:
            return data
        size = len(data)


def _offsets(table: Box) -> list[int]:
    """Return where a track's chunks begin (14496-12, 8.7.5)."""
    for kind, width in ((b"stco", 4), (b"co64", 8)):
        if (found := table.child(kind)) is not None:
            data = found.head[8:]
            return [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]
    return []


def _put_offsets(table: Box, offsets: list[int], wide: bool) -> None:
    found = table.child(b"stco") or table.child(b"co64")
    if found is None:
        return
    found.kind = b"co64" if wide else b"stco"
    width = 8 if wide else 4
    data = b"".join(offset.to_bytes(width, "big") for offset in offsets)
    found.head = bytes(4) + len(offsets).to_bytes(4, "big") + data


def _move_up(file: BinaryIO, start: int, end: int, by: int) -> None:
    """Move the bytes from `start` to `end` up, the last ones first."""
    while end > start:
        begin = max(start, end - _BLOCK)
        file.seek(begin)
        block = file.read(end - begin)
        file.seek(begin + by)
        file.write(block)
        end = begin
