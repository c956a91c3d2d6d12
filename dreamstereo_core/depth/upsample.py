"""Low-resolution inverse depth to the frame's own resolution, its edges on the picture's edges."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..types import InverseDepth, Video


def upsample_inverse_depth(inverse_depth: Tensor, video: Video) -> InverseDepth:
    return F.interpolate(inverse_depth, video.shape[2:], mode="bilinear", align_corners=False)
