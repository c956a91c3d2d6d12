"""From frames to stereo, one shot after the other, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from .blend import DEFAULT_FEATHER, blend
from .checks import check_choice, check_range
from .convergence import Convergence, EasedConvergence, check_convergence
from .depth import (
    DepthEstimator,
    DepthFrame,
    stream_depth,
    upsample_inverse_depth,
)
from .disparity import MAX_BEHIND, MAX_FRONT, inverse_depth_to_disparity
from .fill import Inpainter, MaskedFrame, MirroredInpainter
from .floating_window import FloatingWindow, mask_borders
from .gapw import gapw_warp
from .masks import dilate
from .packing import LAYOUTS, pack_stereo
from .prefetch import in_background
from .segments import Part, split_film
from .shots import DETECTORS, BarDetector, load_shot_detector
from .types import Eye, InverseDepth, StereoVideo, Video

CHUNK_PIXELS = 2 * 1280 * 720
"""Frames are worked on in chunks of about this many pixels."""
FILE_LAYOUTS = (*LAYOUTS, "separate", "depth", "mask")
"""What a conversion writes: `pack_stereo`'s layouts, a file for each eye, the inverse depth, the
occlusion mask."""


@dataclass(frozen=True)
class ConvertOptions:
    """How deep, and what comes out.

    Raises:
        ValueError: an option is out of its range.
    """

    max_disparity: float = 3.0
    """From the farthest to the nearest point, in percent of the width."""
    convergence: Convergence = "auto"
    """The inverse depth on the screen, 0 = far to 1 = near, or what finds it in each shot:
    "subject", "median", or "auto" for the better one, "subject"."""
    max_front: float | None = MAX_FRONT
    """The most that anything comes in front of the screen, in percent of the width; None: no
    limit. Only a shot that would go beyond it is changed, depth order kept."""
    max_behind: float | None = MAX_BEHIND
    """The most that anything goes behind the screen, as `max_front`."""
    floating_window: bool = False
    """Hide what only one eye sees of near things that the frame cuts off, see `FloatingWindow`.
    The source's eye then is the source's own pixels except for a strip."""
    eye: Eye = "right"
    """The eye that is made; the source is the other one."""
    layout: str = "full_sbs"
    """The picture that `show` makes of the two eyes, one of `FILE_LAYOUTS`."""
    foreground_dilation: int | None = None
    """Pixels by which near things grow in the depth, so that their blended borders move with them;
    None: 1 for every 640 pixels of width where the depth has the picture's size, else 0 (a small
    depth's near things grow as it is enlarged)."""
    feather: int = DEFAULT_FEATHER
    """Width of the seam's ramp inside a hole, in pixels."""
    stretch_threshold: float = 3.0
    """Stretch from which the warp counts as a hole (delta in Eq. 7); the paper's masks want 1.5."""
    num_steps: int = 1
    """Denoising steps of a diffusion inpainter."""
    dilation: int = 5
    """Size k, odd, of the kernel that dilates a diffusion inpainter's kept tokens."""
    seed: int = 0
    """Of a diffusion inpainter's noise."""
    shots: str = "auto"
    """What finds the cuts, one of `scenes.DETECTORS`."""
    bars: bool = True
    """Whether letterbox and pillarbox bars are looked for. They get no depth, and percentages are
    of the picture's width within them."""
    chunk_frames: int | None = None
    """Frames worked on at once; None chooses by the frame's size. It changes memory and speed, not
    the picture."""

    def __post_init__(self) -> None:
        check_range("max_disparity", self.max_disparity, 0, 100)
        check_convergence(self.convergence)
        for name in ("max_front", "max_behind"):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, 0, 100)
        check_choice("eye", self.eye, ("right", "left"))
        check_choice("layout", self.layout, FILE_LAYOUTS)
        check_choice("shots", self.shots, DETECTORS)
        for name in ("foreground_dilation", "feather", "seed"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        for name in ("num_steps", "chunk_frames"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.dilation < 1 or self.dilation % 2 == 0:
            raise ValueError(f"dilation: expected an odd number from 1 up, got {self.dilation}")


@dataclass(frozen=True)
class _DeepFrame(DepthFrame):
    """A frame that knows what lies on the screen."""

    convergence: float


@dataclass(frozen=True)
class StereoPipeline:
    """Depth, warp, fill and blend for video of any length.

    Shots are found on the way; nothing leaks across a cut. Memory holds the depth's look-ahead, the
    inpainter's window and one chunk, whatever the length of the video.
    """

    depth: DepthEstimator
    inpainter: Inpainter
    options: ConvertOptions = ConvertOptions()

    def convert(
        self, frames: Iterable[Tensor], *, frame_rate: float = 24.0
    ) -> Iterator[StereoVideo]:
        """Convert frames `[3, H, W]` in order; one eye has the source's own pixels.

        Args:
            frames: of one size, RGB in [0, 1].
            frame_rate: frames per second; it paces what is eased over time.

        Raises:
            TypeError: a frame is no floating point tensor.
            ValueError: a frame's shape differs from the first one's, or a depth is not finite.
        """
        iterator = iter(frames)
        head = next(iterator, None)
        if head is None:
            return
        eased = EasedConvergence(self.options.convergence, frame_rate)
        estimated = _deepen(self.depth, self._parts(head, iterator), eased)
        # Depth on one core, warp and fill on another.
        with closing(in_background(estimated, self._chunk_frames(head))) as deep:
            yield from self._convert(deep, frame_rate)

    def _convert(self, deep: Iterator[_DeepFrame], frame_rate: float) -> Iterator[StereoVideo]:
        """Convert shot by shot."""
        start = 0
        first = next(deep, None)
        while first is not None:
            following: list[_DeepFrame] = []  # the next shot's first frame, once this one has ended
            shot = self._convert_shot(chain([first], _until_cut(deep, following)), frame_rate)
            while chunk := list(islice(shot, self._chunk_frames(first.video))):
                stereo = _join(chunk, start)
                start += len(chunk)
                chunk.clear()  # what is named here would stay in memory while the next is made
                yield stereo
                del stereo
            first = following[0] if following else None

    def _chunk_frames(self, frame: Tensor) -> int:
        pixels = frame.shape[-1] * frame.shape[-2]
        return self.options.chunk_frames or max(1, min(16, CHUNK_PIXELS // pixels))

    def _dilation(self, inverse_depth: Tensor, picture: Tensor) -> int:
        if self.options.foreground_dilation is not None:
            return self.options.foreground_dilation
        enlarged = inverse_depth.shape[-1] < picture.shape[-1]
        return 0 if enlarged else round(picture.shape[-1] / 640)

    def _parts(self, first: Tensor, frames: Iterator[Tensor]) -> Iterator[Part]:
        detector = load_shot_detector(self.options.shots)
        bars = BarDetector() if self.options.bars else None
        return split_film(chain([first], frames), detector, bars, self._chunk_frames(first))

    def _convert_shot(
        self, frames: Iterable[_DeepFrame], frame_rate: float
    ) -> Iterator[StereoVideo]:
        """Warp, fill and blend one shot, frame by frame; bars stay as they are."""
        options = self.options
        window = FloatingWindow(frame_rate) if options.floating_window else None
        inpainter = self.inpainter
        if options.eye == "left":
            inpainter = MirroredInpainter(inpainter)
        waiting: deque[tuple[_DeepFrame, InverseDepth, Tensor, Tensor, tuple[float, float]]]
        waiting = deque()

        def warped() -> Iterator[MaskedFrame]:
            for frame in frames:
                picture = frame.bars.crop(frame.video)
                inverse_depth = upsample_inverse_depth(frame.inverse_depth, picture)
                dilation = self._dilation(frame.inverse_depth, picture)
                inverse_depth = dilate(inverse_depth, dilation)
                disparity = inverse_depth_to_disparity(
                    inverse_depth,
                    max_disparity=options.max_disparity,
                    convergence=frame.convergence,
                    max_front=options.max_front,
                    max_behind=options.max_behind,
                )
                warp = gapw_warp(
                    picture,
                    disparity,
                    toward=options.eye,
                    stretch_threshold=options.stretch_threshold,
                    interpolation="cubic",
                )
                strips = window.strips(disparity, options.eye) if window else (0.0, 0.0)
                waiting.append((frame, inverse_depth, warp.video, warp.occlusion_mask, strips))
                yield MaskedFrame(warp.video, warp.occlusion_mask, warp.disparity, stretched=True)

        filled = inpainter.stream(
            warped(), num_steps=options.num_steps, dilation=options.dilation, seed=options.seed
        )
        for video in filled:
            frame, inverse_depth, warped_video, mask, strips = waiting.popleft()
            made = blend(video, warped_video, mask, feather=options.feather)
            source, bars = frame.video, frame.bars
            made = bars.paste(made, source)
            inverse_depth = bars.pad(inverse_depth, frame.convergence)  # bars lie on the screen
            mask = bars.pad(mask, 0)
            left, right = (source, made) if options.eye == "right" else (made, source)
            if window:
                inside = mask_borders(bars.crop(left), bars.crop(right), strips)
                left, right = (bars.paste(a, b) for a, b in zip(inside, (left, right), strict=True))
            yield StereoVideo(left, right, inverse_depth, mask, start=0)


def show(stereo: StereoVideo, layout: str) -> Video:
    """Make the picture `[T, 3, H, W]` of a layout: one of `pack_stereo`'s, "depth" or "mask".

    Raises:
        ValueError: the layout is unknown.
    """
    if layout == "depth":
        return stereo.inverse_depth.expand_as(stereo.left)
    if layout == "mask":
        return stereo.occlusion_mask.expand_as(stereo.left)
    return pack_stereo(stereo.left, stereo.right, layout)


def _deepen(
    depth: DepthEstimator, parts: Iterable[Part], convergence: EasedConvergence
) -> Generator[_DeepFrame, None, None]:
    """Give each frame its inverse depth, on one scale per shot, and what lies on the screen."""
    for frame in stream_depth(depth, parts, convergence.push):
        yield _DeepFrame(**vars(frame), convergence=convergence.pop(frame.scale))


def _until_cut(frames: Iterator[_DeepFrame], following: list[_DeepFrame]) -> Iterator[_DeepFrame]:
    """Yield a shot's frames; put the next shot's first one into `following`."""
    for frame in frames:
        if frame.new_shot:
            following.append(frame)
            return
        yield frame


def _join(frames: list[StereoVideo], start: int) -> StereoVideo:
    names = ("left", "right", "inverse_depth", "occlusion_mask")
    return StereoVideo(*(torch.cat([getattr(f, n) for f in frames]) for n in names), start=start)
