"""What an encoder of pictures is told: codec, quality, size, colours, stereo, key frames."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from av.video.codeccontext import VideoCodecContext

from ..packing import MV_HEVC, PAIRED
from .color import FULL, LIMITED, pixel_format, resolve_matrix
from .containers import FORMATS
from .encode_options import CODECS, NVENC, EncodeOptions, resolve_codec
from .frame_packing import FRAME_PACKING, frame_packing_unit
from .hdr import encoder_options
from .info import VideoInfo
from .nvenc import chosen_encoder, nvenc_format, nvenc_name, nvenc_options

_log = logging.getLogger(__name__)

_FINEST = 1_000_000  # ticks in a second, at most
_HEVC_PIXELS, _HEVC_SIDE = 35_651_584, 16_888
"""MaxLumaPs of HEVC's level 6.2, the highest, and the longest side it allows (H.265, A.4.1)."""
_LARGE_PIXELS = 4096 * 2160
"""Pixels of a picture above which x265 gets `_LEAN`, unless a preset is chosen."""
_LEAN = ("rc-lookahead=5", "bframes=3", "b-pyramid=0", "ref=2", "frame-threads=1")
"""x265 takes some 3 bytes for each pixel it looks ahead and 12 for each that it encodes or refers
to; its own numbers (20, 4, 1, 3) make that 2.7 GiB at 7680x2160, these 1.4 GiB."""
_NARROW = 64
"""Pixels of width up to which x265 goes without its tree of blocks: there (34 to 48 pixels, x265
4.2) the tree writes beyond its own memory, and the process dies."""
_IN_STEP = ("scenecut=0", "open-gop=0", "b-adapt=0", "info=0", "aud=0", "hrd=0")
"""What makes the encoders of both eyes choose the same kinds of pictures."""
_KEY_SECONDS = 2


@dataclass(frozen=True)
class PictureFormat:
    """What the pictures of a file are, whatever encodes them."""

    info: VideoInfo
    """The source, for its colours, rate and brightness."""
    size: tuple[int, int]
    encode: EncodeOptions
    """With a codec and an encoder that are settled."""
    layout: str | None
    bits: int
    rate: Fraction
    """Pictures in a second."""
    time_base: Fraction

    @property
    def matrix(self) -> int:
        """The matrix between RGB and what is coded."""
        return resolve_matrix(self.info.color.matrix, self.info.width, self.info.height)

    @property
    def full(self) -> bool:
        """Whether values use the whole range of codes."""
        return self.info.color.range == FULL

    @property
    def whole_chroma(self) -> bool:
        """Whether each pixel keeps its colour."""
        return self.encode.chroma == "444"

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel for a height of 1; a dome's picture has square ones."""
        return Fraction(1) if self.layout == "vr180" else self.info.pixel_aspect

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        codec = self.encode.codec
        return nvenc_name(codec) if self.encode.encoder == NVENC else CODECS[codec].encoder

    @property
    def coded_format(self) -> str:
        """FFmpeg's name of the pixels that the encoder takes."""
        if self.encode.encoder == NVENC:
            return nvenc_format(self.bits, self.whole_chroma)
        return pixel_format(self.bits, self.whole_chroma)

    @property
    def unit(self) -> bytes:
        """What key frames begin with, since the encoder does not write it."""
        packed = self.encode.codec == "h264" and self.layout in FRAME_PACKING
        if self.encode.encoder != NVENC or not packed or self.layout == "frame_sequential":
            return b""
        return frame_packing_unit(FRAME_PACKING[self.layout or ""])

    def configure(self, context: VideoCodecContext) -> None:
        """Tell an encoder all of it."""
        context.width, context.height = (n + n % 2 for n in self.size)
        context.pix_fmt = self.coded_format
        context.sample_aspect_ratio = self.pixel_aspect
        context.color_primaries = self.info.color.primaries
        context.color_trc = self.info.color.transfer
        context.colorspace = self.matrix
        context.color_range = FULL if self.full else LIMITED
        context.options = self._options()

    def _options(self) -> dict[str, str]:
        encode, codec = self.encode, CODECS[self.encode.codec]
        crf = codec.crf if encode.crf is None else encode.crf
        if encode.encoder == NVENC:
            return nvenc_options(encode.codec, crf, encode.preset)
        options = {
            "crf": str(crf),
            "preset": encode.preset or codec.preset,
        }
        parameters = encoder_options(self.info.hdr, encode.codec)
        if encode.codec == "h264" and self.layout in FRAME_PACKING:
            parameters.append(f"frame-packing={FRAME_PACKING[self.layout]}")
        if encode.codec == "hevc":
            parameters.append("log-level=error")
            if self.size[0] <= _NARROW:
                parameters.append("cutree=0")
            if self.size[0] * self.size[1] > _LARGE_PIXELS and encode.preset is None:
                parameters += _LEAN
        if self.layout == MV_HEVC:
            interval = max(1, round(_KEY_SECONDS * self.rate))
            parameters += [f"keyint={interval}", f"min-keyint={interval}", *_IN_STEP]
            options["forced-idr"] = "1"  # where a picture is asked for as a key frame
        if encode.codec == "av1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no other setting
        if parameters:
            options[codec.parameters] = ":".join(parameters)
        return options


def picture_format(
    info: VideoInfo,
    size: tuple[int, int],
    encode: EncodeOptions,
    layout: str | None,
    target: Path,
) -> PictureFormat:
    """Return what a target's pictures are for frames of `size`; warn of what no device plays."""
    bits = encode.bit_depth or info.bit_depth
    if layout in PAIRED:
        size = size[0] // 2, size[1]
    if layout == MV_HEVC and bits > 8:
        _log.warning("%s: mv_hevc has 8 bits, the source has more", target)
        bits = 8
    encode = replace(
        encode, codec=resolve_codec(encode, bits, size, FORMATS[target.suffix.lower()])
    )
    if encode.codec == "hevc" and (size[0] * size[1] > _HEVC_PIXELS or max(size) > _HEVC_SIDE):
        _log.warning(
            "%s: %dx%d is more than HEVC's highest level has, and few devices play it; a half "
            "layout is smaller",
            *(target, *size),
        )
    rate = info.frame_rate * (2 if layout == "frame_sequential" else 1)
    pictures = PictureFormat(info, size, encode, layout, bits, rate, _fine(info.time_base, rate))
    return replace(pictures, encode=replace(encode, encoder=chosen_encoder(pictures, target)))


def _fine(time_base: Fraction, rate: Fraction) -> Fraction:
    """Return a unit of time that divides the source's, fine enough for repaired times.

    Frame durations are whole units of it, too, unless that would make it too fine.
    """
    both = math.lcm(time_base.denominator, rate.numerator)
    ticks = both if both <= _FINEST else time_base.denominator
    if ticks > _FINEST:
        return Fraction(1, 90_000)
    while ticks < 10_000:  # as FFmpeg's MP4 muxer does
        ticks *= 2
    return Fraction(1, ticks)
