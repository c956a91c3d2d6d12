"""Text subtitles with depth: read, put in front of what they cover, drawn into both eyes."""

from .depth import CaptionDepth
from .draw import CaptionStyle, draw_captions
from .read import Subtitles, read_subtitles
from .settings import SubtitleOptions, load_subtitles

__all__ = [
    "CaptionDepth",
    "CaptionStyle",
    "SubtitleOptions",
    "Subtitles",
    "draw_captions",
    "load_subtitles",
    "read_subtitles",
]
