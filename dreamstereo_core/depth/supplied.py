"""Depth that somebody else made: a video, an image sequence, or one image for a still camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..types import InverseDepth, Video
from ..video_io import Frame, probe, read_frames
from .estimator import DepthError, DepthEstimator


@dataclass
class _Position:
    """Where in the depth file the stream stands."""

    frames: Iterator[Frame]
    index: int


class SuppliedDepth(DepthEstimator):
    """Read inverse depth from a file, as the file has it: values / largest value, 1 = near.

    The first channel counts. A frame belongs to the video's frame of the same number, the file's
    own rate is ignored. A file that is longer than the video is used as far as the video goes; one
    that is shorter is an error. One image serves every frame. Larger depth than the video is
    averaged down; smaller depth is returned as it is.

    Args:
        source: depth video, image, folder of images, or printf pattern.
        invert: the file has 0 = near.
        start: the depth's frame that belongs to the first frame of the video.
    """

    normalized = True

    def __init__(self, source: str | Path, *, invert: bool = False, start: int = 0) -> None:
        self.name = str(source)
        self._source = source
        self._invert = invert
        self._start = start
        self._still = probe(source).is_image

    def predict(
        self, video: Video, state: _Position | None = None, *, new_shot: bool = False
    ) -> tuple[InverseDepth, _Position | None]:
        """Return inverse depth ``[T, 1, h, w]`` of the next T frames and the position after them.

        Raises:
            DepthError: the file has fewer frames than the video.
            VideoError: the file cannot be read.
        """
        if self._still:
            depth = self._prepare(next(read_frames(self._source)), video)
            return depth.expand(len(video), -1, -1, -1), state
        state = state or _Position(read_frames(self._source, self._start), self._start)
        frames = [self._prepare(frame, video) for frame in islice(state.frames, len(video))]
        if len(frames) < len(video):
            raise DepthError(
                f"{self.name}: expected a depth for each frame of the video, got "
                f"{state.index + len(frames)} for at least {state.index + len(video)} frames"
            )
        return torch.cat(frames), _Position(state.frames, state.index + len(video))

    def _prepare(self, frame: Frame, video: Video) -> Tensor:
        """Return ``[1, 1, h, w]``, no larger than the video."""
        depth = frame.pixels[None, :1].to(video.device)
        height, width = video.shape[2:]
        if depth.shape[2] > height or depth.shape[3] > width:
            depth = F.interpolate(depth, (height, width), mode="area")
        return 1 - depth if self._invert else depth
