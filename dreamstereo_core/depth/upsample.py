"""Low-resolution inverse depth to the frame's own resolution, its edges on the picture's edges."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..masks import dilate, erode
from ..types import InverseDepth, Video
from .edges import remove_fly_pixels
from .guided import guided_coefficients

_RADIUS = 4  # px at low resolution: how far a depth edge may be off the picture's
_EPSILON = 1e-3  # variance of the picture below which it guides nothing
_STEEPNESS = 4.0  # how much shorter a ramp across a depth edge becomes
_STEP = (0.1, 0.3)  # range of the surroundings: from which on, and up to which, it counts as edge
_REACH = 3  # px at low resolution, over which a ramp may stretch
_ALONG = 3  # px more up and down, over which a leaning thin thing's depth is looked for
_EVEN = (4, 1)  # px down and across, over which that depth is averaged
_DEVIATION = 2.0  # px at low resolution, of the weights in which an edge's sides are averaged
_SIDE = 8  # the power that tells an edge's sides apart: greater = their extremes alone
_THIN = 2  # px at low resolution: what is narrower than twice this and one more is thin
_THINNESS = 1.5  # how much of an edge a thin thing has to stand out to count wholly, as 1 / share


def upsample_inverse_depth(inverse_depth: Tensor, video: Video) -> InverseDepth:
    """Resize inverse depth ``[T, 1, h, w]`` to the video's ``[T, 3, H, W]``, edges sharp.

    The fast guided filter (He and Sun 2015) puts depth edges on the picture's edges (where the
    picture has none, the depth stays as it is). Then what lies on the ramp between an edge's two
    sides moves to the depth of the nearer one, which makes a step of it: a warp wants clean steps.
    The sides themselves and slopes stay as they are. No value leaves the range of its
    surroundings. Depth of the video's size only loses what hangs between two surfaces at an edge;
    larger depth is averaged down before.

    Raises:
        TypeError: an argument is no floating point tensor.
        ValueError: the shapes do not go together.
    """
    check_frames("video", video, channels=3)
    check_frames("inverse_depth", inverse_depth, channels=1)
    if len(inverse_depth) != len(video):
        raise ValueError(
            f"inverse_depth: expected {len(video)} frames to match the video, "
            f"got {len(inverse_depth)}"
        )
    size, low_size = video.shape[2:], inverse_depth.shape[2:]
    if low_size[0] > size[0] or low_size[1] > size[1]:
        inverse_depth = F.interpolate(inverse_depth, size, mode="area")
    if inverse_depth.shape[2:] == size:
        return remove_fly_pixels(inverse_depth)
    frames = zip(inverse_depth.split(1), video.split(1), strict=True)  # one at a time: memory
    return torch.cat([_upsample(depth, frame) for depth, frame in frames])


def _upsample(depth: Tensor, frame: Tensor) -> Tensor:
    guide = F.interpolate(frame, depth.shape[2:], mode="area")
    slope, offset = guided_coefficients(
        depth, guide, radius=_RADIUS, epsilon=_EPSILON, keep_unexplained=True
    )
    low, high = erode(depth, _REACH), dilate(depth, _REACH)
    edge = (high - low).sub_(_STEP[0]).div_(_STEP[1] - _STEP[0]).clamp_(0, 1)
    far, near = _sides(depth, edge)
    steepness = edge.mul_(_STEEPNESS - 1).add_(1)
    # A thin thing falls now on one pixel, now between two: its own depth shows only over some rows.
    thin = dilate(depth - dilate(erode(depth, _THIN), _THIN), _REACH)
    low, high, thin = (_even(p) for p in (-_tallest(-low), _tallest(high), _tallest(thin)))
    thin.div_((high - low).clamp(min=1e-6)).mul_(_THINNESS).clamp_(0, 1)
    near = torch.lerp(near, high, thin)
    planes = torch.cat((slope, offset, low, high, far, near, steepness), dim=1)
    planes = F.interpolate(planes, frame.shape[2:], mode="bilinear", align_corners=False)
    slope, offset, low, high, far, near, steepness = planes.split((3, 1, 1, 1, 1, 1, 1), dim=1)
    guided = (slope * frame).sum(1, keepdim=True).add_(offset)
    guided = guided.clamp(low, high)
    middle = (low + high).mul_(0.5)
    sharp = (guided - middle).mul_(steepness).add_(middle)
    return sharp.clamp(torch.minimum(guided, far), torch.maximum(guided, near))


def _sides(depth: Tensor, edge: Tensor) -> tuple[Tensor, Tensor]:
    """Return the depths of the far and of the near side of each pixel's surroundings.

    A side's depth is the mean of what is like it, not its extreme, so that nothing bulges along an
    edge.
    """
    down, across = _REACH + _ALONG, _REACH
    size = (2 * down + 1, 2 * across + 1)
    padded = F.pad(depth, (across, across, down, down), mode="replicate")
    at = edge.flatten().nonzero()[:, 0]
    around = F.unfold(padded, size)[0, :, at]  # [surroundings, pixels at an edge]
    low, high = around.amin(0), around.amax(0)
    nearness = (around - low) / (high - low)
    y, x = (torch.arange(-n, n + 1, device=depth.device).square() for n in (down, across))
    closeness = torch.exp((y[:, None] + x).flatten()[:, None] / (-2 * _DEVIATION**2))
    sides = depth.clone(), depth.clone()
    for side, like in zip(sides, (1 - nearness, nearness), strict=True):
        weight = like**_SIDE * closeness
        side.view(-1)[at] = (weight * around).sum(0) / weight.sum(0)
    return sides


def _tallest(plane: Tensor) -> Tensor:
    return F.max_pool2d(plane, (2 * _ALONG + 1, 1), 1, (_ALONG, 0))


def _even(plane: Tensor) -> Tensor:
    rows, columns = _EVEN
    padded = F.pad(plane, (columns, columns, rows, rows), mode="replicate")
    return F.avg_pool2d(padded, (2 * rows + 1, 2 * columns + 1), 1)
