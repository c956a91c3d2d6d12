"""The shots of a clip that is there as a whole."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from ..dreamstereo_core import ConvertOptions
from ..dreamstereo_core.shots import BarDetector, Bars, find_shots, load_shot_detector
from ..dreamstereo_core.stream import by_shot
from .layout import to_frames
from .runtime import stoppable


class Shot(NamedTuple):
    """Frames of one shot, with the same bars around their picture."""

    frames: slice
    bars: Bars


def clip_shots(images: Tensor, options: ConvertOptions) -> Iterator[Shot]:
    """Find the shots of a clip, an IMAGE, and their bars, as a conversion does."""
    bars = BarDetector() if options.bars else None
    start, frames = 0, stoppable(to_frames(images))
    for shot in by_shot(find_shots(frames, load_shot_detector(options.shots), bars)):
        around = [frame.bars for frame in shot]
        yield Shot(slice(start, start + len(around)), around[0])
        start += len(around)
