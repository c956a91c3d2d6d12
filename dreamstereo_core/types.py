"""The data that travels between the stages: layouts, ranges, units and signs, stated once.

Pixel stages work frame by frame, so time is the batch: ``[T, C, H, W]``. Models work on ``[B, C, T,
H, W]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor
from torch.nn import functional as F

Video: TypeAlias = Tensor
"""``[T, 3, H, W]`` float32 RGB, display-encoded, in [0, 1]."""

InverseDepth: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32 in [0, 1], 1 = nearest, one scale per shot."""

Disparity: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32, signed pixels at this tensor's own width, x_left - x_right; > 0 in
front of the screen."""

CoordMap: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32, source x in pixels for each target pixel; 0 = centre of the first
pixel."""

OcclusionMask: TypeAlias = Tensor
"""``[T, 1, H, W]`` float32 in [0, 1], 1 = missing, to be inpainted."""

Latent: TypeAlias = Tensor
"""``[B, 16, T', H', W']``, normalised by the mean and std of the autoencoder's config; T' = 1 +
(T-1)/4, H' = H/8."""

LatentMask: TypeAlias = Tensor
"""``[B, 1, T', H', W']``, 1 = inpaint; max-pooled from the pixels."""

TokenIndex: TypeAlias = Tensor
"""``[B, K]`` int64, kept tokens in ascending order; a token is 1x2x2 latents = 4 frames x 16x16
pixels."""

Eye: TypeAlias = Literal["right", "left"]
"""The eye that is made; the source video is the other one."""
EYES: tuple[Eye, ...] = ("right", "left")


@dataclass(frozen=True)
class Bars:
    """Widths of the bars around a picture, in pixels."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))

    def crop(self, frames: Tensor) -> Tensor:
        """Return what the bars of ``[..., H, W]`` enclose, as a view."""
        height, width = frames.shape[-2:]
        return frames[..., self.top : height - self.bottom, self.left : width - self.right]

    def paste(self, picture: Tensor, frames: Tensor) -> Tensor:
        """Return `frames` ``[..., H, W]`` with `picture` inside and their own bars around it."""
        if not self:
            return picture
        whole = frames.to(picture.dtype, copy=True)
        self.crop(whole).copy_(picture)
        return whole

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """Left, right, top and bottom, as `torch.nn.functional.pad` takes them."""
        return self.left, self.right, self.top, self.bottom

    def pad(self, picture: Tensor, value: float) -> Tensor:
        """Return ``[..., H, W]``: `picture` with bars of one value around it."""
        return F.pad(picture, self.sides, value=value)

    def scaled(self, frames: Tensor, to: Tensor) -> Bars:
        """Return the bars of `frames` ``[..., H, W]`` in the size of `to` ``[..., h, w]``."""
        y, x = (b / a for a, b in zip(frames.shape[-2:], to.shape[-2:], strict=True))
        sides = (self.top * y, self.bottom * y, self.left * x, self.right * x)
        return Bars(*map(round, sides))

    def crop_scaled(self, depth: Tensor, frames: Tensor) -> Tensor:
        """Return the part inside the bars of a depth ``[..., h, w]`` of whole `frames`."""
        return self.scaled(frames, depth).crop(depth)


NO_BARS = Bars()


@dataclass(frozen=True)
class ShotScale:
    """The scale of an estimator's inverse depth, from its shot so far and a look-ahead."""

    low: float = 0.0
    """The estimator's value that becomes 0."""
    high: float = 1.0
    """The value that becomes 1."""
    median: float = 0.5
    """The estimator's middle value."""
    subject: float = 0.5
    """Its value for what is large and near in the middle of the frame."""


UNIT_SCALE = ShotScale()


class Caption(NamedTuple):
    """A subtitle in a frame."""

    text: str
    top: bool
    """Whether it stands at the frame's top, not at its bottom."""
    disparity: float
    """In pixels of the frame's width, > 0 in front of the screen."""


class FrameComfort(NamedTuple):
    """A frame's disparity in numbers, in percent of the frame's width; > 0 in front."""

    time: float
    """Seconds."""
    new_shot: float
    """1 if it starts a shot, else 0."""
    far1: float
    """1 % of the pixels lie farther."""
    far5: float
    median: float
    near95: float
    near99: float
    """1 % of the pixels lie nearer."""
    middle: float
    """The median within the middle quarter of the frame, where one looks."""
    left: float
    """How far in front of the screen things are that the left side cuts off."""
    right: float
    holes: float
    """Share of the pixels that the other eye lacks, in percent."""
    widest_hole: float


@dataclass(frozen=True)
class WarpResult:
    """The result of `gapw_warp`, all in the target view."""

    video: Video
    disparity: Disparity
    occlusion_mask: OcclusionMask
    coord_map: CoordMap
    stretch: Tensor
    """``[T, 1, H, W]`` |dx'/dx| in target pixels per source pixel; infinite where the source does
    not reach."""


@dataclass(frozen=True)
class InpaintingPair:
    """A training pair: a video's own pixels and the holes of a second projection."""

    target: Video
    masked: Video
    occlusion_mask: OcclusionMask
    disparity: Disparity
    """Of the second projection, in the same view."""
    left: Video
    """The first projection."""
    sheet: Video
    """The second projection with its stretched picture in the holes, as a fill finds it there."""


@dataclass(frozen=True)
class StereoVideo:
    """One converted chunk: both eyes, and the depth and holes of the made one."""

    left: Video
    right: Video
    inverse_depth: InverseDepth
    """In the source view."""
    occlusion_mask: OcclusionMask
    """In the synthetic view."""
    start: int
    """Index of the chunk's first frame in the whole video."""
    times: tuple[Fraction, ...] = ()
    """When each of its frames is shown, in seconds of the source's own clock."""
    new_shot: bool = False
    """Whether its first frame starts a shot, as far as this run has seen."""
    comfort: tuple[FrameComfort, ...] = ()
    """Of each frame, if the pipeline measures it."""
