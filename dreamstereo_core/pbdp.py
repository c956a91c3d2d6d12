"""Parallax-Based Dual Projection: training pairs from one video (DreamStereo, Sec. 3.2)."""

from __future__ import annotations

import torch

from .checks import check_finite, check_frames
from .gapw import gapw_warp, warp_disparity
from .types import Disparity, InpaintingPair, OcclusionMask, Video


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
        also the second projection's disparity, the first projection's view, and the video with the
        second projection's stretched picture in its holes.

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
        sheet=torch.where(mask > 0, back.video, video),
    )


def pair_holes(
    disparity: Disparity, *, stretch_threshold: float = 1.5
) -> tuple[OcclusionMask, Disparity]:
    """Return `occlusion_mask` and `disparity` of `build_pair` without warping any colours.

    Args:
        disparity: `[T, 1, H, W]` in pixels of its own width.
        stretch_threshold: as for `build_pair`.

    Raises:
        TypeError: it is not a floating point tensor.
        ValueError: its shape is wrong, or it is not finite.

    Example:
        >>> import torch
        >>> disparity = torch.zeros(1, 1, 48, 64)
        >>> disparity[..., 16:32] = 5
        >>> mask, _ = pair_holes(disparity)
        >>> float(mask[0, 0, 0].sum())  # where each row's near thing ends
        5.0
    """
    check_frames("disparity", disparity, channels=1)
    check_finite("disparity", disparity)
    threshold = stretch_threshold
    left, _ = warp_disparity(disparity.float(), toward="left", stretch_threshold=threshold)
    back, mask = warp_disparity(left, toward="right", stretch_threshold=threshold)
    return (mask > 0).float(), back
