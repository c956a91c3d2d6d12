"""The shots of a clip that is there as a whole."""

from collections.abc import Iterator
from typing import NamedTuple

from ..dreamstereo_core import ConvertOptions, Video
from ..dreamstereo_core.shots import BarDetector, Bars, find_shots, load_shot_detector
from ..dreamstereo_core.stream import Frame, by_shot
from .runtime import stoppable


class Shot(NamedTuple):
    """Frames of one shot, with the same bars around their picture."""

    frames: slice
    bars: Bars


def clip_shots(video: Video, options: ConvertOptions) -> Iterator[Shot]:
    """Find the shots of a clip `[T, 3, H, W]` and their bars, as a conversion does."""
    bars = BarDetector() if options.bars else None
    start, frames = 0, stoppable(map(Frame, video))
    for shot in by_shot(find_shots(frames, load_shot_detector(options.shots), bars)):
        around = [frame.bars for frame in shot]
        yield Shot(slice(start, start + len(around)), around[0])
        start += len(around)
