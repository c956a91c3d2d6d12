"""Enlarge low-resolution inverse depth to the frame's size, with steps for edges."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..masks import dilate, erode
from ..types import InverseDepth, Video

_REACH = 1.2  # px of the small depth, on either side, over which an edge's ramp is looked for
_NEAR = 0.2  # share of a ramp from which on it belongs to the near side
_STEEPNESS = 4.0  # how much shorter a ramp becomes, times the enlargement
_STRIP_PIXELS = 1 << 20
_STEP = (0.04, 0.08)  # range of the surroundings: where an edge begins, and where it is whole


def upsample_inverse_depth(inverse_depth: Tensor, video: Video) -> InverseDepth:
    """Resize inverse depth ``[T, 1, h, w]`` to the video's ``[T, 3, H, W]``, edges sharp.

    Enlarged bilinearly, a depth edge is a ramp, which a warp would stretch into a smear. The ramp
    becomes a step, a little outside of its middle, so that the border's mixed pixels move with the
    near thing. Slopes and small steps stay as they are, and no value leaves the range of its
    surroundings. Depth of the video's size comes back as it is; larger depth is averaged down.

    Raises:
        TypeError: an argument is not a floating point tensor.
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
        return F.interpolate(inverse_depth, size, mode="area")
    if low_size == size:
        return inverse_depth
    scale = size[1] / low_size[1]
    result = inverse_depth.new_empty(len(video), 1, *size)
    for frame, depth in zip(result, inverse_depth, strict=True):  # one at a time: memory
        _ramps_to_steps(_enlarge(depth[None], size), scale, frame[None])
    return result


def _enlarge(depth: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(depth, size, mode="bilinear", align_corners=False)


def _ramps_to_steps(depth: Tensor, scale: float, out: Tensor) -> None:
    """Steepen the edges of a depth that was enlarged `scale` times; in strips of rows: memory."""
    reach = max(1, round(_REACH * scale))
    height, width = depth.shape[-2:]
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        begin, end = max(0, top - reach), min(height, top + rows + reach)
        strip = _steepened(depth[..., begin:end, :], scale, reach)
        out[..., top : top + rows, :] = strip[..., top - begin :, :][..., :rows, :]


def _steepened(depth: Tensor, scale: float, reach: int) -> Tensor:
    far, near = erode(depth, reach), dilate(depth, reach)
    extent = near - far
    share = (depth - far).div_(extent.clamp(min=1e-6))
    share.sub_(_NEAR).mul_(_STEEPNESS * scale).add_(0.5).clamp_(0, 1)
    is_edge = ((extent - _STEP[0]) / (_STEP[1] - _STEP[0])).clamp_(0, 1)
    return torch.lerp(depth, torch.lerp(far, near, share), is_edge)
