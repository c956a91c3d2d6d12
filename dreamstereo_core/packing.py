"""Two views into one picture: side by side, top-bottom, anaglyph, interleaved, before a headset."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_choice, check_frames
from .equirectangular import DEFAULT_VR180, Vr180, sphere_size, to_half_sphere
from .filters import LUMA
from .types import EYES, Eye, StereoVideo, Video

# Rows give R, G and B of the result; columns 0-2 weigh the left view's RGB, columns 3-5 the right
# view's. "anaglyph" has the red-cyan least-squares matrices of Dubois (ICASSP 2001), as FFmpeg's
# stereo3d filter applies them to display-encoded values. "anaglyph_optimized" is by Wimmer. The
# others are the classical mixes of channels.
_NONE = (0.0, 0.0, 0.0)
_ANAGLYPHS: dict[str, tuple[tuple[float, ...], ...]] = {
    "anaglyph": (
        (0.456, 0.500, 0.176, -0.043, -0.088, -0.001),
        (-0.040, -0.038, -0.016, 0.378, 0.734, -0.018),
        (-0.015, -0.021, -0.005, -0.072, -0.113, 1.226),
    ),
    "anaglyph_color": ((1, 0, 0, *_NONE), (*_NONE, 0, 1, 0), (*_NONE, 0, 0, 1)),
    "anaglyph_half_color": ((*LUMA, *_NONE), (*_NONE, 0, 1, 0), (*_NONE, 0, 0, 1)),
    "anaglyph_optimized": ((0, 0.7, 0.3, *_NONE), (*_NONE, 0, 1, 0), (*_NONE, 0, 0, 1)),
    "anaglyph_gray": ((*LUMA, *_NONE), (*_NONE, *LUMA), (*_NONE, *LUMA)),
}

LAYOUTS: tuple[str, ...] = (
    "full_sbs",
    "half_sbs",
    "full_tb",
    "half_tb",
    *_ANAGLYPHS,
    "left",
    "right",
    "cross_eyed",
    "row_interleaved",
    "column_interleaved",
    "vr180",
)
"""What `pack_stereo` makes. The left view comes first: left in a side by side, on top in a
top-bottom, in the first row or column; only "cross_eyed" has it on the right."""
MV_HEVC = "mv_hevc"
PAIRED = ("frame_sequential", MV_HEVC)
"""Layouts that have no picture of both views: they take a file. Until then the views lie side by
side."""
DATA = ("depth", "mask")
"""Layouts that are no pictures of the film."""
RGBD = {"full_rgbd": "full_sbs", "half_rgbd": "half_sbs"}
"""Layouts of the source and its inverse depth, and how these two lie."""
_VIEWS_OF = {**dict.fromkeys(PAIRED, "full_sbs"), **RGBD}
FILE_LAYOUTS = (*LAYOUTS, "separate", *DATA, *RGBD, *PAIRED)
"""What a conversion writes: `pack_stereo`'s layouts, a file for each eye, the inverse depth, the
occlusion mask, the source beside its inverse depth, one view after the other, two views in one
track."""


def pack_stereo(left: Video, right: Video, layout: str, vr: Vr180 = DEFAULT_VR180) -> Video:
    """Pack two views `[T, 3, H, W]` into one picture.

    Args:
        left: `[T, 3, H, W]`.
        right: `[T, 3, H, W]`.
        layout: one of `LAYOUTS`. The half layouts squeeze each view to half its width or height,
            rounded up; the interleaved ones take every other row or column of each.
        vr: how "vr180" shows the views.

    Returns:
        `[T, 3, H, 2W]` for "full_sbs" and "cross_eyed", `[T, 3, 2H, W]` for "full_tb", two squares
        for "vr180", else `[T, 3, H, W]` (a half layout of an odd size has one column or row more).

    Raises:
        TypeError: a view is not a floating point tensor.
        ValueError: a shape is wrong or the layout is unknown.

    Example:
        >>> import torch
        >>> left, right = torch.rand(8, 3, 48, 64), torch.rand(8, 3, 48, 64)
        >>> for layout in ("full_sbs", "half_sbs", "full_tb", "anaglyph"):
        ...     print(layout, list(pack_stereo(left, right, layout).shape))
        full_sbs [8, 3, 48, 128]
        half_sbs [8, 3, 48, 64]
        full_tb [8, 3, 96, 64]
        anaglyph [8, 3, 48, 64]
    """
    check_frames("left", left, channels=3)
    check_frames("right", right, channels=3, like=left)
    check_choice("layout", layout, LAYOUTS)
    if layout in ("left", "right"):
        return left if layout == "left" else right
    if layout in _ANAGLYPHS:
        return _anaglyph(left, right, _ANAGLYPHS[layout])
    if layout.endswith("_interleaved"):
        return _interleaved(left, right, -2 if layout.startswith("row") else -1)
    if layout == "vr180":
        shift = left.shape[-1] * vr.screen_disparity / 200
        left, right = to_half_sphere(left, vr, shift=shift), to_half_sphere(right, vr, shift=-shift)
    if layout == "cross_eyed":
        left, right = right, left
    side_by_side = not layout.endswith("_tb")
    if layout.startswith("half_"):
        left, right = _squeeze(left, side_by_side), _squeeze(right, side_by_side)
    return torch.cat([left, right], dim=-1 if side_by_side else -2)


def packed_size(width: int, height: int, layout: str, vr: Vr180 = DEFAULT_VR180) -> tuple[int, int]:
    """Return the width and height that `pack_stereo` makes of views of `width` x `height`.

    Raises:
        ValueError: the layout is unknown.
    """
    if layout == "vr180":
        side = sphere_size(width, vr)
        return 2 * side, side
    empty = torch.empty((1, 3, height, width), device="meta")
    packed = pack_stereo(empty, empty, layout)
    return packed.shape[-1], packed.shape[-2]


def show(
    stereo: StereoVideo, layout: str, *, made: Eye = "right", vr: Vr180 = DEFAULT_VR180
) -> Video:
    """Make the picture `[T, 3, H, W]` of one of `FILE_LAYOUTS` but "separate".

    Args:
        stereo: both views, depth and holes.
        layout: the views of `PAIRED` come side by side.
        made: the eye that was made; depth belongs to the other one.
        vr: how "vr180" shows the views.

    Raises:
        ValueError: the layout is unknown.
    """
    if layout == "depth":
        return stereo.inverse_depth.expand_as(stereo.left)
    if layout == "mask":
        return stereo.occlusion_mask.expand_as(stereo.left)
    if layout in RGBD:
        source = stereo.left if made == EYES[0] else stereo.right
        return pack_stereo(source, show(stereo, "depth"), RGBD[layout])
    return pack_stereo(stereo.left, stereo.right, _VIEWS_OF.get(layout, layout), vr)


def shown_size(width: int, height: int, layout: str, vr: Vr180 = DEFAULT_VR180) -> tuple[int, int]:
    """Return the width and height of what `show` makes of views of `width` x `height`."""
    if layout in DATA:
        return width, height
    return packed_size(width, height, _VIEWS_OF.get(layout, layout), vr)


def _squeeze(view: Video, horizontally: bool) -> Video:
    height, width = view.shape[-2:]
    size = (height, (width + 1) // 2) if horizontally else ((height + 1) // 2, width)
    return F.interpolate(view, size, mode="bilinear", antialias=True).clamp_(0, 1)


def _interleaved(left: Video, right: Video, side: int) -> Video:
    """Take rows (`side` -2) or columns (-1) of both views in turn."""
    count = left.shape[side]
    shape = [1] * left.ndim
    shape[side] = count
    odd = (torch.arange(count, device=left.device) % 2 == 1).view(shape)
    return torch.where(odd, right, left)


def _anaglyph(left: Video, right: Video, rows: tuple[tuple[float, ...], ...]) -> Video:
    matrix: Tensor = torch.tensor(rows, dtype=left.dtype, device=left.device)
    both = torch.cat([left, right], dim=1)
    return torch.einsum("rc,tchw->trhw", matrix, both).clamp_(0, 1)
