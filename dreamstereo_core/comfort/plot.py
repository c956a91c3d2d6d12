"""A film's disparity over time, to be read in one look."""

from __future__ import annotations

from math import ceil

import numpy as np

from ..types import FrameComfort
from .drawing import Drawing
from .report import BORDERLINE, SAFE, STRONG, ComfortReport

COLORS = {SAFE: "#2e8b57", BORDERLINE: "#e6a817", STRONG: "#c0392b"}
_SIZE = (1200, 460)
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 56, 96
_WIDE, _NARROW, _LINE, _CUT = "#cfe3f5", "#7fb3de", "#1f4e79", "#d8d8d8"
_MOST_CUTS = 300  # of more only a grey veil would be seen
_TICK_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


def draw_report(report: ComfortReport) -> Drawing:
    """Draw disparity over time: all of it, most of it, its median, the limits and the shots."""
    drawing = Drawing(*_SIZE)
    points = report.timeline
    time = points[:, 0]
    begin, end = report.shots[0].begin, report.shots[-1].end
    near, far = (_column(points, name) for name in ("near99", "far1"))
    bounds = report.limits
    high = 1.1 * max(near.max(), bounds["front"].safe)
    low = 1.1 * min(far.min(), -bounds["behind"].safe)
    right, bottom = _SIZE[0] - _RIGHT, _SIZE[1] - _BOTTOM

    def x(seconds: float) -> float:
        return _LEFT + (seconds - begin) / max(1e-9, end - begin) * (right - _LEFT)

    def y(percent: float) -> float:
        return _TOP + (high - percent) / (high - low) * (bottom - _TOP)

    # A step at each cut, and the last frame is shown for a while, too.
    cuts = np.flatnonzero(_column(points, "new_shot")[1:]) + 1
    times = np.append(np.insert(time, cuts, time[cuts]), end)

    def curve(name: str) -> list[tuple[float, float]]:
        values = _column(points, name)
        values = np.append(np.insert(values, cuts, values[cuts - 1]), values[-1])
        return [(x(t), y(v)) for t, v in zip(times, values, strict=True)]

    drawing.area(curve("near99") + curve("far1")[::-1], _WIDE)
    drawing.area(curve("near95") + curve("far5")[::-1], _NARROW)
    if len(report.shots) <= _MOST_CUTS:
        for shot in report.shots[1:]:
            drawing.line([(x(shot.begin), _TOP), (x(shot.begin), bottom)], _CUT)
    drawing.line([(_LEFT, y(0)), (right, y(0))], "#222222", 1)
    for name, sign in (("front", 1), ("behind", -1)):
        for flag, value in ((SAFE, bounds[name].safe), (STRONG, bounds[name].hard)):
            if low <= sign * value <= high:
                drawing.line([(_LEFT, y(sign * value)), (right, y(sign * value))], COLORS[flag], 2)
    drawing.line(curve("median"), _LINE, 2)
    for percent in range(ceil(low), int(high) + 1, max(1, round((high - low) / 8))):
        label = "screen" if percent == 0 else f"{percent:+d} %"
        drawing.text((_LEFT - 6, y(percent) + 5), label, 13, anchor="end")
    for shot in report.shots:
        box = [(x(shot.begin), bottom + 8), (x(shot.end), bottom + 8)]
        drawing.area([*box, *((u, v + 14) for u, v in reversed(box))], COLORS[shot.flag])
        if shot.window_time > 0:
            lower = [(u, v + 18) for u, v in box]
            drawing.area([*lower, *((u, v + 6) for u, v in reversed(lower))], "#8e44ad")
    _label(drawing, report, begin, end, x, bottom)
    return drawing


def _label(drawing: Drawing, report: ComfortReport, begin, end, x, bottom) -> None:
    """Add the title, the clock and what the colours mean."""
    title = f"Comfort {report.score:.0f} of 100: {report.flag}"
    if report.comfortable_max_disparity is not None:
        title += (f"; strength {report.max_disparity:g} %, comfortable "
                  f"{report.comfortable_max_disparity:g} %")  # fmt: skip
    drawing.text((_LEFT, 24), title, 20, COLORS[report.flag])
    drawing.text((_LEFT, 46), "disparity in % of the width; up is in front of the screen", 13)
    tick = next((t for t in _TICK_S if (end - begin) / t <= 12), _TICK_S[-1])
    for number in range(int((end - begin) / tick) + 1):
        minutes, seconds = divmod(number * tick, 60)
        place = (x(begin + number * tick), bottom + 50)
        drawing.text(place, f"{minutes}:{seconds:02d}", 12, anchor="middle")
    legend = (("98 % of the pixels", _WIDE), ("90 %", _NARROW), ("median", _LINE),
              ("safe", COLORS[SAFE]), ("borderline", COLORS[BORDERLINE]),
              ("uncomfortable", COLORS[STRONG]), ("cut off by a border", "#8e44ad"))  # fmt: skip
    place = float(_LEFT)
    for text, color in legend:
        base = _SIZE[1] - 14
        drawing.area([(place, base - 11), (place + 12, base - 11), (place + 12, base + 1),
                      (place, base + 1)], color)  # fmt: skip
        drawing.text((place + 17, base), text, 13)
        place += 40 + 7.6 * len(text)


def _column(rows: np.ndarray, name: str) -> np.ndarray:
    return rows[:, FrameComfort._fields.index(name)]
