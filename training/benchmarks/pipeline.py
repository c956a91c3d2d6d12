"""The time of each stage of a conversion, and its memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sized
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import (
    ConvertOptions,
    EncodeOptions,
    MaskedFrame,
    Progress,
    blend,
    convert_file,
    gapw_warp,
    inverse_depth_to_disparity,
    load_depth,
    load_inpainter,
    probe,
    read_frames,
)
from dreamstereo_core.comfort.measure import at_measuring_size, measure_frame
from dreamstereo_core.depth import normalize, upsample_inverse_depth
from dreamstereo_core.video_io import VideoWriter

from .machine import process_peak_mib
from .masks import DEMO

Timed = TypeVar("Timed", bound=Sized)


def stage_table(path: Path, count: int = 48) -> None:
    """Print the time a frame of every stage of a conversion, on one clip."""
    info = probe(path)
    rows: dict[str, float] = {}

    def timed(name: str, function: Callable[[], Timed]) -> Timed:
        begin = time.perf_counter()
        result = function()
        rows[name] = (time.perf_counter() - begin) / len(result) * 1e3
        return result

    decoded = timed("decode", lambda: list(read_frames(path, 0, count)))
    video = torch.stack([frame.pixels for frame in decoded])
    estimator, inpainter = load_depth("embedded"), load_inpainter()
    raw = timed("depth", lambda: estimator.predict(video, new_shot=True)[0])
    inverse_depth = timed(
        "upsample", lambda: upsample_inverse_depth(normalize(raw, *_range(raw)), video)
    )
    disparity = inverse_depth_to_disparity(inverse_depth)
    warp = partial(
        gapw_warp, stretch_threshold=ConvertOptions.stretch_threshold, interpolation="cubic"
    )  # as the pipeline warps
    parts = timed(
        "warp", lambda: [warp(v[None], d[None]) for v, d in zip(video, disparity, strict=True)]
    )
    frames = [MaskedFrame(p.video, p.occlusion_mask, p.disparity, stretched=True) for p in parts]
    filled = timed("fill", lambda: list(inpainter.stream(frames)))
    timed(
        "blend",
        lambda: [blend(f, p.video, p.occlusion_mask) for f, p in zip(filled, parts, strict=True)],
    )
    small = inverse_depth_to_disparity(at_measuring_size(normalize(raw, *_range(raw))))
    timed("measure (--report)", lambda: [measure_frame(d[None]) for d in small])
    with tempfile.TemporaryDirectory() as folder:
        times = [frame.time for frame in decoded]

        def encode() -> Tensor:
            with VideoWriter(Path(folder) / "out.mp4", info, info.width, info.height) as writer:
                writer.write(video, times)
            return video

        timed("encode (one view)", encode)
    whole = sum(rows.values())
    print(f"\n| stage, {info.width}x{info.height} | ms a frame | share |\n|---|---|---|")
    for name, cost in rows.items():
        print(f"| {name} | {cost:.1f} | {cost / whole:.1%} |")
    print(f"| all | {whole:.1f} | {1e3 / whole:.1f} frames a second |")


def _range(raw: Tensor) -> tuple[float, float]:
    return float(raw.min()), float(raw.max())


def memory_table(count: int, size: tuple[int, int], fill: str) -> None:
    """Convert a synthetic clip and print the process's peak memory as the frames go by."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        synthetic_clip(clip, count, size)
        # In a process of its own: this one's peak is the encoder's.
        child = [sys.executable, sys.argv[0], "--convert", str(clip), "--fill", fill]
        subprocess.run(child, check=True)


def convert_once(path: Path, fill: str) -> None:
    """Convert a clip; print a row every 300 frames."""
    reported = 0

    def report(progress: Progress) -> None:
        nonlocal reported
        if progress.done // 300 > reported or progress.done == progress.total:
            reported = progress.done // 300
            peak = process_peak_mib()
            speed = progress.done / progress.seconds
            print(f"| {progress.done} | {peak:.0f} | {speed:.2f} |", flush=True)

    info = probe(path)
    print(
        f"| frames done, {info.width}x{info.height}, {fill} | peak memory, MiB | frames a second |"
        "\n|---|---|---|",
        flush=True,
    )
    convert_file(
        path,
        path.with_name("out.mp4"),
        depth=load_depth("embedded"),
        inpainter=load_inpainter(fill),
        on_progress=report,
    )
    print(f"| joined | {process_peak_mib():.0f} | |", flush=True)


def synthetic_clip(path: Path, count: int, size: tuple[int, int] = (1280, 720)) -> None:
    """Write a clip: a disc that crosses a panning texture, with a cut every 100 frames."""
    width, height = size
    generator = torch.Generator().manual_seed(0)
    texture = F.interpolate(
        torch.rand(1, 3, 45, 120, generator=generator), (height, 3 * width // 2), mode="bicubic"
    )
    texture = texture[0].clamp(0, 1)
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    info = probe(DEMO)
    with VideoWriter(path, info, width, height, EncodeOptions(preset="ultrafast")) as writer:
        for t in range(count):
            shot, step = divmod(t, 100)
            pan = step * width // 427
            frame = texture.roll(shot, 0)[:, :, pan : pan + width]
            disc = torch.hypot(x - (0.16 + step / 160) * width, y - height / 2) < 0.22 * height
            frame = torch.where(disc, 1 - frame, frame)
            writer.write(frame[None], [Fraction(t, 24)])
