"""A report as JSON, and as one HTML page that needs nothing beside it."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path

from ..errors import VideoError
from .limits import SOURCES
from .plot import COLORS, draw_report
from .report import FORMULA, ComfortReport, ShotComfort

_ROWS = 500  # of the page's table; of more shots the least comfortable ones
_STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:right;"
    "border-bottom:1px solid #ddd}svg{width:100%;height:auto}"
)
_HEADS = ("shot", "from", "s", "score", "decided by", "in front %", "behind %", "median %",
          "jump %", "speed %/s", "border %", "holes %", "widest %")  # fmt: skip


def report_targets(target: Path) -> tuple[Path, Path]:
    """Return the JSON's and the page's place beside a film, or beside its numbered images."""
    stem = target.stem.replace("%", "").rstrip("_. -") or "film"
    return target.with_name(f"{stem}_comfort.json"), target.with_name(f"{stem}_comfort.html")


def check_report(target: Path, overwrite: bool) -> None:
    """Refuse, before any work is done, a report that cannot be written.

    Raises:
        VideoError: one of its files exists already.
    """
    for path in report_targets(target):
        if os.path.lexists(path) and not overwrite:
            raise VideoError(f"{path}: exists already")


def write_report(report: ComfortReport, target: Path) -> tuple[Path, Path]:
    """Write a report's two files beside `target`; each appears when it is complete.

    Raises:
        VideoError: a file cannot be written.
    """
    places = report_targets(target)
    texts = json.dumps(report.as_dict(), indent=1) + "\n", page(report)
    for path, text in zip(places, texts, strict=True):
        fresh = path.with_name(f".{path.name}.part")
        try:
            fresh.write_text(text, "utf-8")
            os.replace(fresh, path)
        except OSError as error:
            raise VideoError(f"{path}: cannot be written ({error.strerror})") from error
    return places


def page(report: ComfortReport) -> str:
    """Return the report as a page of HTML."""
    name = escape(report.name or "film")
    order = sorted(range(len(report.shots)), key=lambda n: report.shots[n].score)[:_ROWS]
    rows = "\n".join(_row(number, report.shots[number]) for number in sorted(order))
    used = {key for limit in report.limits.values() for key in limit.source.split()}
    sources = "\n".join(f"<li>{escape(SOURCES[key])}</li>" for key in SOURCES if key in used)
    bounds = "; ".join(f"{key} {limit.safe:.2g} and {limit.hard:.2g}"
                       for key, limit in report.limits.items())  # fmt: skip
    heads = "".join(f"<th>{head}</th>" for head in _HEADS)
    missing = (f"<p>{report.unmeasured} of {report.frames} frames were not measured.</p>"
               if report.unmeasured else "")  # fmt: skip
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Comfort: {name}</title>
<style>{_STYLE}</style></head><body>
<h1>Comfort: {name}</h1>
{draw_report(report).svg()}
<p>{escape(summary(report))}</p>{missing}
<table><tr>{heads}</tr>
{rows}
</table>
<h2>How it is scored</h2>
<p>{FORMULA} Safe and hard limits in % of the width (speed: a second): {bounds}.</p>
<ul>{sources}</ul>
</body></html>
"""


def summary(report: ComfortReport) -> str:
    """Say in a few sentences what the report found."""
    counts: dict[str, int] = {}
    for shot in report.shots:
        counts[shot.flag] = counts.get(shot.flag, 0) + 1
    flags = ", ".join(f"{number} {flag}" for flag, number in counts.items())
    shots = "1 shot" if len(report.shots) == 1 else f"{len(report.shots)} shots"
    text = f"Score {report.score:g} of 100, {report.flag}. {shots}: {flags}."
    if report.comfortable_max_disparity is not None:
        text += (f" Strength {report.max_disparity:g} % of the width; comfortable for 95 % of the "
                 f"film: {report.comfortable_max_disparity:g} %.")  # fmt: skip
    cut_off = sum(shot.window > report.limits["window"].safe for shot in report.shots)
    if cut_off:
        text += f" Near things are cut off at the sides in {cut_off}: a floating window helps."
    viewing = report.viewing
    if viewing.screen_width is not None:
        front = max(shot.front_degrees or 0 for shot in report.shots)
        behind = max(shot.behind_degrees or 0 for shot in report.shots)
        text += (f" On a screen {viewing.screen_width:g} m wide, {viewing.distance:g} m away: up "
                 f"to {front:.2f} degrees in front, {behind:.2f} behind.")  # fmt: skip
    return text


def _row(number: int, shot: ShotComfort) -> str:
    minutes, seconds = divmod(shot.begin, 60)
    score = f'<b style="color:{COLORS[shot.flag]}">{shot.score:.0f}</b>'
    values = (shot.front, shot.behind, shot.median, shot.jump, shot.speed, shot.window, shot.holes,
              shot.widest_hole)  # fmt: skip
    cells = (str(number + 1), f"{minutes:.0f}:{seconds:04.1f}", f"{shot.end - shot.begin:.1f}",
             score, shot.worst, *(f"{value:.2f}" for value in values))  # fmt: skip
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
