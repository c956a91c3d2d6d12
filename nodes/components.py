"""Frames and sound that ComfyUI holds in memory, as a file that the core can stream."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from comfy_api.latest import Types
from torch import Tensor

from ..dreamstereo_core.checks import check_choice
from .layout import to_frames

LIMITED_RANGE = 1
COLOR_SPACES = {"sRGB": (1, 1, 1), "HDR": (9, 18, 9), "HDR PQ": (9, 16, 9)}
"""ComfyUI's names -> primaries, transfer, matrix (ITU-T H.273): BT.709, BT.2020 with HLG or PQ."""
CHANNEL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def write_components(
    components: Types.VideoComponents, path: Path, bit_depth: int = 8, color_space: str = "sRGB"
) -> None:
    """Write `components` to a Matroska file: FFV1, so that nothing but RGB to YUV is lost, and AAC.

    Args:
        components: frames, of which alpha is dropped, frame rate and sound.
        path: the file.
        bit_depth: 8 or 10, of the video that the frames are.
        color_space: what their values mean, one of `COLOR_SPACES`.

    Raises:
        ValueError: an unknown colour space, sound with a number of channels that has no common
            layout, or frames that are no pictures.
    """
    check_choice("color_space", color_space, list(COLOR_SPACES))
    images = components.images
    rate = Fraction(components.frame_rate).limit_denominator(100_000)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height = images.shape[2], images.shape[1]
        stream.pix_fmt = "yuv444p" if bit_depth == 8 else "yuv444p10le"
        context = stream.codec_context
        colors = COLOR_SPACES[color_space]
        context.color_primaries, context.color_trc, context.colorspace = colors
        context.color_range = LIMITED_RANGE
        if components.audio:
            waveform, sample_rate = components.audio["waveform"][0], components.audio["sample_rate"]
            samples = round(len(images) / rate * sample_rate)
            sound = _add_sound_stream(container, len(waveform), sample_rate)
            container.mux(sound.encode(_sound_frame(waveform[:, :samples], sound)))
            container.mux(sound.encode(None))
        for frame in to_frames(images):
            picture = _picture(frame.pixels, bit_depth)
            picture = picture.reformat(format=stream.pix_fmt, dst_colorspace=context.colorspace)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _picture(pixels: Tensor, bit_depth: int) -> av.VideoFrame:
    """Turn RGB `[3, H, W]` in [0, 1] into a frame of 8 bits, or of 16 for all that is deeper."""
    kind, format_ = (np.uint8, "rgb24") if bit_depth == 8 else (np.uint16, "rgb48le")
    values = (pixels.clamp(0, 1).movedim(0, -1) * np.iinfo(kind).max).round()
    array: Any = values.cpu().numpy().astype(kind)
    return av.VideoFrame.from_ndarray(array, format=format_)


def _add_sound_stream(container: OutputContainer, channels: int, sample_rate: int) -> AudioStream:
    if channels not in CHANNEL_LAYOUTS:
        raise ValueError(f"audio: expected 1, 2 or 6 channels, got {channels}")
    return container.add_stream("aac", rate=sample_rate, layout=CHANNEL_LAYOUTS[channels])


def _sound_frame(waveform: Tensor, stream: AudioStream) -> av.AudioFrame:
    """Turn `[channels, samples]` into one frame; the encoder cuts it as it likes."""
    samples = waveform.float().cpu().contiguous().numpy()
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=stream.layout.name)
    frame.sample_rate, frame.pts = stream.rate, 0
    return frame
