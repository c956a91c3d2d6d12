"""Parallax-Based Dual Projection: training pairs from one video (DreamStereo, Sec. 3.2)."""

from __future__ import annotations

from .gapw import gapw_warp
from .types import Disparity, InpaintingPair, Video


def build_pair(
    video: Video, disparity: Disparity, *, stretch_threshold: float = 1.5
) -> InpaintingPair:
    """Mask a right view with the holes that projecting it to the left and back opens.

    Args:
        video: `[T, 3, H, W]`, taken for the right eye, so that the holes lie right of near objects,
            as when a right eye is made.
        disparity: `[T, 1, H, W]` in pixels of `video`.
        stretch_threshold: delta of Eq. 7.

    Returns:
        The original video V1, the video with its holes set to 0, V1 * (1 - M1), and the holes M1;
        also the second projection's disparity and the first projection's view.

    Raises:
        TypeError: an argument is not a floating point tensor.
        ValueError: a shape or the threshold is wrong, or the disparity is not finite.

    Example:
        >>> import torch
        >>> video, disparity = torch.rand(8, 3, 48, 64), torch.zeros(8, 1, 48, 64)
        >>> disparity[..., 16:32] = 5
        >>> pair = build_pair(video, disparity)
        >>> pair.masked.shape, pair.occlusion_mask.shape
        (torch.Size([8, 3, 48, 64]), torch.Size([8, 1, 48, 64]))
        >>> torch.equal(pair.target, video)
        True
    """
    left = gapw_warp(video, disparity, toward="left", stretch_threshold=stretch_threshold)
    back = gapw_warp(
        left.video, left.disparity, toward="right", stretch_threshold=stretch_threshold
    )
    mask = (back.occlusion_mask > 0).float()  # pixels known in part are no truth to learn from
    return InpaintingPair(
        target=video,
        masked=video * (1 - mask),
        occlusion_mask=mask,
        disparity=back.disparity,
        left=left.video,
    )
