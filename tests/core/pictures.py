"""Pictures that the tests of video_io write, and how."""

from fractions import Fraction

import torch

from dreamstereo_core.video_io import ColorTags, EncodeOptions, VideoInfo, VideoWriter

INFO = VideoInfo(
    source="synthetic",
    width=64,
    height=48,
    frame_rate=Fraction(25),
    frame_count=None,
    duration=None,
    bit_depth=8,
    pixel_aspect=Fraction(1),
    color=ColorTags(),
    has_audio=False,
    is_image=False,
    time_base=Fraction(1, 12800),
)
BARS = torch.tensor(
    [
        *([0.75, 0.75, 0.75], [0.7, 0.7, 0.1], [0.1, 0.7, 0.7], [0.1, 0.6, 0.1]),
        *([0.6, 0.1, 0.6], [0.65, 0.1, 0.1], [0.1, 0.1, 0.65], [0.3, 0.5, 0.2]),
    ]
)
FAST = EncodeOptions(preset="ultrafast")


def bars(height=48):
    """Eight bars, 16 pixels wide."""
    return BARS.T[:, None, :, None].expand(3, height, 8, 16).reshape(3, height, 128)


def ramp(count, height=48, width=64):
    return torch.linspace(0.1, 0.9, count).view(-1, 1, 1, 1).expand(-1, 3, height, width)


def times(count, rate=25, start=Fraction(0)):
    return [start + Fraction(i, rate) for i in range(count)]


def save(target, frames, info=INFO, encode=FAST, at=None, **options):
    height, width = frames.shape[2:]
    with VideoWriter(target, info, width, height, encode, **options) as writer:
        writer.write(frames, at or times(len(frames)))
    return target
