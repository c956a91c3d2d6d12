"""Which container can hold which codecs, and which suffix suits a source."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from av.audio.stream import AudioStream

from ..packing import MV_HEVC
from .footage import open_footage
from .source import Source, VideoError, image_paths, open_input

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffix of a video target -> FFmpeg's name of the container."""

MOVIE_SUFFIXES = tuple(suffix for suffix, name in FORMATS.items() if name in ("mp4", "mov"))
WRITABLE_IMAGES = (".png", ".jpg", ".jpeg", ".webp")

_ISO_AUDIO = {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "dts"}
_AUDIO = {
    "mp4": _ISO_AUDIO | {"opus", "flac"},
    "mov": _ISO_AUDIO,
    "webm": {"opus", "vorbis"},
}


def holds_audio(container: str, codec: str) -> bool:
    """Tell whether players support audio of this codec in the container (FFmpeg's names)."""
    if container == "matroska" or (container == "mov" and codec.startswith("pcm_")):
        return True
    return codec in _AUDIO[container]


def audio_codec(stream: AudioStream) -> str:
    """Return the name of a stream's codec, independent of the decoder.

    Raises:
        VideoError: FFmpeg knows no such codec.
    """
    if stream.codec_context is None:
        raise VideoError(f"audio stream {stream.index}: unknown codec")
    return stream.codec_context.codec.canonical_name


def check_suffix(target: Path, more: Iterable[str] = ()) -> None:
    """Require a target whose format can be written, or a suffix of `more`.

    Raises:
        VideoError: it cannot; the message lists the suffixes.
    """
    known = [*FORMATS, *WRITABLE_IMAGES, *more]
    if target.suffix.lower() not in known:
        raise VideoError(f"{target}: expected a name ending in one of {', '.join(known)}")


def check_layout(target: Path, layout: str | None) -> None:
    """Require a target that can hold a layout.

    Raises:
        VideoError: it cannot; the message lists the suffixes that can.
    """
    suffixes = {"frame_sequential": tuple(FORMATS), MV_HEVC: MOVIE_SUFFIXES}.get(layout or "")
    if suffixes is not None and target.suffix.lower() not in suffixes:
        raise VideoError(f"{target}: {layout} needs a name ending in one of {', '.join(suffixes)}")


def suggest_suffix(source: Source) -> str:
    """Return the suffix of a converted copy: .mp4, .mkv if its tracks need it, or an image's.

    Raises:
        VideoError: the source is missing or unreadable.
    """
    if image_paths(source) is not None:
        return ".mp4"
    with open_footage(source) as footage:
        if footage.still:
            suffix = Path(source).suffix.lower() if isinstance(source, str | Path) else ".png"
            return suffix if suffix in WRITABLE_IMAGES else ".png"
    with open_input(source) as container:
        streams = container.streams
        known = [s for s in streams.audio if s.codec_context is not None]
        fits = all(holds_audio("mp4", audio_codec(stream)) for stream in known)
        texts = [s.codec_context for s in streams.subtitles if s.codec_context is not None]
        fits = fits and all(text.codec.canonical_name == "mov_text" for text in texts)
        return ".mp4" if fits and not streams.attachments else ".mkv"
