"""Options for writing a target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..checks import check_choice, check_range
from ..packing import FILE_LAYOUTS
from .containers import FORMATS
from .info import VideoInfo
from .photo_layouts import PHOTO_LAYOUTS


@dataclass(frozen=True)
class _Codec:
    encoder: str
    crf: int
    crf_max: int
    preset: str
    parameters: str
    """The option that passes on parameters to the encoder's library."""


CODECS = {
    "h264": _Codec("libx264", 18, 51, "medium", "x264-params"),
    "hevc": _Codec("libx265", 20, 51, "medium", "x265-params"),
    "av1": _Codec("libsvtav1", 26, 63, "8", "svtav1-params"),
}
AUTO = "auto"
CHROMA = ("420", "444")
_H264_SIDE = 4096
"""Pixels. Decoders in devices support no H.264 that is wider or higher, nor one of 10 bits."""


@dataclass(frozen=True)
class EncodeOptions:
    """How to write a target; None is the codec's default, or the source's bit depth."""

    codec: str = AUTO
    """"auto" is h264 where devices play it (8 bits, up to 4096 pixels), else hevc. In WebM, which
    holds neither, it is av1."""
    crf: int | None = None
    """Quality; lower is better and larger."""
    preset: str | None = None
    """The encoder's name for a compromise of speed and size."""
    bit_depth: int | None = None
    """8 or 10."""
    chroma: str = "420"
    """"444" keeps the colour of each pixel (screen recordings, titles); few devices play it."""
    audio: str = "copy"
    """"copy" copies packets; "copy_or_aac" encodes AAC if the container cannot hold the codec."""
    left_out: tuple[int, ...] = ()
    """Indices of the source's streams that do not come along."""
    layout: str = "full_sbs"
    """The layout of the two eyes, one of `FILE_LAYOUTS`, or of `PHOTO_LAYOUTS` for photographs."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one of them is wrong; the message names it.
        """
        check_choice("codec", self.codec, (AUTO, *CODECS))
        check_choice("audio", self.audio, ("copy", "copy_or_aac"))
        check_choice("chroma", self.chroma, CHROMA)
        check_choice("layout", self.layout, (*FILE_LAYOUTS, *PHOTO_LAYOUTS))
        if self.chroma == "444" and self.codec == "av1":
            raise ValueError("chroma: expected 420 with the codec av1, whose encoder has no 444")
        if self.crf is not None:
            check_range("crf", self.crf, 0, CODECS.get(self.codec, CODECS["h264"]).crf_max)
        if self.bit_depth not in (None, 8, 10):
            raise ValueError(f"bit_depth: expected 8, 10 or None, got {self.bit_depth}")


def resolve_codec(encode: EncodeOptions, bits: int, size: tuple[int, int], container: str) -> str:
    """Return the codec for a film of this depth and size, as `EncodeOptions.codec` describes."""
    if encode.codec != AUTO:
        return encode.codec
    if container == "webm" and encode.chroma == "420":
        return "av1"
    return "h264" if bits == 8 and max(size) <= _H264_SIDE else "hevc"


def settled(
    encode: EncodeOptions, info: VideoInfo, target: Path, size: tuple[int, int]
) -> EncodeOptions:
    """Return the options with the codec that "auto" is for this film, size and target."""
    container = FORMATS.get(target.suffix.lower())
    if container is None:  # an image
        return encode
    codec = resolve_codec(encode, encode.bit_depth or info.bit_depth, size, container)
    return replace(encode, codec=codec)
