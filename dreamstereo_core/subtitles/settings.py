"""What one may choose about subtitles, and what comes of it for a film."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..checks import check_choice, check_range
from ..video_io import DecodeOptions, Source, VideoInfo, read_frames
from .draw import CaptionStyle, choose_font
from .read import Subtitles, read_subtitle_file, read_subtitles

SUBTITLES = ("keep", "burn")
_WHITE = {16: 0.58, 18: 0.75}  # PQ and HLG, by FFmpeg's numbers: 203 cd/m2, as ITU-R BT.2408 has it


@dataclass(frozen=True)
class SubtitleOptions:
    """What becomes of subtitles.

    Raises:
        ValueError: an option is out of its range.
    """

    subtitles: str = "keep"
    """"keep" copies tracks; "burn" draws one into both eyes, in front of what it covers."""
    subtitle_file: str | None = None
    """.srt, .ass or .vtt to draw; None draws a track of the film."""
    subtitle_track: int | None = None
    """Which of the film's text tracks, from 0; None is the default one, else the first."""
    subtitle_encoding: str | None = None
    """Of the file; None finds it out."""
    subtitle_font: str | None = None
    """A font file; None is one that has all letters."""
    subtitle_size: float = 1.0
    """Relative to the usual size, a twentieth of the height."""

    def __post_init__(self) -> None:
        check_choice("subtitles", self.subtitles, SUBTITLES)
        check_range("subtitle_size", self.subtitle_size, 0.2, 5)
        given = {name for name in vars(self) if name != "subtitles"}
        changed = [name for name in given if getattr(self, name) != getattr(type(self), name)]
        if self.subtitles == "keep" and changed:
            raise ValueError(f"{min(changed)}: is for subtitles that are drawn, expected burn")


@dataclass(frozen=True)
class LoadedSubtitles:
    """What is drawn into a film, and how."""

    subtitles: Subtitles
    style: CaptionStyle
    stream: int | None = None
    """Index of the source's stream that it comes from, which then need not come along."""


def load_subtitles(
    options: SubtitleOptions, source: Source, info: VideoInfo, decode: DecodeOptions | None = None
) -> LoadedSubtitles | None:
    """Read what is to be drawn into a film; None if nothing is.

    Raises:
        VideoError: there are no such subtitles, or they cannot be read, or the font cannot.
    """
    if options.subtitles == "keep":
        return None
    stream = None
    if options.subtitle_file is None:
        found, stream = read_subtitles(source, options.subtitle_track)
    else:
        first = next(iter(read_frames(source, 0, 1, decode)), None)
        begin = Fraction(0) if first is None else first.time
        path = Path(options.subtitle_file)
        found = read_subtitle_file(path, options.subtitle_encoding, begin)
    font = choose_font(found.letters, options.subtitle_font)
    white = _WHITE.get(info.color.transfer, 1.0)
    return LoadedSubtitles(found, CaptionStyle(font, options.subtitle_size, white), stream)
