"""Transparency: find and read the alpha channel of a source."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import numpy as np
from av import VideoFrame
from av.codec import CodecContext
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from .color import BICUBIC, FULL, LIMITED, Array, code_range, plane_views

_log = logging.getLogger(__name__)
_VPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_WAITING = 64
"""Frames that may wait for their alpha channel; if more wait, it is missing."""


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Return a decoder for a WebM stream with alpha, which FFmpeg's own decoder leaves out."""
    metadata = {key.lower(): value for key, value in stream.metadata.items()}
    if metadata.get("alpha_mode") != "1" or stream.codec_context.name not in _VPX:
        return None
    try:
        decoder = cast(VideoCodecContext, CodecContext.create(_VPX[stream.codec_context.name], "r"))
    except UnknownCodecError:
        _log.warning("this build of PyAV has no libvpx, so the video's transparency is ignored")
        return None
    decoder.extradata = stream.codec_context.extradata
    return decoder


def decode_with_alpha(
    container: InputContainer, stream: VideoStream, alpha: VideoStream
) -> Iterator[tuple[VideoFrame, VideoFrame | None]]:
    """Decode two tracks side by side and yield their frames in pairs, in order.

    Damaged packets are left out. A frame whose alpha channel is missing is opaque.
    """
    colors: deque[VideoFrame] = deque()
    alphas: dict[Fraction | None, VideoFrame] = {}
    for packet in container.demux(stream, alpha):
        context = cast(VideoStream, packet.stream).codec_context
        try:
            frames = context.decode(packet)
        except FFmpegError:
            continue  # a damaged packet leaves a gap
        if packet.stream.index == stream.index:
            colors.extend(frames)
        else:
            alphas |= {_shown_at(frame): frame for frame in frames}
        while colors and (_shown_at(colors[0]) in alphas or len(colors) > _WAITING):
            color = colors.popleft()
            yield color, alphas.pop(_shown_at(color), None)
    yield from ((color, alphas.pop(_shown_at(color), None)) for color in colors)


def _shown_at(frame: VideoFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def read_alpha(frame: VideoFrame, width: int, height: int) -> Array | None:
    """Return a frame's own alpha channel ``[height, width]`` in [0, 1], or None if it has none."""
    format_ = frame.format
    if not any(component.is_alpha for component in format_.components) and not format_.has_palette:
        return None
    bits = max(8, format_.components[0].bits)
    depth = "" if bits == 8 else f"{min(b for b in (10, 12, 16) if b >= bits)}le"
    layout = "gbrap" if format_.is_rgb or format_.has_palette else "yuva444p"
    whole = frame.reformat(width, height, format=f"{layout}{depth}", interpolation=BICUBIC)
    plane = plane_views(whole)[3]
    top = (1 << whole.format.components[3].bits) - 1
    return plane.astype(np.float32) * (1 / top)


def picture_of_alpha(frame: VideoFrame, width: int, height: int) -> Array:
    """Return an alpha channel that is stored as a grey picture, as `read_alpha` returns it."""
    bits = max(8, frame.format.components[0].bits)
    deep = "" if bits == 8 else f"{min(b for b in (10, 12, 16) if b >= bits)}le"
    full = frame.color_range != LIMITED
    level = FULL if full else LIMITED
    grey = frame.reformat(width, height, format=f"gray{deep}", interpolation=BICUBIC,
                          src_color_range=level, dst_color_range=level)  # fmt: skip
    span, offset, _ = code_range(int(deep[:-2] or 8), full)
    return ((plane_views(grey)[0].astype(np.float32) - offset) * (1 / span)).clip(0, 1)
