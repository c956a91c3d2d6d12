"""The plan of a film: its shots and bars, found in one quick pass, to be read and changed."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from .checks import check_range
from .convert_options import ConvertOptions
from .errors import DreamStereoError
from .pieces import describe_source
from .shots import BarDetector, find_shots, load_shot_detector
from .stream import Frame
from .types import NO_BARS, Bars
from .video_io import DecodeOptions, probe, read_frames
from .video_io.source import reason

PLAN_SUFFIX = ".plan.json"
"""A film's plan is named like the film with this behind it."""
LOOK_AHEAD = 64
"""Frames beyond the last wanted one that the stages see where a shot goes on: more than any stage
looks ahead, but for those that need the whole shot."""
_FORMAT = 1
_SIDES = ("top", "bottom", "left", "right")


class PlanError(DreamStereoError):
    """A plan cannot be used."""


@dataclass(frozen=True)
class PlannedShot:
    """One shot of a film.

    Raises:
        ValueError: a value is out of its range.
    """

    first: int
    """Its first frame, counted from the film's beginning."""
    frames: int
    strength: float = 1.0
    """What `max_disparity` is multiplied with; 0 makes the shot flat."""
    convergence: float | None = None
    """The inverse depth on the screen, in [0, 1]; None = as the conversion's options say."""
    bars: Bars = NO_BARS

    def __post_init__(self) -> None:
        check_range("first", self.first, 0, float("inf"))
        check_range("frames", self.frames, 1, float("inf"))
        check_range("strength", self.strength, 0, 10)
        if self.convergence is not None:
            check_range("convergence", self.convergence, 0, 1)

    @property
    def end(self) -> int:
        """The first frame after it."""
        return self.first + self.frames


@dataclass(frozen=True)
class Span:
    """Frames that are rendered together, and what must be read for that."""

    first: int
    stop: int
    read_from: int
    """The beginning of the shot in which `first` lies: stages know something of a shot's past."""
    read_to: int

    @property
    def lead(self) -> int:
        """Frames that are read before the first one."""
        return self.first - self.read_from


@dataclass(frozen=True)
class FilmPlan:
    """The shots of a film, each frame in one of them.

    Every stage begins anew at a cut. So whole shots can be rendered in any order, on any number of
    machines, and give the same frames as the whole film does, to the bit.

    Example:
        >>> plan = FilmPlan((PlannedShot(0, 30), PlannedShot(30, 10, strength=0.5)))
        >>> plan.spans(20)
        [Span(first=0, stop=30, read_from=0, read_to=30), Span(first=30, stop=40, read_from=30, read_to=40)]
    """  # noqa: E501

    shots: tuple[PlannedShot, ...]
    source: Mapping[str, Any] | None = None
    """Of `describe_source`: what tells the film from another one; None = it may be any."""
    frame_rate: Fraction = Fraction(24)

    def __post_init__(self) -> None:
        expected = 0
        for shot in self.shots:
            if shot.first != expected:
                raise PlanError(
                    f"shots: expected one that begins with frame {expected}, got one with "
                    f"{shot.first}"
                )
            expected = shot.end
        if not self.shots:
            raise PlanError("shots: expected at least one, got none")

    @property
    def frames(self) -> int:
        """How many frames the film has."""
        return self.shots[-1].end

    def shot_of(self, frame: int) -> PlannedShot:
        """Return the shot in which a frame lies; the last one holds what comes behind it."""
        starts = [shot.first for shot in self.shots]
        return self.shots[bisect_right(starts, frame) - 1]

    def stream(self, frames: Iterable[Frame], first: int = 0) -> Iterator[Frame]:
        """Yield each frame with its shot's settings, as `find_shots` does with what it finds.

        Args:
            frames: of the film, from its frame `first` on.
            first: the beginning of a shot.
        """
        shot = self.shot_of(first)
        for number, frame in enumerate(frames, first):
            new = number in (first, shot.end) and number < self.frames
            shot = self.shot_of(number) if number == shot.end else shot
            yield replace(
                frame,
                new_shot=new,
                bars=shot.bars,
                strength=shot.strength,
                wanted_convergence=shot.convergence,
            )

    def span(self, first: int, stop: int, *, whole_shots: bool = False) -> Span:
        """Return what must be read so that some frames become what they are in the whole film.

        Args:
            first: the first wanted frame.
            stop: the one to stop before.
            whole_shots: whether a stage needs all of a shot (`DepthEstimator.late`).
        """
        last = self.shot_of(stop - 1)
        read_to = last.end if whole_shots else min(last.end, stop + LOOK_AHEAD)
        return Span(first, stop, self.shot_of(first).first, max(stop, read_to))

    def spans(
        self, every: int, frames: tuple[int, int | None] = (0, None), **how: Any
    ) -> list[Span]:
        """Divide a range of frames at cuts into parts of at least `every` frames.

        Args:
            every: least length of a part; a longer shot stays whole.
            frames: the first one and the one to stop before.
            how: as of `span`.
        """
        start, stop = frames[0], self.frames if frames[1] is None else min(frames[1], self.frames)
        if start >= stop:
            raise PlanError(f"frames: expected some of {self.frames}, got {start}:{stop}")
        bounds = [start]
        for shot in self.shots:
            if shot.first - bounds[-1] >= every and start < shot.first < stop:
                bounds.append(shot.first)
        ends = [*bounds[1:], stop]
        return [self.span(a, b, **how) for a, b in zip(bounds, ends, strict=True)]

    def to_json(self) -> str:
        """Return the plan as text, a line for each shot."""
        head = {"format": _FORMAT, "source": self.source, "frame_rate": str(self.frame_rate)}
        shots = []
        for shot in self.shots:
            row: dict[str, Any] = {"first": shot.first, "frames": shot.frames}
            row["time"] = _clock(shot.first / self.frame_rate)
            row |= {"strength": shot.strength, "convergence": shot.convergence}
            if shot.bars:
                row["bars"] = {side: getattr(shot.bars, side) for side in _SIDES}
            shots.append("  " + json.dumps(row))
        text = json.dumps(head, indent=1)[:-2]
        return text + ',\n "shots": [\n' + ",\n".join(shots) + "\n ]\n}\n"


def read_plan(path: str | Path) -> FilmPlan:
    """Read a plan.

    Raises:
        PlanError: there is none, or a value makes no sense; it says which.
    """
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(f"{path}: cannot be read as a plan ({reason(error)})") from error
    try:
        if data["format"] != _FORMAT:
            raise PlanError(f"{path}: format: expected {_FORMAT}, got {data['format']}")
        shots = tuple(map(_read_shot, data["shots"]))
        return FilmPlan(shots, data["source"], Fraction(data["frame_rate"]))
    except KeyError as error:
        raise PlanError(f"{path}: expected {error.args[0]!r}, which is not there") from error
    except (TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise PlanError(f"{path}: {error}") from error


def _read_shot(row: Mapping[str, Any]) -> PlannedShot:
    known = {"first", "frames", "time", "strength", "convergence", "bars"}
    if unknown := sorted(row.keys() - known):
        raise PlanError(f"shots: expected {', '.join(sorted(known))}, got {unknown[0]!r}")
    bars = Bars(**{side: int(n) for side, n in row.get("bars", {}).items()})
    convergence = row.get("convergence")
    return PlannedShot(
        int(row["first"]),
        int(row["frames"]),
        float(row.get("strength", 1.0)),
        None if convergence is None else float(convergence),
        bars,
    )


def make_plan(
    source: str | Path,
    options: ConvertOptions | None = None,
    decode: DecodeOptions | None = None,
    *,
    on_frame: Any = None,
) -> FilmPlan:
    """Find a film's shots and bars, as a conversion finds them on its way.

    Args:
        source: a film, or images as one.
        options: of the conversion: the detector of cuts, and whether to look for bars.
        decode: how to read the source.
        on_frame: called with the number of frames that have been looked at.

    Raises:
        VideoError: the source cannot be read.

    Example:
        >>> plan = make_plan("film.mp4")
        >>> [(shot.first, shot.frames) for shot in plan.shots]
        [(0, 3)]
    """
    options = options or ConvertOptions()
    rate = probe(source, decode).frame_rate
    detector = load_shot_detector(options.shots)
    bars = BarDetector() if options.bars else None
    begins: list[tuple[int, Bars]] = []
    count = 0
    for frame in find_shots(read_frames(source, 0, None, decode), detector, bars):
        if frame.new_shot:
            begins.append((count, frame.bars))
        count += 1
        if on_frame:
            on_frame(count)
    ends = [first for first, _ in begins[1:]] + [count]
    shots = [
        PlannedShot(first, end - first, bars=b)
        for (first, b), end in zip(begins, ends, strict=True)
    ]
    return FilmPlan(tuple(shots), describe_source(source, named=False), rate)


def check_plan(plan: FilmPlan, source: str | Path) -> None:
    """Require that a plan is of this film.

    Raises:
        PlanError: it is another one's, or the film has changed.
    """
    if plan.source is None:
        return
    found = describe_source(source, named=False)
    if any(plan.source.get(key) != found[key] for key in ("bytes", "digest")):
        raise PlanError(
            f"{source}: expected the film that was planned ({plan.source.get('name')}, "
            f"{plan.source.get('bytes')} bytes), got another one, or it has changed; plan it anew"
        )


def _clock(seconds: Fraction) -> str:
    """Return h:mm:ss.mmm."""
    whole = round(seconds * 1000)
    minutes, millis = divmod(whole, 60_000)
    return f"{minutes // 60}:{minutes % 60:02}:{millis / 1000:06.3f}"
