"""What the frames' measurements say about a film: shot by shot, a score, and a better strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..types import FrameComfort
from .limits import SOURCES, Limit, Viewing, limits

SAFE, BORDERLINE, STRONG = "safe", "borderline", "uncomfortable"
FORMULA = (
    "For each quantity of a shot: 1 up to its safe limit, 0 from its hard limit on, a straight "
    "line between them. A shot's score is 100 times the least of these; the film's is their mean, "
    "weighted by length."
)
_SPEED_S = 0.5  # over which a change of depth is measured
_PART = 0.95  # of a shot's frames count; a few wrong depths do not
_TIME = 0.05  # of the film may be stronger than the strength that is recommended
_STRONGEST = 10.0  # % of the width, the most that is recommended
_COLUMNS = {name: index for index, name in enumerate(FrameComfort._fields)}
_POINTS = 1000  # of the timeline


@dataclass(frozen=True)
class ShotComfort:
    """A shot in numbers: disparities in percent of the width."""

    begin: float
    """Seconds."""
    end: float
    frames: int
    front: float
    """The nearest: what 95 % of the frames stay below with 99 % of their pixels."""
    behind: float
    """The farthest, likewise; > 0 behind the screen."""
    front5: float
    """Likewise with 95 % of their pixels: without small things."""
    behind5: float
    median: float
    """> 0 in front of the screen."""
    jump: float
    """Change of what lies in the middle of the frame, at the cut before the shot."""
    speed: float
    """Of the median, in percent of the width a second."""
    window: float
    """How far in front of the screen things are that the frame's sides cut off."""
    window_time: float
    """Share of the frames in which they are beyond the safe limit, in percent."""
    holes: float
    """Share of the picture that has to be filled, in percent."""
    widest_hole: float
    score: float
    """From 0 to 100."""
    flag: str
    worst: str
    """The quantity that decides the score."""
    strength: float
    """By which its disparities may be multiplied so that all is safe but the borders, for which
    there is the floating window."""
    front_degrees: float | None = None
    behind_degrees: float | None = None


@dataclass(frozen=True)
class ComfortReport:
    """What is known of a film's comfort."""

    name: str
    score: float
    flag: str
    max_disparity: float | None
    """The strength that was measured, in percent of the width."""
    comfortable_max_disparity: float | None
    """The strength at which 95 % of the film would be safe; about, if disparities are limited."""
    frames: int
    unmeasured: int
    """Frames that a former run has made without measuring them."""
    viewing: Viewing
    limits: Mapping[str, Limit]
    shots: tuple[ShotComfort, ...]
    timeline: np.ndarray = field(repr=False)
    """`[points, columns of FrameComfort]`, some frames or the extremes of several."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        names = ("time", "far1", "far5", "median", "near95", "near99")
        columns = [_COLUMNS[name] for name in names]
        used = {key for limit in self.limits.values() for key in limit.source.split()}
        return {
            "format": 1,
            "name": self.name,
            "score": self.score,
            "flag": self.flag,
            "max_disparity": self.max_disparity,
            "comfortable_max_disparity": self.comfortable_max_disparity,
            "frames": self.frames,
            "unmeasured": self.unmeasured,
            "unit": "percent of the width, > 0 in front of the screen",
            "viewing": asdict(self.viewing),
            "limits": {key: asdict(limit) for key, limit in self.limits.items()},
            "formula": FORMULA,
            "sources": {key: SOURCES[key] for key in SOURCES if key in used},
            "shots": [_rounded(asdict(shot)) for shot in self.shots],
            "timeline": {
                name: [round(float(v), 3) for v in self.timeline[:, column]]
                for name, column in zip(names, columns, strict=True)
            },
        }


def make_report(
    rows: np.ndarray,
    *,
    frame_rate: float = 24.0,
    name: str = "",
    max_disparity: float | None = None,
    viewing: Viewing | None = None,
    hides_borders: bool = False,
) -> ComfortReport:
    """Make a report of `ComfortLog.rows`.

    Args:
        rows: `[frames, columns of FrameComfort]`; a row that is not finite was not measured.
        frame_rate: frames per second.
        name: of the film.
        max_disparity: the strength that was measured; None if it is not known.
        viewing: the screen it is meant for.
        hides_borders: whether a floating window covers what the borders cut off.

    Raises:
        ValueError: no frame was measured.
    """
    known = rows[np.isfinite(rows).all(axis=1)]
    if not len(known):
        raise ValueError("rows: expected at least one frame that was measured, got none")
    viewing = viewing or Viewing()
    bounds = limits(viewing)
    starts = [0, *(np.flatnonzero(known[1:, _COLUMNS["new_shot"]]) + 1), len(known)]
    shots: list[ShotComfort] = []
    for begin, end in pairwise(starts):
        before = known[begin - 1] if begin else None
        after = known[end, 0] if end < len(known) else known[end - 1, 0] + 1 / frame_rate
        shot = _shot(known[begin:end], before, after, frame_rate, bounds, hides_borders)
        shots.append(_with_degrees(shot, viewing))
    weights = np.array([shot.frames for shot in shots], float)
    score = float(np.average([shot.score for shot in shots], weights=weights))
    factor = _weighted_quantile(np.array([shot.strength for shot in shots]), weights, _TIME)
    strength = None if max_disparity is None else min(_STRONGEST, max_disparity * factor)
    return ComfortReport(
        name=name,
        score=round(score, 1),
        flag=_flag(score / 100),
        max_disparity=max_disparity,
        comfortable_max_disparity=None if strength is None else round(strength, 1),
        frames=len(rows),
        unmeasured=len(rows) - len(known),
        viewing=viewing,
        limits=bounds,
        shots=tuple(shots),
        timeline=_timeline(known),
    )


def _shot(
    rows: np.ndarray,
    before: np.ndarray | None,
    end: float,
    frame_rate: float,
    bounds: Mapping[str, Limit],
    hides_borders: bool,
) -> ShotComfort:
    """Sum up one shot's rows; `before` is the row before its cut."""

    def most(name: str, sign: float = 1.0) -> float:
        return max(0.0, float(np.quantile(sign * rows[:, _COLUMNS[name]], _PART)))

    middle, median = (rows[:, _COLUMNS[name]] for name in ("middle", "median"))
    step = max(1, round(_SPEED_S * frame_rate))
    changes = np.abs(median[step:] - median[:-step]) * frame_rate / step
    borders = rows[:, [_COLUMNS["left"], _COLUMNS["right"]]].max(axis=1)
    if hides_borders:
        borders = np.zeros_like(borders)
    found = {
        "front": most("near99"),
        "behind": most("far1", -1),
        "jump": 0.0 if before is None else abs(float(middle[0] - before[_COLUMNS["middle"]])),
        "speed": float(np.quantile(changes, _PART)) if len(changes) else 0.0,
        "window": max(0.0, float(np.quantile(borders, _PART))),
    }
    scores = {name: bounds[name].score(value) for name, value in found.items()}
    worst = min(scores, key=lambda name: (scores[name], -found[name] / bounds[name].safe))
    factors = [
        bounds[name].safe / value for name, value in found.items() if value > 0 and name != "window"
    ]
    return ShotComfort(
        begin=float(rows[0, 0]),
        end=float(end),
        frames=len(rows),
        **found,
        front5=most("near95"),
        behind5=most("far5", -1),
        median=float(np.median(median)),
        window_time=100 * float((borders > bounds["window"].safe).mean()),
        holes=float(rows[:, _COLUMNS["holes"]].mean()),
        widest_hole=most("widest_hole"),
        score=100 * scores[worst],
        flag=_flag(scores[worst]),
        worst=worst,
        strength=min(factors, default=float(_STRONGEST)),
    )


def _with_degrees(shot: ShotComfort, viewing: Viewing) -> ShotComfort:
    front, behind = viewing.degrees(shot.front), viewing.degrees(-shot.behind)
    values = asdict(shot)
    values |= {"front_degrees": front, "behind_degrees": None if behind is None else -behind}
    return ShotComfort(**values)


def _flag(score: float) -> str:
    if score >= 1:
        return SAFE
    return BORDERLINE if score > 0 else STRONG


def _weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """Return the value below which `share` of the weight lies."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) > share * weights.sum()
    return float(values[order][np.argmax(reached)])


def _timeline(rows: np.ndarray) -> np.ndarray:
    """Return at most `_POINTS` rows: of several frames the extremes, which a mean would hide."""
    size = -(-len(rows) // _POINTS)
    if size == 1:
        return rows
    points = []
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        point = np.median(part, axis=0)
        for name in ("near95", "near99", "left", "right", "widest_hole", "new_shot"):
            point[_COLUMNS[name]] = part[:, _COLUMNS[name]].max()
        for name in ("far1", "far5"):
            point[_COLUMNS[name]] = part[:, _COLUMNS[name]].min()
        points.append(point)
    return np.array(points)


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(v, 3) if isinstance(v, float) else v for key, v in values.items()}
