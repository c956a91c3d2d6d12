"""Options for writing a target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..checks import check_choice, check_range
from ..equirectangular import Vr180
from ..packing import FILE_LAYOUTS, MV_HEVC
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
DEPTH_CRF = 10
"""Of the layout "depth"."""
AUTO = "auto"
CHROMA = ("420", "444")
SOFTWARE, NVENC = "software", "nvenc"
ENCODERS = (SOFTWARE, AUTO, NVENC)
_H264_SIDE = 4096
"""Pixels. Decoders in devices support no H.264 that is wider or higher, nor one of 10 bits."""


@dataclass(frozen=True)
class EncodeOptions:
    """How to write a target; None is the codec's default, or the source's bit depth."""

    codec: str = AUTO
    """"auto" is h264 where devices play it (8 bits, up to 4096 pixels), else hevc. In WebM, which
    holds neither, it is av1."""
    encoder: str = SOFTWARE
    """"software" (x264, x265, SVT-AV1), "nvenc" (NVIDIA's, in the card: several times faster, and
    larger at the same quality), or "auto": nvenc where it works."""
    crf: int | None = None
    """Quality; lower is better and larger."""
    preset: str | None = None
    """The encoder's name for a compromise of speed and size; nvenc's are p1 to p7."""
    bit_depth: int | None = None
    """8 or 10."""
    chroma: str = "420"
    """"444" keeps the colour of each pixel (screen recordings, titles); few devices play it."""
    audio: str = "copy"
    """"copy" copies packets; "copy_or_aac" encodes AAC if the container cannot hold the codec."""
    left_out: tuple[int, ...] = ()
    """Indices of the source's streams that do not come along."""
    layout: str = "full_sbs"
    """The layout of the two eyes, one of `FILE_LAYOUTS`, or of `PHOTO_LAYOUTS` for photographs.
    "mv_hevc" is 4:2:0 HEVC of 8 bits."""
    field_of_view: float | None = None
    """Degrees that the picture's width takes before a headset: 90 in the layout "vr180", 63.5 with
    `spatial`."""
    spatial: bool = False
    """Whether a film of the layout "mv_hevc" is a spatial clip, in a window into a room, instead of
    a film on a screen."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one of them is wrong; the message names it.
        """
        check_choice("codec", self.codec, (AUTO, *CODECS))
        check_choice("encoder", self.encoder, ENCODERS)
        check_choice("audio", self.audio, ("copy", "copy_or_aac"))
        check_choice("chroma", self.chroma, CHROMA)
        check_choice("layout", self.layout, (*FILE_LAYOUTS, *PHOTO_LAYOUTS))
        if self.chroma == "444" and self.codec == "av1":
            raise ValueError("chroma: expected 420 with the codec av1, whose encoder has no 444")
        if self.field_of_view is not None:
            Vr180(self.field_of_view)
        if self.layout == MV_HEVC:
            self._check_layers()
        elif self.spatial:
            raise ValueError(f"spatial: expected the layout {MV_HEVC}, got {self.layout}")
        if self.crf is not None:
            check_range("crf", self.crf, 0, CODECS.get(self.codec, CODECS["h264"]).crf_max)
        if self.bit_depth not in (None, 8, 10):
            raise ValueError(f"bit_depth: expected 8, 10 or None, got {self.bit_depth}")

    def _check_layers(self) -> None:
        wanted = {"codec": (AUTO, "hevc"), "chroma": ("420",), "bit_depth": (None, 8),
                  "encoder": (AUTO, SOFTWARE)}  # fmt: skip
        for name, values in wanted.items():
            if (value := getattr(self, name)) not in values:
                raise ValueError(f"{name}: expected {values[-1]} with {MV_HEVC}, got {value}")


def resolve_codec(encode: EncodeOptions, bits: int, size: tuple[int, int], container: str) -> str:
    """Return the codec for a film of this depth and size, as `EncodeOptions.codec` describes."""
    if encode.codec != AUTO:
        return encode.codec
    if encode.layout == MV_HEVC:
        return "hevc"
    if container == "webm" and encode.chroma == "420":
        return "av1"
    return "h264" if bits == 8 and max(size) <= _H264_SIDE else "hevc"


def settled(
    encode: EncodeOptions, info: VideoInfo, target: Path, size: tuple[int, int]
) -> EncodeOptions:
    """Return the options with what "auto" and None are for this film, size and target.

    A depth that is to be read again keeps 10 bits (images: 16), and most of its detail.
    """
    if encode.layout == "depth":
        crf = DEPTH_CRF if encode.crf is None else encode.crf
        encode = replace(encode, bit_depth=encode.bit_depth or 10, crf=crf)
    container = FORMATS.get(target.suffix.lower())
    if container is None:  # an image
        return encode
    codec = resolve_codec(encode, encode.bit_depth or info.bit_depth, size, container)
    return replace(encode, codec=codec)
