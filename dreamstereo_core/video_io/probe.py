"""What a source is: size as displayed, rate, length, depth and colour tags."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from av import VideoFrame

from .color import UNSPECIFIED, ColorTags
from .decode_options import DecodeOptions
from .footage import Footage, open_footage
from .hdr import hdr_metadata
from .info import SEQUENCE_RATE, VideoInfo
from .orientation import orientation
from .source import Source, image_paths
from .stereo_source import chosen_packing, eye_size, tagged_packing


def probe(source: Source, options: DecodeOptions | None = None) -> VideoInfo:
    """Read what a video, image, folder of images or printf pattern is; decodes its first frame.

    Raises:
        VideoError: the source is missing, unreadable, or has no video.

    Example:
        >>> info = probe("film.mp4")
        >>> info.width, info.height, float(info.frame_rate), info.frame_count
        (64, 48, 25.0, 3)
    """
    options = options or DecodeOptions()
    images = image_paths(source)
    if images is None:
        return _probe_one(source, options)
    return replace(
        _probe_one(images[0], options),
        source=source,
        frame_rate=SEQUENCE_RATE,
        frame_count=len(images),
        duration=float(len(images) / SEQUENCE_RATE),
        is_image=False,
        time_base=1 / SEQUENCE_RATE,
    )


def _probe_one(source: Source, options: DecodeOptions) -> VideoInfo:
    with open_footage(source, replace(options, deinterlace="off")) as footage:
        frame = next(footage.pictures()).frame
        count = footage.count
        if count is None and footage.duration is not None:
            count = max(1, round(footage.duration * footage.rate))
        width, height = frame.width, frame.height
        stream = footage.stream
        aspect = (stream and stream.sample_aspect_ratio) or Fraction(1)
        if (footage.orientation or orientation(frame)).quarters % 2:
            width, height, aspect = height, width, 1 / aspect
        tagged = tagged_packing(footage.metadata, frame)
        if packing := chosen_packing(tagged, options, footage.name):
            width, height, aspect = eye_size(width, height, aspect, packing)
        return VideoInfo(
            source=source,
            width=width,
            height=height,
            frame_rate=footage.rate,
            frame_count=count,
            duration=footage.duration,
            bit_depth=10 if frame.format.components[0].bits > 8 else 8,
            pixel_aspect=aspect,
            color=_color_tags(footage, frame),
            has_audio=footage.has_audio,
            is_image=footage.still,
            time_base=footage.time_base,
            hdr=hdr_metadata(frame),
        )


def _color_tags(footage: Footage, frame: VideoFrame) -> ColorTags:
    primaries = transfer = UNSPECIFIED
    if footage.stream is not None:
        context = footage.stream.codec_context
        primaries, transfer = int(context.color_primaries), int(context.color_trc)
    if footage.still or frame.format.is_rgb or frame.format.has_palette:
        # Matrix and full range of a picture are its codec's own: a video made of it has the usual.
        return ColorTags(primaries, transfer)
    matrix = UNSPECIFIED if frame.colorspace in (0, 3) else int(frame.colorspace)
    return ColorTags(primaries, transfer, matrix, int(frame.color_range))
