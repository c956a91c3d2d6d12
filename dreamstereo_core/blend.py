"""The mask blend in pixel space (DreamStereo, Eq. 15)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .checks import check_frames
from .devices import reads_are_free
from .masks import depth_inside, dilate
from .types import OcclusionMask, Video

DEFAULT_FEATHER = 4
_STRIP_PIXELS = 1 << 20


def blend(
    inpainted: Video,
    warped: Video,
    occlusion_mask: OcclusionMask,
    *,
    feather: int = DEFAULT_FEATHER,
) -> Video:
    """Put the inpainted pixels into the holes and keep every known pixel as it is, to the bit.

    The seam is feathered inside the hole only: the inpainter's error on the known pixels around
    the hole is subtracted from the hole's pixels too, fading out over `feather` pixels. So a colour
    shift leaves no edge. A cross-fade with the warped video would mix foreground into the hole;
    this does not.

    Args:
        inpainted: `[T, 3, H, W]`, the inpainter's whole frames.
        warped: `[T, 3, H, W]`, the known pixels.
        occlusion_mask: `[T, 1, H, W]`, the share of a pixel that is taken from `inpainted`.
        feather: width of the ramp in pixels; 0 for a hard edge.

    Returns:
        `[T, 3, H, W]`.

    Raises:
        TypeError: an argument is not a floating point tensor.
        ValueError: a shape is wrong or `feather` is negative.

    Example:
        >>> import torch
        >>> inpainted, warped = torch.rand(8, 3, 48, 64), torch.rand(8, 3, 48, 64)
        >>> hole = torch.zeros(8, 1, 48, 64)
        >>> hole[..., 20:25] = 1
        >>> blended = blend(inpainted, warped, hole)
        >>> blended.shape, torch.equal(blended[..., :20], warped[..., :20])
        (torch.Size([8, 3, 48, 64]), True)
    """
    check_frames("warped", warped, channels=3)
    check_frames("inpainted", inpainted, channels=3, like=warped)
    check_frames("occlusion_mask", occlusion_mask, channels=1, like=warped)
    if feather < 0:
        raise ValueError(f"feather: expected at least 0 pixels, got {feather}")
    if reads_are_free(occlusion_mask) and not (occlusion_mask > 0).any():
        return warped.clone()
    height, width = warped.shape[-2:]
    rows, halo = max(1, _STRIP_PIXELS // width), 2 * feather + 1
    result = torch.empty_like(warped)
    for top in range(0, height, rows):  # in strips: memory
        begin, bottom = max(0, top - halo), min(height, top + rows)
        at = (..., slice(begin, bottom + halo), slice(None))
        blended = _blend_whole(inpainted[at], warped[at], occlusion_mask[at], feather)
        result[..., top:bottom, :] = blended[..., top - begin : bottom - begin, :]
    return result


def _blend_whole(
    inpainted: Video, warped: Video, occlusion_mask: OcclusionMask, feather: int
) -> Video:
    hole = occlusion_mask > 0
    if feather and (not reads_are_free(hole) or hole.any()):
        inpainted = inpainted + _seam_correction(inpainted, warped, hole.float(), feather)
    blended = torch.lerp(warped, inpainted.clamp(0, 1), occlusion_mask.clamp(max=1).to(warped))
    return torch.where(hole, blended, warped)


def _seam_correction(
    inpainted: Video, warped: Video, hole: OcclusionMask, feather: int
) -> torch.Tensor:
    """Carry the error on the known ring into the hole, fading out over `feather` pixels."""
    ring = dilate(hole, feather) - hole  # [T, 1, H, W], 1 on known pixels beside a hole
    error = (warped - inpainted) * ring
    if reads_are_free(error) and not error.any():
        return error
    size = 2 * feather + 1
    weight = F.avg_pool2d(ring, size, 1, feather).clamp_(min=1e-6)
    spread = F.avg_pool2d(error, size, 1, feather) / weight
    ramp = 1 - depth_inside(hole, feather + 1) / (feather + 1)
    return spread * ramp
