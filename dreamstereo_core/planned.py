"""A planned film's parts: rendered in any order, noted in the work folder, joined at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .comfort import ComfortLog
from .depth import DepthEstimator
from .fill import Inpainter
from .film import Film
from .pieces.folder import Piece, WorkFolder
from .pieces.writer import OpenWriter, join, piece_name
from .plan import FilmPlan, Span
from .types import StereoVideo
from .video_io import VideoError, VideoWriter, read_frames
from .workers import Pool

Reload = Callable[[], tuple[DepthEstimator, Inpainter]]

_PREVIEW_WIDTH = 512
_LATE, _LOOK = 60.0, 0.2  # s until a file of a shared folder must be seen, and between looks

_log = logging.getLogger(__name__)


@dataclass
class PlannedFilm:
    """A film whose parts can be rendered here or in another process."""

    film: Film
    plan: FilmPlan
    begin: Fraction
    """The time of the film's first frame, in seconds of the source's clock."""
    reload: Reload | None = None
    """Makes the models anew where this arrives; None = they come along."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process gets: no callbacks, and no models that it makes anew."""
        film = replace(self.film, on_progress=None)
        if self.reload is not None:
            film = replace(film, depth=None, inpainter=None)
        return vars(self) | {"film": film}

    def stream(self, span: Span) -> Generator[StereoVideo, None, None]:
        """Convert the frames that a span reads."""
        film = self.film
        if film.depth is None and self.reload is not None:
            depth, inpainter = self.reload()
            film = self.film = replace(film, depth=depth, inpainter=inpainter)
        frames = read_frames(film.source, span.read_from, span.read_to, film.decode)
        pipeline = replace(
            film.pipeline(span.read_from - film.frames[0]),
            plan=partial(self.plan.stream, first=span.read_from),
        )
        yield from pipeline.stream(frames, frame_rate=float(film.info.frame_rate))

    def views(self) -> dict[str, tuple[Path, OpenWriter]]:
        """Return each view's target and what opens it."""
        return self.film.views(self.begin)


@dataclass(frozen=True)
class Rendered:
    """What became of a span."""

    piece: Piece
    picture: Tensor
    """`[3, h, w]`: its newest frame, as it was written or smaller."""


def render(
    film: PlannedFilm, span: Span, folder: Path, on_chunk: Callable[[int, Tensor], None]
) -> Rendered:
    """Render one span into files of a folder; each lands under its name when it is whole.

    Args:
        film: what to render.
        span: which frames.
        folder: where the files go.
        on_chunk: called with the number of frames done and the newest picture.

    Raises:
        VideoError: the source cannot be read or has no such frames, or a file cannot be written.
    """
    done, wanted = 0, span.stop - span.first
    began, picture = Fraction(0), torch.empty(0)
    writers: dict[str, VideoWriter] = {}
    log, views = ComfortLog(), film.views()
    with ExitStack() as stack, closing(film.stream(span)) as chunks:
        for chunk in chunks:
            begin = max(0, span.lead - chunk.start)
            end = min(len(chunk.left), span.lead + wanted - chunk.start)
            if begin >= end:
                continue
            began = began if done else chunk.times[begin]
            for view, pictures in film.film.show(chunk).items():
                if view not in writers:
                    place = folder / piece_name(span.first, view)
                    writer = views[view][1](place, audio_from=None, overwrite=True)
                    writers[view] = stack.enter_context(writer)
                writers[view].write(pictures[begin:end], chunk.times[begin:end],
                                    new_shot=chunk.new_shot and begin == 0)  # fmt: skip
                picture = pictures[end - 1].clone()
            log.add(chunk.comfort[begin:end])
            done += end - begin
            on_chunk(done, picture)
            if done == wanted:
                break
    if len(log):
        log.save(folder / comfort_name(span.first))
    if not done:
        raise VideoError(f"{film.film.source}: has no frame in the range {span.first}:{span.stop}")
    names = {view: piece_name(span.first, view) for view in writers}
    return Rendered(Piece(span.first, done, began, names), picture)


def render_all(film: PlannedFilm, spans: Sequence[Span], folder: WorkFolder, pool: Pool) -> None:
    """Render the spans that are not there yet, and join all.

    Args:
        film: what to render.
        spans: all of its parts, in order.
        folder: the work folder, with what other runs have finished.
        pool: who renders.

    Raises:
        VideoError: the source cannot be read, or a target cannot be written; what is finished
            stays.
    """
    start, views = film.film.frames[0], film.views()
    for path, open_writer in views.values():  # problems show before any work is done
        open_writer(path).close()
    there = {piece.first for piece in folder.pieces}
    todo = [span for span in spans if span.first - start not in there]
    before, began = folder.frames, time.monotonic()
    if before:
        _log.warning("%d frames are there already; it goes on", before)

    def report(done: int, picture: Tensor) -> None:
        film.film.tell(before, done - before, began, picture)

    try:
        for rendered in _rendered(film, todo, folder, pool, report):
            piece = rendered.piece
            _await(map(folder.place, piece.files.values()))
            relative = Piece(piece.first - start, piece.frames, piece.time, piece.files)
            folder.put(relative, complete=len(folder.pieces) + 1 == len(spans))
            report(folder.frames, rendered.picture)
    except BaseException:
        if folder.pieces:
            _log.warning("%d frames are finished and kept in %s; the same command goes on from "
                         "there", folder.frames, folder.path)  # fmt: skip
        raise
    for piece in folder.pieces:
        film.film.log.load(folder.place(comfort_name(piece.first + start)), piece.frames)
    join(folder, views, folder.pieces[0].time)


def comfort_name(first: int) -> str:
    """Return the file name of what was measured of the piece that begins with a frame."""
    return f"piece_{first:08d}_comfort.f64"


def _rendered(
    film: PlannedFilm,
    spans: Sequence[Span],
    folder: WorkFolder,
    pool: Pool,
    report: Callable[[int, Tensor], None],
) -> Iterator[Rendered]:
    if pool.workers > 1 and len(spans) > 1:
        yield from pool.map(spans, partial(_render_quietly, film, folder.path))
        return
    for span in spans:
        done = folder.frames
        yield render(
            film, span, folder.path, lambda n, picture, done=done: report(done + n, picture)
        )


def _render_quietly(film: PlannedFilm, folder: Path, span: Span) -> Rendered:
    rendered = render(film, span, folder, lambda done, picture: None)
    step = max(1, rendered.picture.shape[-1] // _PREVIEW_WIDTH)  # what is large stays in files
    return replace(rendered, picture=rendered.picture[:, ::step, ::step].clone())


def _await(paths: Iterable[Path]) -> None:
    """Wait for files that another machine has written; shared folders may show them late.

    Raises:
        VideoError: they do not come.
    """
    end = time.monotonic() + _LATE
    for path in paths:
        while not path.is_file():
            if time.monotonic() > end:
                raise VideoError(f"{path}: was written by a worker, but is not here; expected a "
                                 "folder that all machines share")  # fmt: skip
            time.sleep(_LOOK)
