"""A look before the long run: sampled frames as anaglyph, inverse depth and occlusion mask."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from .convert_options import ConvertOptions
from .depth import DepthEstimator
from .fill import Inpainter
from .packing import show
from .pipeline import StereoPipeline
from .types import Video
from .video_io import DecodeOptions, Source, VideoError, VideoWriter, probe, read_frames
from .video_io.target import check_targets

ROWS = ("anaglyph", "depth", "mask")
COLUMN_WIDTH = 480
Step: TypeAlias = Callable[[int, int], None]
"""Hears how many steps of how many are done."""


def _ignore(done: int, total: int) -> None:
    pass


def preview_sheet(
    source: Source,
    target: Path | None,
    *,
    depth: DepthEstimator,
    inpainter: Inpainter,
    options: ConvertOptions | None = None,
    decode: DecodeOptions | None = None,
    count: int = 4,
    overwrite: bool = False,
) -> Path:
    """Write a PNG of evenly spaced frames, each by itself: anaglyph, inverse depth, mask.

    Args:
        source: path, folder of images or printf pattern.
        target: the PNG; None puts it beside the source.
        depth: from `load_depth`.
        inpainter: from `load_inpainter`.
        options: as for the conversion.
        decode: how to read the source.
        count: how many frames, at least 1.
        overwrite: replace an existing file.

    Returns:
        The file written.

    Raises:
        VideoError: the source cannot be read, or the target cannot be written or is what is read.
        DepthError: a supplied depth does not fit the film.
        ValueError: `count` is less than 1.
    """
    info = probe(source, decode)
    if target is None:
        path = Path(str(source))
        target = path.with_name(f"{path.stem.replace('%', '')}_preview.png")
    check_targets([Path(target)], [source, *depth.files], overwrite)
    sheet = preview_picture(
        source, depth=depth, inpainter=inpainter, options=options, decode=decode, count=count
    )
    height, width = sheet.shape[-2:]
    with VideoWriter(target, info, width, height, overwrite=overwrite) as writer:
        writer.write(sheet, [Fraction(0)])
    return Path(target)


def preview_picture(
    source: Source,
    *,
    depth: DepthEstimator,
    inpainter: Inpainter,
    options: ConvertOptions | None = None,
    decode: DecodeOptions | None = None,
    count: int = 4,
    on_step: Step = _ignore,
) -> Video:
    """Return the sheet `[1, 3, h, w]` that `preview_sheet` writes; arguments and errors as there.

    `on_step` hears how many steps of how many are done: a frame read is one, a frame shown another.
    Its rows are `ROWS`, its columns the frames, each `COLUMN_WIDTH` pixels wide.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    columns = []
    options = options or ConvertOptions()
    info = probe(source, decode)
    depth = depth.for_film(info)
    frames, read = _sample(source, decode, count, on_step)
    for done, (index, frame) in enumerate(frames, start=read):
        on_step(done, read + len(frames))
        pipeline = StereoPipeline(depth.from_frame(index), inpainter, options)
        for stereo in pipeline.convert([frame]):
            columns.append(torch.cat([_shrink(show(stereo, row)) for row in ROWS], dim=2))
    on_step(read + len(frames), read + len(frames))
    return torch.cat(columns, dim=3)


def _sample(
    source: Source, decode: DecodeOptions | None, count: int, on_step: Step
) -> tuple[list[tuple[int, Tensor]], int]:
    """Return `count` frames `[3, H, W]` with their numbers, and how many were read for them.

    They are the middle ones of equal parts.
    """
    total = probe(source, decode).frame_count or 1
    wanted = sorted({int((i + 0.5) * total / count) for i in range(count)})
    frames: list[tuple[int, Tensor]] = []
    index = 0
    for index, frame in enumerate(read_frames(source, 0, wanted[-1] + 1, decode)):
        on_step(index, wanted[-1] + 1 + len(wanted))
        if index in wanted:
            frames.append((index, frame.pixels))
    if not frames:
        raise VideoError(f"{source}: has no frame to show")
    return frames, index + 1


def _shrink(picture: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    size = (max(1, round(height * COLUMN_WIDTH / width)), COLUMN_WIDTH)
    return F.interpolate(picture, size, mode="bilinear", antialias=True).clamp(0, 1)
