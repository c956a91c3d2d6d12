"""Frames and sound that ComfyUI holds in memory, as a file that the core can stream."""

from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from comfy_api.latest import Types
from torch import Tensor

BT709 = 1
LIMITED_RANGE = 1
CHANNEL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def write_components(components: Types.VideoComponents, path: Path) -> None:
    """Write `components` to a Matroska file: FFV1, so that nothing but RGB to YUV is lost, and AAC.

    Raises:
        ValueError: the sound has a number of channels without a common layout.
    """
    images = components.images
    rate = Fraction(components.frame_rate).limit_denominator(100_000)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv444p"
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED_RANGE
        if components.audio:
            waveform, sample_rate = components.audio["waveform"][0], components.audio["sample_rate"]
            samples = round(len(images) / rate * sample_rate)
            sound = _add_sound_stream(container, len(waveform), sample_rate)
            container.mux(sound.encode(_sound_frame(waveform[:, :samples], sound)))
            container.mux(sound.encode(None))
        for image in images:
            pixels = (image[..., :3].clamp(0, 1) * 255).round().byte().cpu().numpy()
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv444p", dst_colorspace=BT709)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


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
