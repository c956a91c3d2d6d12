"""How comfortable a film's depth would be, without making the other eye."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from .comfort import (
    ComfortLog,
    ComfortReport,
    Viewing,
    check_report,
    make_report,
    measure_frame,
    write_report,
)
from .comfort.measure import WIDTH
from .convert_options import ConvertOptions
from .depth import DepthEstimator
from .fill import ClassicInpainter
from .optical_flow import optical_flow
from .pipeline import StereoPipeline
from .shots import find_shots, load_shot_detector
from .stream import Frame
from .types import EYES
from .video_io import DecodeOptions, Source, VideoError, probe, read_frames

Step = Callable[[int, int | None], None]
"""Hears how many frames of how many are measured."""


def _ignore(done: int, total: int | None) -> None:
    pass


def film_report(
    source: Source,
    *,
    depth: DepthEstimator,
    options: ConvertOptions | None = None,
    decode: DecodeOptions | None = None,
    frames: tuple[int, int | None] = (0, None),
    viewing: Viewing | None = None,
    on_step: Step = _ignore,
) -> ComfortReport:
    """Measure a film as a conversion with these options would show it: depth and disparity only.

    Args:
        source: path, folder of images, printf pattern or binary stream.
        depth: from `load_depth`.
        options: as for the conversion.
        decode: how to read the source.
        frames: first frame and the one to stop before.
        viewing: the screen that it is meant for.
        on_step: called after each frame; what it raises stops it.

    Raises:
        VideoError: the source cannot be read, or has no frame in the range.
        DepthError: a supplied depth does not fit the film.

    Example:
        >>> from dreamstereo_core import load_depth
        >>> report = film_report("film.mp4", depth=load_depth("cues"))
        >>> report.flag, len(report.shots)
        ('borderline', 1)
    """
    options = options or ConvertOptions()
    info = probe(source, decode)
    start, stop = frames
    total = info.frame_count if stop is None else stop
    total = None if total is None else max(0, total - start)
    # The inpainter is not used.
    pipeline = StereoPipeline(
        depth.for_film(info, stop).from_frame(0), ClassicInpainter(), options, measures=True
    )
    log = ComfortLog()
    taken = read_frames(source, start, stop, decode)
    for done, frame in enumerate(pipeline.measure(taken, frame_rate=float(info.frame_rate)), 1):
        log.add([frame])
        on_step(done, total)
    if not len(log.rows):
        raise VideoError(f"{source}: has no frame in the range {start}:{stop or ''}")
    return make_report(
        log.rows,
        frame_rate=float(info.frame_rate),
        name=_name(source),
        max_disparity=options.max_disparity,
        viewing=viewing,
        hides_borders=options.floating_window,
    )


def stereo_report(
    source: Source,
    *,
    decode: DecodeOptions | None = None,
    shots: str = ConvertOptions.shots,
    frames: tuple[int, int | None] = (0, None),
    viewing: Viewing | None = None,
    on_step: Step = _ignore,
) -> ComfortReport:
    """Measure a film that is 3D already: its disparity is the optical flow between its eyes.

    Small things and those without texture are measured less well than by a depth, and holes are
    not known. Arguments as of `film_report`; `shots` is the detector of cuts.

    Raises:
        VideoError: the source cannot be read, has no frame in the range, or its eyes are not found.
    """
    decode = decode or DecodeOptions()
    left, right = (replace(decode, source_eye=eye) for eye in EYES[::-1])
    info = probe(source, left)
    pairs = zip(read_frames(source, *frames, left), read_frames(source, *frames, right),
                strict=True)  # fmt: skip

    def measured() -> Iterator[Frame]:
        for one, other in pairs:
            flow = optical_flow(one.pixels[None], other.pixels[None], width=WIDTH)
            yield replace(one, inverse_depth=-flow[:, :1])  # x_right = x_left + flow

    log = ComfortLog()
    found = find_shots(measured(), load_shot_detector(shots), None)
    for done, frame in enumerate(found, 1):
        log.add([measure_frame(frame.inverse_depth, time=frame.time, new_shot=frame.new_shot,
                               holes=False)])  # fmt: skip
        on_step(done, info.frame_count)
    return make_report(log.rows, frame_rate=float(info.frame_rate), name=_name(source),
                       viewing=viewing)  # fmt: skip


def _name(source: Source) -> str:
    return Path(str(getattr(source, "name", source))).name


def report_file(
    source: str | Path,
    target: Path | None = None,
    *,
    overwrite: bool = False,
    make: Callable[..., ComfortReport] = film_report,
    **how,
) -> tuple[ComfortReport, tuple[Path, Path]]:
    """Write a film's report as JSON and as a page; return it and its two files.

    Args:
        source: path, folder of images or printf pattern.
        target: names the files, TARGET_comfort.json and .html; None takes the source's name.
        overwrite: replace existing files.
        make: `film_report` or `stereo_report`.
        how: its arguments.

    Raises:
        VideoError: the source cannot be read, or a file exists already or cannot be written.
    """
    target = Path(source) if target is None else target
    check_report(target, overwrite)
    report = make(source, **how)
    return report, write_report(report, target)
