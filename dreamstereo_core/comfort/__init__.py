"""Comfort in numbers: what the eyes have to do, frame by frame, and what is known of its limits."""

from .limits import SOURCES, Limit, Viewing, limits
from .log import ComfortLog
from .measure import measure_frame
from .plot import draw_report
from .report import ComfortReport, ShotComfort, make_report
from .write import check_report, report_targets, write_report

__all__ = [
    "SOURCES",
    "ComfortLog",
    "ComfortReport",
    "Limit",
    "ShotComfort",
    "Viewing",
    "check_report",
    "draw_report",
    "limits",
    "make_report",
    "measure_frame",
    "report_targets",
    "write_report",
]
