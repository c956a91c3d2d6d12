"""Join parts of a film that were converted apart, on several machines perhaps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import cast

from ..video_io import DecodeOptions, EncodeOptions, VideoError, VideoWriter, probe
from ..video_io.encode_options import CODECS
from ..video_io.info import demux, video_stream
from ..video_io.source import open_input
from ..video_io.target import check_targets


def join_videos(
    parts: Sequence[Path], film: str | Path, target: Path, *, overwrite: bool = False
) -> None:
    """Copy the packets of converted parts into one film; sound and the like are the film's own.

    Nothing is encoded. Each part begins when its first frame does in the film.

    Args:
        parts: in order, all of the film's frames together, converted with the same options.
        film: what they were made of.
        target: the file to write.
        overwrite: replace an existing target.

    Raises:
        VideoError: a part is missing or of another kind, or the target cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from dreamstereo_core import convert_file, load_depth, load_inpainter
        >>> how = {"depth": load_depth("cues"), "inpainter": load_inpainter("classic")}
        >>> parts = [Path("a.mp4"), Path("b.mp4")]
        >>> for part, frames in zip(parts, [(0, 1), (1, None)]):
        ...     _ = convert_file("film.mp4", part, frames=frames, **how)
        >>> join_videos(parts, "film.mp4", Path("joined.mp4"))
        >>> len(picture_times("joined.mp4"))
        3
    """
    if not parts:
        raise VideoError(f"{target}: expected parts to join, got none")
    check_targets([target], [film, *parts], overwrite)
    times = picture_times(film)
    of_parts = [picture_times(part) for part in parts]
    found = sum(map(len, of_parts))
    if found != len(times):
        raise VideoError(
            f"{film}: expected parts of {len(times)} frames together, got {found} in "
            f"{len(parts)}: one is missing, or there twice"
        )
    info = probe(parts[0], DecodeOptions(source_layout="2d"))
    encode = EncodeOptions(codec=_codec(parts[0]), audio="copy_or_aac")
    common = {"audio_from": film, "audio_start": times[0], "overwrite": overwrite, "like": parts[0]}
    with VideoWriter(target, info, info.width, info.height, encode, **common) as writer:
        begins = accumulate(map(len, of_parts), initial=0)
        for part, own, begin in zip(parts, of_parts, begins, strict=False):
            writer.copy(part, times[begin] - times[0] - own[0])


def picture_times(film: str | Path) -> list[Fraction]:
    """Return the times of a film's pictures in seconds of its own clock, without decoding them.

    Raises:
        VideoError: it is missing, unreadable, or has no pictures.
    """
    with open_input(film) as container:
        stream = video_stream(container, str(film))
        times = sorted(
            packet.pts * cast(Fraction, packet.time_base)
            for packet in demux(container, stream)
            if packet.size and packet.pts is not None and not packet.is_discard
        )
    if not times:
        raise VideoError(f"{film}: has no pictures")
    return times


def _codec(part: Path) -> str:
    with open_input(part) as container:
        name = video_stream(container, str(part)).codec_context.codec.canonical_name
    if name not in CODECS:
        raise VideoError(f"{part}: expected one of {', '.join(CODECS)}, got {name}")
    return name
