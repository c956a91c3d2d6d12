"""Convert frames to stereo, one shot after the other, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice
from typing import NamedTuple

import torch
from torch import Tensor

from .blend import blend
from .comfort.measure import at_measuring_size, measure_frame
from .convergence import EasedConvergence
from .convert_options import ConvertOptions
from .depth import DepthEstimator, upsample_inverse_depth, with_depth
from .disparity import inverse_depth_to_disparity
from .fill import Inpainter, MaskedFrame, MirroredInpainter
from .floating_window import FloatingWindow, mask_borders
from .gapw import gapw_warp
from .masks import dilate
from .prefetch import in_background
from .shots import BarDetector, find_shots, load_shot_detector
from .stream import Frame, beside, by_shot
from .subtitles import CaptionDepth, draw_captions
from .subtitles.settings import LoadedSubtitles
from .types import (
    Disparity,
    FrameComfort,
    InverseDepth,
    OcclusionMask,
    StereoVideo,
    Video,
)

CHUNK_PIXELS = 2 * 1280 * 720
"""Frames are worked on in chunks of about this many pixels."""


@dataclass(frozen=True)
class StereoPipeline:
    """Depth, warp, fill and blend for video of any length.

    Shots are found on the way; nothing leaks across a cut. Memory holds the depth's look-ahead, the
    inpainter's window and one chunk, whatever the length of the video.

    Example:
        >>> import torch
        >>> from dreamstereo_core import load_depth, load_inpainter
        >>> pipeline = StereoPipeline(load_depth("cues"), load_inpainter("classic"))
        >>> frames = [torch.rand(3, 48, 64)] * 3  # a still picture, three frames long
        >>> for chunk in pipeline.convert(frames):
        ...     print(list(chunk.left.shape), list(chunk.right.shape), chunk.start)
        [3, 3, 48, 64] [3, 3, 48, 64] 0
    """

    depth: DepthEstimator
    inpainter: Inpainter
    options: ConvertOptions = field(default_factory=ConvertOptions)
    plan: Callable[[Iterable[Frame]], Iterator[Frame]] | None = None
    """Gives each frame its shot and bars instead of the detectors; see `FilmPlan.stream`."""
    measures: bool = False
    """Whether each frame's comfort is measured, too."""
    subtitles: LoadedSubtitles | None = None
    """What is drawn into both eyes."""

    def convert(
        self, frames: Iterable[Tensor], *, frame_rate: float = 24.0
    ) -> Iterator[StereoVideo]:
        """Convert frames `[3, H, W]` in order; one eye has the source's own pixels.

        Args:
            frames: of one size, RGB in [0, 1].
            frame_rate: frames per second; the speed of slow changes depends on it.

        Raises:
            TypeError: a frame is not a floating point tensor.
            ValueError: a frame's shape differs from the first one's, or a depth is not finite.
        """
        duration = 1 / Fraction(frame_rate)
        timed = (Frame(pixels, index * duration) for index, pixels in enumerate(frames))
        return self.stream(timed, frame_rate=frame_rate)

    def stream(self, frames: Iterable[Frame], *, frame_rate: float = 24.0) -> Iterator[StereoVideo]:
        """Convert frames that have their times, as `convert` does; no chunk crosses a cut."""
        iterator = iter(frames)
        first = next(iterator, None)
        if first is None:
            return
        size = self._chunk_frames(first.pixels)
        film = _same_size(chain([first], iterator))
        del first  # or its pixels would stay to the end
        # Depth on one core, warp and fill on another.
        captioned = self._caption(self._deepen(film, size, frame_rate), frame_rate)
        with closing(in_background(captioned, size)) as deep:
            start = 0
            for shot in by_shot(deep):
                made, new_shot = self._convert_shot(shot, frame_rate), True
                while chunk := list(islice(made, size)):
                    stereo = _join(chunk, start, new_shot)
                    new_shot = False
                    start += len(chunk)
                    chunk.clear()  # else they would stay in memory while the next chunk is made
                    yield stereo
                    del stereo

    def measure(
        self, frames: Iterable[Frame], *, frame_rate: float = 24.0
    ) -> Iterator[FrameComfort]:
        """Measure each frame's comfort, as a conversion does that `measures`, and make no picture.

        Args:
            frames: of one size.
            frame_rate: frames per second.

        Raises:
            ValueError: a frame's shape differs from the first one's, or a depth is not finite.
        """
        for frame in self._deepen(_same_size(frames), 1, frame_rate):
            yield self._measured(frame)

    @property
    def resumable(self) -> bool:
        """Whether all stages can go on from their notes within a shot, not only at its start."""
        late = self.depth.late or self.options.shots == "transnet"
        return self.inpainter.resumable and not late

    def _chunk_frames(self, frame: Tensor) -> int:
        pixels = frame.shape[-1] * frame.shape[-2]
        return self.options.chunk_frames or max(1, min(16, CHUNK_PIXELS // pixels))

    def _deepen(
        self, frames: Iterable[Frame], size: int, frame_rate: float
    ) -> Generator[Frame, None, None]:
        """Find each frame's shot, bars, inverse depth and convergence."""
        convergence = EasedConvergence(self.options.convergence, frame_rate)
        found = self._find_shots(frames) if self.plan is None else self.plan(frames)
        for frame in with_depth(found, self.depth, size):
            if frame.notes is not None:
                frame.notes.keep("new_shot", frame.new_shot)
                convergence.value = frame.notes.keep("convergence", convergence.value)
            value = convergence.step(frame.scale, frame.new_shot)
            wanted = frame.wanted_convergence
            yield replace(frame, convergence=value if wanted is None else wanted)

    def _find_shots(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        detector = load_shot_detector(self.options.shots)
        return find_shots(frames, detector, BarDetector() if self.options.bars else None)

    def _caption(
        self, frames: Generator[Frame, None, None], frame_rate: float
    ) -> Generator[Frame, None, None]:
        """Give each frame the subtitles that it shows, and their disparity."""
        if self.subtitles is None:
            return frames

        def disparity(frame: Frame) -> Disparity:
            return self._disparity(frame.inverse_depth, frame)

        depth = CaptionDepth(self.subtitles.subtitles, self.subtitles.style, disparity, frame_rate)
        return depth.stream(frames)

    def _convert_shot(self, frames: Iterable[Frame], frame_rate: float) -> Iterator[_Made]:
        """Warp, fill and blend one shot, frame by frame; bars stay as they are."""
        options = self.options
        window = FloatingWindow(frame_rate) if options.floating_window else None
        inpainter = self.inpainter
        if options.eye == "left":
            inpainter = MirroredInpainter(inpainter)

        def fill(warped: Iterator[_Warped]) -> Iterator[Video]:
            return inpainter.stream((frame.masked for frame in warped), options.fill)

        warped = (self._warp(frame, window) for frame in frames)
        for frame, filled in beside(warped, fill):
            if frame.frame.warm_up:
                continue
            made = self._blend(frame, filled)
            del frame, filled  # what is named here would stay while the next one is made
            yield made
            del made

    def _warp(self, frame: Frame, window: FloatingWindow | None) -> _Warped:
        """Enlarge a frame's depth and make the other eye of it, with holes."""
        options, awake = self.options, frame.awake()
        if window is not None and frame.notes is not None:
            window.now = frame.notes.keep("window", window.now)
        picture, inverse_depth = awake.picture, self._enlarged(awake)
        disparity = self._disparity(inverse_depth, frame)
        warp = gapw_warp(
            picture,
            disparity,
            toward=options.eye,
            stretch_threshold=options.stretch_threshold,
            interpolation="cubic",
        )
        comfort = self._measured(frame) if self.measures and not frame.warm_up else None
        masked = MaskedFrame(
            warp.video,
            warp.occlusion_mask,
            warp.disparity,
            stretched=True,
            notes=frame.notes,
            warm_up=frame.warm_up,
        )
        strips = window.strips(disparity, options.eye) if window else None
        if awake is frame:  # else its depth is made again, too
            frame = replace(frame, inverse_depth=inverse_depth)
        return _Warped(frame, masked, strips, comfort)

    def _disparity(self, inverse_depth: InverseDepth, frame: Frame) -> Disparity:
        options = self.options
        return inverse_depth_to_disparity(
            inverse_depth,
            max_disparity=options.max_disparity * frame.strength,
            convergence=frame.convergence,
            max_front=options.max_front,
            max_behind=options.max_behind,
        )

    def _measured(self, frame: Frame) -> FrameComfort:
        """Measure a frame by its depth as it was estimated, before it is enlarged."""
        small = at_measuring_size(frame.inverse_depth)
        return measure_frame(
            self._disparity(small, frame),
            toward=self.options.eye,
            time=frame.time,
            new_shot=frame.new_shot,
            share=frame.picture.shape[-1] / frame.pixels.shape[-1],
        )

    def _enlarged(self, frame: Frame) -> InverseDepth:
        """Return the inverse depth in the picture's size, near things grown."""
        picture = frame.picture
        inverse_depth = upsample_inverse_depth(frame.inverse_depth, picture)
        return dilate(inverse_depth, self._dilation(frame.inverse_depth, picture))

    def _dilation(self, inverse_depth: Tensor, picture: Tensor) -> int:
        if self.options.foreground_dilation is not None:
            return self.options.foreground_dilation
        enlarged = inverse_depth.shape[-1] < picture.shape[-1]
        return 0 if enlarged or self.depth.grown else round(picture.shape[-1] / 640)

    def _blend(self, warped: _Warped, filled: Video) -> _Made:
        """Put the filled holes into the made eye, and the bars around it."""
        frame, masked, strips = warped.frame.awake(), warped.masked, warped.strips
        inverse_depth = frame.inverse_depth if frame is warped.frame else self._enlarged(frame)
        bars, source = frame.bars, frame.pixels[None]
        made = blend(filled, masked.video, masked.occlusion_mask, feather=self.options.feather)
        made = bars.paste(made, source)
        left, right = (source, made) if self.options.eye == "right" else (made, source)
        if strips is not None:
            inside = mask_borders(bars.crop(left), bars.crop(right), strips)
            left, right = (bars.paste(a, b) for a, b in zip(inside, (left, right), strict=True))
        if self.subtitles is not None:
            left, right = draw_captions(left, right, frame.captions, self.subtitles.style)
        inverse_depth = bars.pad(inverse_depth, frame.convergence)  # bars lie on the screen
        mask = bars.pad(masked.occlusion_mask, 0)
        return _Made(left, right, inverse_depth, mask, frame.time, warped.comfort)


class _Warped(NamedTuple):
    frame: Frame
    masked: MaskedFrame
    strips: tuple[float, float] | None
    """Widths of the floating window's strips, in pixels."""
    comfort: FrameComfort | None


class _Made(NamedTuple):
    left: Video
    right: Video
    inverse_depth: InverseDepth
    occlusion_mask: OcclusionMask
    time: Fraction
    comfort: FrameComfort | None


def _same_size(frames: Iterable[Frame]) -> Iterator[Frame]:
    shape = None
    for frame in frames:
        shape = shape or frame.pixels.shape
        if frame.pixels.shape != shape:
            raise ValueError(
                f"frames: expected the first frame's shape {list(shape)}, "
                f"got {list(frame.pixels.shape)}"
            )
        yield frame


def _join(frames: list[_Made], start: int, new_shot: bool) -> StereoVideo:
    *tensors, times, comfort = zip(*frames, strict=True)
    measured = tuple(frame for frame in comfort if frame is not None)
    joined = (torch.cat(parts) for parts in tensors)
    return StereoVideo(*joined, start=start, times=times, new_shot=new_shot, comfort=measured)
