"""Where ComfyUI's channels-last pictures and the core's channels-first ones meet."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..dreamstereo_core.checks import check_finite
from ..dreamstereo_core.stream import Frame
from ..dreamstereo_core.types import InverseDepth, OcclusionMask, Video

_COLOR_TOLERANCE = 0.05


def to_video(images: Tensor) -> Video:
    """Turn an IMAGE `[T, H, W, C]` of 1, 3 or 4 channels into `[T, 3, H, W]`; alpha is dropped.

    Raises:
        ValueError: another shape, or no frame at all.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        expected = "an IMAGE [frames, height, width, channels] of 1, 3 or 4 channels"
        raise ValueError(f"images: expected {expected}, got {list(images.shape)}")
    if images.shape[-1] == 1:
        images = images.expand(-1, -1, -1, 3)
    return images[..., :3].movedim(-1, 1).float().contiguous()


def to_frames(images: Tensor) -> Iterator[Frame]:
    """Yield each frame of an IMAGE, made when it is asked for, so that no copy of the clip is.

    Raises:
        ValueError: the IMAGE has a shape that `to_video` refuses.
    """
    to_video(images[:1])
    return (Frame(to_video(images[t : t + 1])[0]) for t in range(len(images)))


def join(parts: Iterable[tuple[Tensor, ...]], frames: int) -> list[Tensor]:
    """Write the parts `[n, ...]` of a clip of `frames` frames into whole tensors as they come.

    Args:
        parts: for each piece of the clip one part of every tensor.
        frames: how many there are in all.
    """
    wholes: list[Tensor] = []
    start = 0
    for part in parts:
        if not wholes:
            wholes = [torch.empty((frames, *x.shape[1:]), dtype=x.dtype) for x in part]
        stop = start + len(part[0])
        for whole, piece in zip(wholes, part, strict=True):
            whole[start:stop] = piece
        start = stop
    if start != frames:
        raise RuntimeError(f"parts: expected {frames} frames in all, got {start}")
    return wholes


def from_video(video: Video) -> Tensor:
    """Turn `[T, 3, H, W]` into an IMAGE `[T, H, W, 3]`."""
    return video.movedim(1, -1).contiguous().cpu()


def to_inverse_depth(images: Tensor) -> InverseDepth:
    """Turn a grey IMAGE `[T, H, W, C]` into `[T, 1, H, W]`.

    Raises:
        ValueError: the picture is coloured or not finite, or of a shape that `to_video` refuses.
    """

    def grey(frame: Frame) -> tuple[Tensor]:
        video = frame.pixels[None]
        check_finite("inverse_depth", video)
        if (video.amax(1) - video.amin(1)).max() > _COLOR_TOLERANCE:
            raise ValueError(
                "inverse_depth: expected a grey depth picture (white = near), got a coloured one;"
                " switch the depth node's colour map off"
            )
        return (video.mean(1, keepdim=True).clamp(0, 1),)

    return join(map(grey, to_frames(images)), len(images))[0]


def from_inverse_depth(inverse_depth: InverseDepth) -> Tensor:
    """Turn `[T, 1, H, W]` into a grey IMAGE `[T, H, W, 3]`."""
    return from_video(inverse_depth.expand(-1, 3, -1, -1))


def to_occlusion_mask(mask: Tensor) -> OcclusionMask:
    """Turn a MASK `[T, H, W]` or `[H, W]` into `[T, 1, H, W]`.

    Raises:
        ValueError: another shape.
    """
    if mask.ndim not in (2, 3):
        raise ValueError(f"mask: expected a MASK [frames, height, width], got {list(mask.shape)}")
    return mask.reshape(-1, 1, *mask.shape[-2:]).float()


def from_occlusion_mask(occlusion_mask: OcclusionMask) -> Tensor:
    """Turn `[T, 1, H, W]` into a MASK `[T, H, W]`."""
    return occlusion_mask[:, 0].contiguous().cpu()
