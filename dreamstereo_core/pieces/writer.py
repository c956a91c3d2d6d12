"""Write a film as pieces, and join them to one file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from ..types import Video
from ..video_io import VideoWriter
from .folder import Piece, WorkFolder
from .marks import Marks

_log = logging.getLogger(__name__)

OpenWriter = Callable[..., VideoWriter]
"""`VideoWriter` with all but the target of a view given; keywords replace what is given."""


class PieceWriter:
    """Writes frames to pieces in a work folder; a clean exit joins them to the targets.

    After an exception the finished pieces stay, so that another run can go on.
    """

    def __init__(
        self,
        folder: WorkFolder,
        marks: Marks,
        views: Mapping[str, tuple[Path, OpenWriter]],
        begin: Fraction,
    ) -> None:
        """Prepare to write after the pieces that are there.

        Args:
            folder: with the pieces of former runs.
            marks: of the frames that will come.
            views: each view's target, and what opens a file for it.
            begin: the time of the film's first frame.
        """
        self._folder, self._marks, self._views, self._begin = folder, marks, views, begin
        self._first = self._next = folder.frames
        self._time: Fraction | None = None
        self._writers: dict[str, VideoWriter] = {}
        for path, open_writer in views.values():  # problems show before any work is done
            open_writer(path).close()

    def __enter__(self) -> PieceWriter:
        """Return the writer."""
        return self

    def write(
        self, pictures: Mapping[str, Video], times: Sequence[Fraction], new_shot: bool = False
    ) -> None:
        """Write the next frames, of each view `[T, 3, H, W]`; the first one may start a shot.

        Raises:
            VideoError: a piece cannot be written.
        """
        begin = 0
        for index in range(len(times)):
            if self._marks.ends_before(self._next + index - begin, self._first):
                self._put(pictures, times, begin, index, new_shot)
                self._next += index - begin
                self._end_piece(last=False)
                begin = index
        self._put(pictures, times, begin, len(times), new_shot)
        self._next += len(times) - begin

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Join the pieces, or leave them for another run.

        Raises:
            VideoError: no frame was written, or a target cannot be written.
        """
        if kind is None:
            if self._writers or not self._folder.pieces:
                self._end_piece(last=True)
            self._join()
            return
        for writer in self._writers.values():
            writer.close()
        if self._folder.pieces:
            _log.warning(
                "%s: %d frames are finished and kept in %s; the same command goes on from there",
                *(self._targets[0], self._folder.frames, self._folder.path),
            )

    @property
    def _targets(self) -> list[Path]:
        return [path for path, _ in self._views.values()]

    def _put(
        self,
        pictures: Mapping[str, Video],
        times: Sequence[Fraction],
        begin: int,
        end: int,
        new_shot: bool,
    ) -> None:
        if begin == end:
            return
        if not self._writers:
            self._time = times[begin]
            for view, (_, open_writer) in self._views.items():
                place = self._folder.place(self._name(view))
                self._writers[view] = open_writer(place, audio_from=None, overwrite=True)
        for view, writer in self._writers.items():
            part = pictures[view][begin:end]
            writer.write(part, times[begin:end], new_shot=new_shot and begin == 0)

    def _name(self, view: str) -> str:
        return piece_name(self._first, view)

    def _end_piece(self, *, last: bool) -> None:
        for writer in self._writers.values():
            writer.__exit__(None, None, None)
        assert self._time is not None
        names = {view: self._name(view) for view in self._writers}
        piece = Piece(self._first, self._next - self._first, self._time, names)
        self._writers = {}
        self._folder.add(piece, None if last else self._marks.at(self._next))
        self._first = self._next

    def _join(self) -> None:
        join(self._folder, self._views, self._begin)


def join(folder: WorkFolder, views: Mapping[str, tuple[Path, OpenWriter]], begin: Fraction) -> None:
    """Copy the pieces' packets into the targets, and empty the folder.

    Args:
        folder: with all pieces of the film.
        views: as of `PieceWriter`.
        begin: the time of the film's first frame.

    Raises:
        VideoError: a target cannot be written.
    """
    pieces = folder.pieces
    for view, (target, open_writer) in views.items():
        with open_writer(target, like=folder.place(pieces[0].files[view])) as writer:
            for piece in pieces:
                writer.copy(folder.place(piece.files[view]), piece.time - begin)
    folder.discard()


def piece_name(first: int, view: str) -> str:
    """Return the file name of a piece that begins with a frame."""
    return f"piece_{first:08d}_{view}.mp4"
