"""NVIDIA's encoder of pictures: whether it works here, what it is told, what it leaves out.

FFmpeg lists it wherever it was built in, card or none, and what a card can do depends on its
generation. So it is tried once, with a picture of the film's own size and kind.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from av import CodecContext
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from ..packing import PAIRED
from .color import repacked, rgb_to_frame
from .encode_options import NVENC, SOFTWARE
from .source import VideoError, reason

if TYPE_CHECKING:
    from .encoder import PictureFormat

_log = logging.getLogger(__name__)

_SIDE = {"h264": 4096, "hevc": 8192, "av1": 8192}
"""Pixels of the widest and highest picture (NVIDIA's NVENC application note); older cards have
less, and the smallest one differs, too: the trial tells."""
_PRESET = "p5"


def chosen_encoder(pictures: PictureFormat, target: Path) -> str:
    """Return what encodes these pictures, `SOFTWARE` or `NVENC`.

    "auto" is NVENC where it works and says all that the software does; else a log line tells why
    it is not.

    Raises:
        VideoError: NVENC was asked for, and does not work; the message says why.
    """
    wanted = pictures.encode.encoder
    if wanted == SOFTWARE:
        return SOFTWARE
    problem = _impossible(pictures) or _trial(pictures)
    if wanted == NVENC:
        if problem:
            raise VideoError(f"{target}: encoder: nvenc cannot be used here ({problem})")
        if left_out := _left_out(pictures):
            _log.warning("%s: nvenc leaves out %s", target, left_out)
        return NVENC
    left_out = _left_out(pictures)
    if problem or left_out:
        why = problem or f"nvenc would leave out {left_out}"
        _log.warning("%s: encoded by software (%s)", target, why)
        return SOFTWARE
    return NVENC


def nvenc_name(codec: str) -> str:
    """Return FFmpeg's name of the encoder."""
    return f"{codec}_nvenc"


def nvenc_format(bits: int, whole_chroma: bool) -> str:
    """Return FFmpeg's name of the pixels that it takes."""
    if bits > 8:
        return "p010le"
    return "yuv444p" if whole_chroma else "yuv420p"


def nvenc_options(codec: str, crf: int, preset: str | None) -> dict[str, str]:
    """Return its options: a constant quality, as `crf` is, and closed groups of pictures.

    Its scale of quality is the codec's own, as the software's is. 0, which means "automatic" to
    it, becomes a quantiser of 0.
    """
    quality = {"rc": "vbr", "cq": str(crf), "b": "0"} if crf else {"rc": "constqp", "qp": "0"}
    return {
        "preset": preset or _PRESET,
        "tune": "hq",
        **quality,
        "spatial-aq": "1",
        "strict_gop": "1",
        "forced-idr": "1",
    }


def _impossible(pictures: PictureFormat) -> str | None:
    """Return what no card encodes of these pictures."""
    codec, side = pictures.encode.codec, max(pictures.size)
    if pictures.layout in PAIRED and pictures.layout != "frame_sequential":
        return "mv_hevc needs two encoders in step, which are software"
    if side > _SIDE[codec]:
        return f"{codec} up to {_SIDE[codec]} pixels, not {side}"
    if pictures.bits > 8 and (codec == "h264" or pictures.whole_chroma):
        return f"no {codec} of {pictures.bits} bits {'4:4:4' if pictures.whole_chroma else '4:2:0'}"
    return None


def _left_out(pictures: PictureFormat) -> str | None:
    """Return what the software says in the stream and this encoder does not."""
    if pictures.info.hdr is not None:
        return "the film's HDR10 brightness"
    if pictures.encode.codec == "h264" and pictures.layout == "frame_sequential":
        return "which eye a picture is for"
    return None


def _trial(pictures: PictureFormat) -> str | None:
    """Return why the encoder does not work, or None if it does."""
    size = tuple(n + n % 2 for n in pictures.size)
    return _try(pictures.encode.codec, size, pictures.bits, pictures.whole_chroma)


@cache
def _try(codec: str, size: tuple[int, ...], bits: int, whole_chroma: bool) -> str | None:
    """Encode one black picture; return what went wrong."""
    width, height = size
    try:
        context = CodecContext.create(nvenc_name(codec), "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height = width, height
        context.pix_fmt = nvenc_format(bits, whole_chroma)
        context.time_base = Fraction(1, 25)
        context.options = nvenc_options(codec, 20, None)
        context.open()
        black = rgb_to_frame(torch.zeros(3, height, width), 1, False, bits, whole_chroma)
        frame = repacked(black, context.pix_fmt)
        frame.pts = 0
        packets = [*context.encode(frame), *context.encode(None)]
    except UnknownCodecError:
        return f"this build of PyAV has no {nvenc_name(codec)}"
    except (FFmpegError, OSError) as error:
        return f"{nvenc_name(codec)}: {reason(error)}"
    return None if packets else f"{nvenc_name(codec)}: it gave nothing back"
