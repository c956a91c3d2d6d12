"""From a video file to a stereo video file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from .cluster import RayPool
from .comfort import Viewing, check_report, make_report, write_report
from .convert_options import ConvertOptions
from .depth import DepthEstimator
from .fill import Inpainter
from .film import Film, Progress
from .photographs import convert_photograph
from .pieces import Marks, PieceWriter, describe_source, remove_joined, work_folder, work_path
from .pipeline import StereoPipeline
from .plan import FilmPlan, check_plan, make_plan
from .planned import PlannedFilm, Reload, render_all
from .stream import Frame
from .subtitles import SubtitleOptions, load_subtitles
from .targets import conversion_targets, makes_folder, picture_targets
from .types import Video
from .version import read_version
from .video_io import DecodeOptions, EncodeOptions, Source, VideoError, probe, separate_pictures
from .video_io.containers import FORMATS
from .video_io.photo_layouts import photo_layout
from .video_io.target import check_targets
from .workers import LocalPool, Pool

PIECE_SECONDS = 20.0
"""Length of a piece of a long film: the most that a run loses that is ended."""
_LONGEST = 1 << 40  # frames: a planned film without pieces

_log = logging.getLogger(__name__)


def convert_file(
    source: Source,
    target: Path | None,
    *,
    depth: DepthEstimator,
    inpainter: Inpainter,
    options: ConvertOptions | None = None,
    encode: EncodeOptions | None = None,
    decode: DecodeOptions | None = None,
    frames: tuple[int, int | None] = (0, None),
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    piece: float | None = PIECE_SECONDS,
    restart: bool = False,
    work: Path | None = None,
    plan: FilmPlan | None = None,
    workers: int = 1,
    cluster: str | None = None,
    reload: Reload | None = None,
    report: Viewing | None = None,
    subtitles: SubtitleOptions | None = None,
) -> tuple[Path, ...]:
    """Convert a video, an image or an image sequence; sound and time stamps are kept.

    The images of a folder are a film, unless their sizes or kinds differ: then each one is
    converted by itself.

    A film of more than one piece is finished piece by piece in a folder beside the target, named
    like it with ".dreamstereo" behind. If the run ends early, the same call goes on where it was;
    at the end the pieces are joined without encoding them again, and the folder is removed.

    With a plan or several workers the pieces are whole shots. `frames` of a planned film are what
    they are in the whole film.

    Args:
        source: path, folder of images, printf pattern or binary stream.
        target: the file to write, or numbered images (frame_%05d.png). In a folder, a film gets a
            name that players understand, images get `SEQUENCE_NAME`, and separate images get names
            like a film's. None puts the file, or the folder of separate images, beside the source.
        depth: from `load_depth`.
        inpainter: from `load_inpainter`.
        options: how deep, which eye.
        encode: layout, codec and quality.
        decode: how to read the source.
        frames: first frame and the one to stop before.
        overwrite: replace an existing file.
        metadata: entries for the container.
        on_progress: called after each chunk; what it raises stops the conversion.
        piece: length of a piece in seconds; None makes none.
        restart: throw away the pieces of a run that has ended early.
        work: the folder for the pieces; None puts it beside the target.
        plan: of the film, from `make_plan` or `read_plan`, instead of finding shots on the way.
        workers: processes that render pieces side by side; without a plan one is made first.
        cluster: address of a Ray cluster that renders them instead, or "auto"; source and work
            folder must lie where all its machines see them.
        reload: makes the same depth and inpainter anew in each worker; to be pickled. None sends
            these, which is fine but for networks on a GPU.
        report: write a report on comfort beside the target, for this screen; None writes none.
        subtitles: whether they are kept as tracks, or one is drawn into both eyes.

    Returns:
        The files written: one, or one for each separate image; for the layout "separate" left and
        right. Behind them the report's two files.

    Raises:
        VideoError: the source cannot be read, or the target cannot be written or is what is read.
            Nothing is left under the target's name. Or another run writes it, or the finished
            pieces are of another source, version or option.
        PlanError: the plan is of another film.
        ClusterError, WorkerError: the cluster or its workers fail.
        DepthError: a supplied depth does not fit the film.
        ValueError: an option is wrong.

    Example:
        >>> from dreamstereo_core import load_depth, load_inpainter, probe
        >>> depth, inpainter = load_depth("cues"), load_inpainter("classic")
        >>> (path,) = convert_file("film.mp4", None, depth=depth, inpainter=inpainter)
        >>> path.name, probe(path).width, probe(path).height
        ('film_3D_LRF_FSBS_SBS.mp4', 128, 48)
    """
    encode = encode or EncodeOptions()
    targets = conversion_targets(source, target, encode.layout)
    into_folder = makes_folder(source, target)
    if targets:
        remove_joined(targets, work or work_path(targets[0]))
    check_targets(targets, [source, *depth.files], overwrite, new_folder=into_folder)
    common = {"inpainter": inpainter, "options": options or ConvertOptions(), "encode": encode,
              "decode": decode, "overwrite": overwrite, "metadata": metadata,
              "report": report, "subtitles": subtitles or SubtitleOptions()}  # fmt: skip
    if (pictures := separate_pictures(source)) is not None:
        targets[0].parent.mkdir(parents=True, exist_ok=True)
        places = picture_targets(pictures, cast(str, source), target, encode.layout)
        each = partial(convert_file, **common)
        return _convert_pictures(list(places.items()), each, depth, frames, on_progress)
    if (layout := photo_layout(targets[0], encode.layout)) is not None:
        return _convert_photograph(source, targets[0], layout, depth, common)
    info = probe(source, decode)
    if into_folder:
        targets[0].parent.mkdir(parents=True, exist_ok=True)
    if report is not None:
        check_report(targets[0], overwrite)
    common["burned"] = load_subtitles(common["subtitles"], source, info, decode)
    film = Film(source, targets, info, depth, **common, frames=frames, on_progress=on_progress)
    film = film.with_encoder()
    every = None if piece is None else round(piece * info.frame_rate)
    if plan is not None or workers > 1 or cluster is not None:
        pool = LocalPool(workers) if cluster is None else RayPool(cluster)
        _convert_planned(film, plan, every or _LONGEST, restart, work, pool, reload)
    elif every is not None and _takes_pieces(film, every):
        _convert_in_pieces(film, every, restart, work or work_path(targets[0]))
    else:
        _convert_film(film)
    return targets if report is None else (*targets, *_write_report(film, report))


def _convert_photograph(
    source: Source, target: Path, layout: str, depth: DepthEstimator, common: Mapping[str, Any]
) -> tuple[Path, ...]:
    how = {name: common[name] for name in ("inpainter", "options", "encode", "decode", "overwrite")}
    if common["report"] is not None:
        raise VideoError(f"{target}: a report is for films and for pictures of the usual layouts")
    target.parent.mkdir(parents=True, exist_ok=True)
    convert_photograph(source, target, layout, depth=depth, **how)
    return (target,)


def _write_report(film: Film, viewing: Viewing) -> tuple[Path, Path]:
    made = make_report(
        film.log.rows,
        frame_rate=float(film.info.frame_rate),
        name=film.targets[0].name,
        max_disparity=film.options.max_disparity,
        viewing=viewing,
        hides_borders=film.options.floating_window,
    )
    return write_report(made, film.targets[0])


def _takes_pieces(film: Film, every: int) -> bool:
    """Tell whether a film is one video file to another, and longer than a piece."""
    start, stop = film.frames
    ends = [n for n in (film.info.frame_count, stop) if n is not None]
    return _is_one_to_another(film) and (not ends or min(ends) - start > every)


def _is_one_to_another(film: Film) -> bool:
    videos = all(path.suffix.lower() in FORMATS for path in film.targets)
    return videos and isinstance(film.source, str | Path) and not film.info.is_image


def _convert_film(film: Film) -> None:
    """Convert a film into its targets, one for each view; errors as of `convert_file`."""
    first, frames = film.read(0)
    pipeline, views = film.pipeline(), film.views(first.time)
    del first  # or its pixels would stay to the end
    with ExitStack() as stack, _a_core_for_the_codecs():
        writers = {view: stack.enter_context(open_writer(path))
                   for view, (path, open_writer) in views.items()}  # fmt: skip

        def write(pictures: Mapping[str, Video], times: Sequence[Fraction], new_shot: bool) -> None:
            for view, writer in writers.items():
                writer.write(pictures[view], times, new_shot=new_shot)

        _write(film, pipeline, frames, write)


def _convert_planned(
    film: Film,
    plan: FilmPlan | None,
    every: int,
    restart: bool,
    work: Path | None,
    pool: Pool,
    reload: Reload | None,
) -> None:
    """Convert a film in pieces of whole shots, in any order; arguments as of `convert_file`."""
    if not _is_one_to_another(film):
        raise VideoError(f"{film.source}: a plan and workers are for one film that becomes another")
    source = cast(str, film.source)
    if plan is not None:
        check_plan(plan, source)
    about = _about(film, every) | {"plan": "found" if plan is None else plan.to_json()}
    with work_folder(work or work_path(film.targets[0]), about, restart=restart) as folder:
        plan = plan or make_plan(source, film.options, film.decode)
        job = PlannedFilm(film, plan, film.begin(), reload)
        spans = plan.spans(every, film.frames, whole_shots=film.depth.late)
        with _a_core_for_the_codecs():
            render_all(job, spans, folder, pool)


def _about(film: Film, every: int) -> dict[str, Any]:
    """Return what finished pieces must agree in."""
    return {
        "version": read_version(),
        "source": describe_source(film.source),
        "depth": {**film.depth.about, "files": [*map(describe_source, film.depth.files)]},
        "fill": film.inpainter.about,
        "options": {k: v for k, v in vars(film.options).items() if k != "chunk_frames"},
        "encode": vars(film.encode),
        "decode": vars(film.decode or DecodeOptions()),
        "frames": film.frames,
        "piece": every,
        "subtitles": _about_subtitles(film.subtitles),
    }


def _convert_in_pieces(film: Film, every: int, restart: bool, work: Path) -> None:
    """Do the same in pieces of `every` frames, and go on where another run has ended."""
    about = _about(film, every)
    with work_folder(work, about, restart=restart) as folder:
        recalled = folder.recalled()
        done = folder.frames
        pipeline = film.pipeline(done - recalled.lead)
        marks = Marks(every, film.inpainter.warm_up, pipeline.resumable)
        if folder.complete:
            begin, frames = folder.pieces[0].time, iter(())
        else:
            first, frames = film.read(done - recalled.lead)
            begin = folder.pieces[0].time if folder.pieces else first.time
            del first
        if done:
            _log.warning("%s: %d frames are there already; it goes on", film.targets[0], done)
        with (
            _a_core_for_the_codecs(),
            PieceWriter(folder, marks, film.views(begin), begin) as writer,
            closing(film.log),
        ):
            if film.report is not None:
                film.log.resume(folder.place("comfort.f64"), done)
            _write(film, pipeline, marks.put(frames, done, recalled), writer.write, done)


def _about_subtitles(options: SubtitleOptions) -> dict[str, Any]:
    """Return what tells the subtitles that are drawn from other ones."""
    files = [path for path in (options.subtitle_file, options.subtitle_font) if path is not None]
    found = {path: describe_source(path) for path in files if Path(path).is_file()}
    return vars(options) | {"files": found}


def _write(
    film: Film,
    pipeline: StereoPipeline,
    frames: Iterator[Frame],
    write: Callable[[Mapping[str, Video], Sequence[Fraction], bool], None],
    done: int = 0,
) -> None:
    """Convert frames and write each chunk; report how many are done and the newest picture."""
    begin = time.monotonic()
    for chunk in pipeline.stream(frames, frame_rate=float(film.info.frame_rate)):
        pictures = film.show(chunk)
        film.log.add(chunk.comfort)
        write(pictures, chunk.times, chunk.new_shot)
        newest = next(iter(pictures.values()))[-1]
        film.tell(done, chunk.start + len(chunk.left), begin, newest)
        del newest
        del chunk, pictures  # or they would stay while the next chunk is made


def _convert_pictures(
    pictures: list[tuple[Path, Path]],
    convert: Callable[..., tuple[Path, ...]],
    depth: DepthEstimator,
    frames: tuple[int, int | None],
    on_progress: Callable[[Progress], None] | None,
) -> tuple[Path, ...]:
    """Convert each picture by itself; the others go on if one cannot be read."""
    begin = time.monotonic()
    chosen = pictures[slice(*frames)]
    _log.warning("%d pictures of different sizes or kinds: each one by itself", len(chosen))
    written: list[Path] = []
    failures: list[str] = []
    for done, (picture, target) in enumerate(chosen):

        def report(progress: Progress, done: int = done) -> None:
            if on_progress:
                seconds = time.monotonic() - begin
                on_progress(Progress(done + 1, len(chosen), seconds, progress.picture))

        try:
            written += convert(picture, target, depth=depth.from_frame(done), on_progress=report)
        except VideoError as error:
            failures.append(str(error))
    if failures:
        raise VideoError(f"{len(failures)} of {len(chosen)} pictures were left out: "
                         + "; ".join(failures[:5]))  # fmt: skip
    return tuple(written)


@contextmanager
def _a_core_for_the_codecs() -> Iterator[None]:
    """Keep torch off one core, since its spinning threads would slow decoder and encoder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, min(threads, (os.cpu_count() or 2) - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
