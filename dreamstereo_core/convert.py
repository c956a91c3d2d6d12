"""From a video file to a stereo video file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from .comfort import (
    ComfortLog,
    Viewing,
    check_report,
    make_report,
    write_report,
)
from .depth import DepthEstimator
from .equirectangular import Vr180
from .fill import Inpainter
from .packing import DATA, MV_HEVC, show, shown_size
from .photographs import convert_photograph
from .pieces import Marks, PieceWriter, describe_source, work_folder, work_path
from .pieces.writer import OpenWriter
from .pipeline import ConvertOptions, StereoPipeline
from .plan import FilmPlan, check_plan, make_plan
from .planned import PlannedFilm, Reload, render_all
from .stream import Frame
from .subtitles import SubtitleOptions, load_subtitles
from .subtitles.settings import LoadedSubtitles
from .types import StereoVideo, Video
from .version import read_version
from .video_io import (
    DecodeOptions,
    EncodeOptions,
    Source,
    VideoError,
    VideoInfo,
    VideoWriter,
    probe,
    read_frames,
    separate_pictures,
    stereo_name,
    suggest_suffix,
)
from .video_io.containers import FORMATS, check_layout
from .video_io.encode_options import settled
from .video_io.info import as_data
from .video_io.photo_layouts import PHOTO_LAYOUTS, photo_layout, photo_name
from .video_io.source import image_paths
from .video_io.target import check_targets
from .workers import LocalPool

PREVIEW_WIDTH = 512
PIECE_SECONDS = 20.0
"""Length of a piece of a long film: the most that a run loses that is ended."""
_LONGEST = 1 << 40  # frames: a planned film without pieces
SEQUENCE_NAME = "frame_%05d.png"
"""Names of images that are made from images and written to a folder."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a conversion has come."""

    done: int
    """Frames written."""
    total: int | None
    """Frames to write, if known; an estimate if the container does not say."""
    seconds: float
    """Seconds since the start."""
    picture: Tensor
    """`[3, h, w]`: the newest frame as it was written."""
    before: int = 0
    """Frames among `done` that an earlier run has made."""

    @property
    def seconds_left(self) -> float | None:
        """The seconds that the rest will take at the speed so far, or None if unknown."""
        if self.total is None or self.done == self.before:
            return None
        return max(0, self.total - self.done) * self.seconds / (self.done - self.before)

    def preview(self, width: int = PREVIEW_WIDTH) -> Tensor:
        """Return `picture` at most `width` pixels wide."""
        scale = min(1.0, width / self.picture.shape[-1])
        size = [max(1, round(n * scale)) for n in self.picture.shape[-2:]]
        return F.interpolate(self.picture[None], size, mode="area")[0]


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
    report: Viewing | None = None,
    subtitles: SubtitleOptions | None = None,
    plan: FilmPlan | None = None,
    workers: int = 1,
    reload: Reload | None = None,
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
        report: write a report on comfort beside the target, for this screen; None writes none.
        subtitles: whether they are kept as tracks, or one is drawn into both eyes.
        plan: of the film, from `make_plan` or `read_plan`, instead of finding shots on the way.
        workers: processes that render pieces side by side; without a plan one is made first.
        reload: makes the same depth and inpainter anew in each worker; to be pickled. None sends
            these, which is fine but for networks on a GPU.

    Returns:
        The files written: one, or one for each separate image; for the layout "separate" left and
        right. Behind them the report's two files.

    Raises:
        VideoError: the source cannot be read, or the target cannot be written or is what is read.
            Nothing is left under the target's name. Or another run writes it, or the finished
            pieces are of another source, version or option.
        PlanError: the plan is of another film.
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
    every = None if piece is None else round(piece * info.frame_rate)
    if plan is not None or workers > 1:
        _convert_planned(film, plan, every or _LONGEST, restart, work, LocalPool(workers), reload)
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


@dataclass(frozen=True)
class Film:
    """What a conversion of one film is about; arguments as of `convert_file`."""

    source: Source
    targets: tuple[Path, ...]
    info: VideoInfo
    depth: DepthEstimator
    inpainter: Inpainter
    options: ConvertOptions
    encode: EncodeOptions
    decode: DecodeOptions | None
    overwrite: bool
    metadata: Mapping[str, str] | None
    frames: tuple[int, int | None]
    report: Viewing | None
    subtitles: SubtitleOptions
    burned: LoadedSubtitles | None
    on_progress: Callable[[Progress], None] | None
    log: ComfortLog = field(default_factory=ComfortLog)
    """Of the frames' comfort, if there is to be a report."""

    def read(self, index: int) -> tuple[Frame, Iterator[Frame]]:
        """Return the film's frame `index`, counted from the range's first, and all from it on."""
        start, stop = self.frames
        film = read_frames(self.source, start + index, stop, self.decode)
        first = next(film, None)
        if first is None:
            raise VideoError(f"{self.source}: has no frame in the range {start}:{stop or ''}")
        return first, chain([first], film)

    def begin(self) -> Fraction:
        """Return the first frame's time in seconds of the source's clock."""
        return self.read(0)[0].time

    def report_progress(
        self, before: int, count: int, began: float, picture: Tensor, total: int
    ) -> None:
        """Tell how far it is: `before` frames by another run, `count` by this one since `began`."""
        if self.on_progress:
            seconds = time.monotonic() - began
            self.on_progress(Progress(before + count, total, seconds, picture, before))

    def pipeline(self, begin: int = 0) -> StereoPipeline:
        """Return the stages for the film from its frame `begin` on."""
        depth = self.depth.for_film(self.info, self.frames[1])
        return StereoPipeline(
            depth.from_frame(begin),
            self.inpainter,
            self.options,
            measures=self.report is not None,
            subtitles=self.burned,
        )

    @property
    def vr(self) -> Vr180:
        """How the layout "vr180" shows the film: the farthest that may be is infinitely far."""
        farthest = self.options.max_behind
        farthest = self.options.max_disparity if farthest is None else farthest
        return Vr180(
            self.encode.field_of_view or Vr180.field_of_view,
            min(farthest, self.options.max_disparity),
            float(self.info.pixel_aspect),
        )

    def show(self, chunk: StereoVideo) -> dict[str, Video]:
        """Return each view's pictures."""
        made = self.options.eye
        return {view: show(chunk, view, made=made, vr=self.vr)
                for view in _views(self.encode.layout)}  # fmt: skip

    def views(self, begin: Fraction) -> dict[str, tuple[Path, OpenWriter]]:
        """Return each view's target and what opens it; `begin` is the first frame's time."""
        start, stop = self.frames
        # A constant rate is assumed for the sound's end only, and only where the film is cut short.
        audio_stop = None if stop is None else begin + (stop - start) / self.info.frame_rate
        common = {"info": self.info, "overwrite": self.overwrite, "audio_from": self.source,
                  "audio_start": begin, "audio_stop": audio_stop,
                  "metadata": dict(self.metadata or {})}  # fmt: skip
        views = {}
        for view, path in zip(_views(self.encode.layout), self.targets, strict=True):
            width, height = shown_size(self.info.width, self.info.height, view, self.vr)
            encode = settled(self.encode, self.info, path, (width, height))
            if self.burned is not None and self.burned.stream is not None:
                encode = replace(encode, left_out=(self.burned.stream,))
            common["info"] = self.info if view not in DATA else as_data(self.info)
            views[view] = path, partial(VideoWriter, width=width, height=height, layout=view,
                                        encode=encode, **common)  # fmt: skip
        return views


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
    pool: LocalPool,
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
        job = PlannedFilm(film, plan, reload)
        render_all(job, plan.spans(every, film.frames, whole_shots=film.depth.late), folder, pool)


def _about(film: Film, every: int) -> dict[str, Any]:
    """Return what finished pieces must agree in."""
    return {
        "version": read_version(),
        "source": describe_source(film.source),
        "depth": [film.depth.name, *map(describe_source, film.depth.files)],
        "fill": film.inpainter.name,
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
        if film.on_progress:
            count = chunk.start + len(chunk.left)
            newest = next(iter(pictures.values()))[-1]
            film.on_progress(_progress(film, done, count, begin, newest))
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


def picture_targets(
    pictures: list[Path], source: str | Path, target: Path | None, layout: str
) -> dict[Path, Path]:
    """Return the target of each separate picture of a folder, no two of them the same."""
    if target is None:
        if layout in PHOTO_LAYOUTS:
            name = layout
        else:
            name = "3d" if layout == "separate" else stereo_name(Path("a"), layout).stem[2:]
        target = Path(source).absolute().with_name(f"{Path(source).absolute().name}_{name}")
    elif not is_folder(target):
        raise VideoError(
            f"{source}: its pictures differ in size or kind, so each one becomes a picture; "
            f"expected a folder to put them in, got {target} (a pattern such as frame_%05d.png "
            "as input makes a film)"
        )
    found: dict[Path, Path] = {}
    for picture in pictures:
        try:
            suffix = suggest_suffix(picture)
        except VideoError:  # the error is reported when it is converted
            suffix = ".png"
        for stem in (picture.stem, picture.name):
            place = target / f"{stem}{suffix}"
            if layout in PHOTO_LAYOUTS:
                place = photo_name(place, layout)
            elif layout != "separate":
                place = stereo_name(place, layout, suffix)
            if place not in found.values():
                break
        found[picture] = place
    return found


@contextmanager
def _a_core_for_the_codecs() -> Iterator[None]:
    """Keep torch off one core, since its spinning threads would slow decoder and encoder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, min(threads, (os.cpu_count() or 2) - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def conversion_targets(source: Source, target: Path | None, layout: str) -> tuple[Path, ...]:
    """Return the files that `convert_file` writes with these arguments.

    Raises:
        VideoError: the source is missing or unreadable.
        ValueError: the source has no name, and `target` does not give one.
    """
    views = _views(layout)
    if (pictures := separate_pictures(source)) is not None:
        places = picture_targets(pictures, cast(str, source), target, layout)
        return tuple(path for picture, place in places.items()
                     for path in conversion_targets(picture, place, layout))  # fmt: skip
    found = tuple(_target(source, target, view, len(views) > 1) for view in views)
    for view, path in zip(views, found, strict=True):
        check_layout(path, view)
    return found


def _views(layout: str) -> tuple[str, ...]:
    return ("left", "right") if layout == "separate" else (layout,)


def makes_folder(source: Source, target: Path | None) -> bool:
    """Tell whether `convert_file` may have to make the folder that it writes into."""
    if target is None:
        return separate_pictures(source) is not None
    return is_folder(Path(target))


def is_folder(target: Path) -> bool:
    """Tell whether a target is a folder, existing or to be made."""
    return os.path.isdir(target) or not target.suffix


def _target(source: Source, target: Path | None, view: str, separate: bool) -> Path:
    target = None if target is None else Path(target)
    folder = target is not None and is_folder(target)
    if target is not None and folder and image_paths(source) is not None:
        target, folder = target / SEQUENCE_NAME, False
    if target is not None and not folder:
        return target.with_stem(f"{target.stem}_{view}") if separate else target
    if not isinstance(source, str | Path):
        raise ValueError("target: expected a path, since the source is a stream without a name")
    if view in PHOTO_LAYOUTS:
        named = photo_name(Path(source), view)
    else:
        suffix = suggest_suffix(source)
        if view == MV_HEVC and suffix == ".mkv":
            suffix = ".mov"
        named = stereo_name(Path(source), view, suffix)
    return named if target is None else target / named.name


def _progress(film: Film, before: int, count: int, begin: float, picture: Tensor) -> Progress:
    start, stop = film.frames
    done, known = before + count, film.info.frame_count
    total = None if known is None else max(done, known - start)
    if stop is not None:
        total = stop - start if total is None else min(total, stop - start)
    return Progress(done, total, time.monotonic() - begin, picture, before)
