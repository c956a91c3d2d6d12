"""Speed and memory, as ratios within one run.

python training/benchmark.py                  # the warp, and every stage of the pipeline
python training/benchmark.py --memory 3000    # peak memory while a 720p clip is converted
"""

from __future__ import annotations

import argparse
import resource
import statistics
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
    ClassicInpainter,
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
from dreamstereo_core.depth import normalize, upsample_inverse_depth
from dreamstereo_core.video_io import VideoWriter

Timed = TypeVar("Timed", bound=Sized)
DEMO = Path(__file__).parent.parent / "docs" / "demo.mp4"


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description="Speed and memory, as ratios within one run.")
    parser.add_argument("--memory", type=int, metavar="FRAMES", help="measure memory")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)  # a child of --memory
    parser.add_argument("--video", type=Path, default=DEMO, help="clip for the stages")
    options = parser.parse_args()
    if options.convert:
        convert_once(options.convert)
    elif options.memory:
        memory_table(options.memory)
    else:
        warp_table()
        stage_table(options.video)


def scatter_sheet(
    video: Tensor, disparity: Tensor, threshold: float = 1.5
) -> tuple[Tensor, Tensor]:
    """The rubber sheet as a chain of scatters: one for every pixel of the longest interval.

    Takes `[T, 3, H, W]` and `[T, 1, H, W]`; returns the warped video and the coordinate map, as
    `gapw_warp` does.
    """
    frames, _, height, width = video.shape
    x = torch.arange(width, dtype=torch.float32)
    landing = (x - disparity).view(-1, width)
    start, end = landing[:, :-1], landing[:, 1:]
    stretch = end - start
    solid = (stretch > 0) & (stretch <= threshold)
    best = torch.full((frames * height, width + 1), -1.0)
    for step in range(int(stretch.max()) + 2):
        pixel = start.ceil() + step
        inside = (stretch > 0) & (pixel <= end) & (pixel >= 0) & (pixel < width)
        source = x[:-1] + (pixel - start) / stretch + solid * width  # a solid one beats all others
        index = torch.where(inside, pixel, width).long()
        best.scatter_reduce_(1, index, source, "amax")
    best = best[:, :width]
    coord = torch.where(best >= width, best - width, best)
    beyond = torch.where(x < landing.amin(1, keepdim=True), 0.0, width - 1.0)
    coord = torch.where(best < 0, beyond, coord).view(frames, 1, height, width)
    cell = coord.long().clamp(max=width - 2)
    columns = cell.expand_as(video)
    warped = torch.lerp(video.gather(3, columns), video.gather(3, columns + 1), coord - cell)
    return warped, coord


def scatter_splat(video: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """Forward warping as most converters do it: a z-buffer, then bilinear splats.

    Takes `[T, 3, H, W]` and `[T, 1, H, W]`; returns the warped video and its holes.
    """
    frames, _, height, width = video.shape
    x = torch.arange(width, dtype=torch.float32) - disparity[:, 0]
    low = x.floor()
    rows = torch.arange(frames * height).view(frames, height, 1) * width
    nearest = torch.full((frames * height * width,), -1e9)
    splats = []
    for target, weight in ((low, 1 - (x - low)), (low + 1, x - low)):
        inside = (target >= 0) & (target < width) & (weight > 0)
        index = (rows + target.clamp(0, width - 1).long()).view(-1)
        near = torch.where(inside, disparity[:, 0], -1e9).view(-1)
        nearest.scatter_reduce_(0, index, near, "amax")
        splats.append((index, (weight * inside).view(-1), near))
    total = torch.zeros(frames * height * width)
    colours = torch.zeros(3, frames * height * width)
    source = video.transpose(0, 1).reshape(3, -1)
    for index, weight, near in splats:
        weight = weight * (near > nearest[index] - 1)
        total.scatter_add_(0, index, weight)
        for channel in range(3):
            colours[channel].scatter_add_(0, index, source[channel] * weight)
    warped = (colours / total.clamp(min=1e-6)).view(3, frames, height, width).transpose(0, 1)
    return warped, (total == 0).float().view(frames, 1, height, width)


def warp_table() -> None:
    """Compare the warp with both chains, and its cost a pixel over sizes."""
    columns = ("warp", "by scatters, ms", "splats, ms", "gapw_warp, ms")
    print("| " + " | ".join((*columns, "to scatters", "to splats", "ns a pixel")) + " |")
    print("|---|---|---|---|---|---|---|")
    for width, height in ((640, 360), (1280, 720), (1920, 1080), (3840, 2160)):
        scene = warp_scene(width, height)
        calls = (scatter_sheet, scatter_splat, gapw_warp)
        sheet, splat, ours = paired(*(partial(call, *scene) for call in calls))
        print(
            f"| {width}x{height} | {sheet:.0f} | {splat:.0f} | {ours:.1f} "
            f"| {ours / sheet:.2f} | {ours / splat:.2f} | {ours / (width * height) * 1e6:.0f} |"
        )


def warp_scene(width: int, height: int) -> tuple[Tensor, Tensor]:
    """Return one frame of noise and a piecewise smooth disparity up to 3 % of the width."""
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(1, 3, height, width, generator=generator)
    smooth = F.interpolate(
        torch.rand(1, 1, 6, 9, generator=generator), (height, width), mode="bicubic"
    )
    blocks = (torch.rand(1, 1, 7, 12, generator=generator) > 0.7).float()
    steps = F.interpolate(blocks, (height, width), mode="nearest")
    inverse_depth = ((smooth + steps) / 2).clamp(0, 1)
    return video, inverse_depth_to_disparity(inverse_depth, max_disparity=3, convergence=0.5)


def paired(*functions: Callable[[], object], repeats: int = 15) -> list[float]:
    """Return each function's median time in ms, run in turns so that all meet the same machine."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 2):
        for function, series in zip(functions, times, strict=True):
            begin = time.perf_counter()
            function()
            series.append((time.perf_counter() - begin) * 1e3)
    return [statistics.median(series[2:]) for series in times]


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
    estimator = load_depth("embedded")
    raw = timed("depth", lambda: estimator.predict(video, new_shot=True)[0])
    inverse_depth = timed(
        "upsample", lambda: upsample_inverse_depth(normalize(raw, *_range(raw)), video)
    )
    disparity = inverse_depth_to_disparity(inverse_depth)
    parts = timed(
        "warp", lambda: [gapw_warp(v[None], d[None]) for v, d in zip(video, disparity, strict=True)]
    )
    frames = [MaskedFrame(p.video, p.occlusion_mask, p.disparity) for p in parts]
    filled = timed("fill", lambda: list(ClassicInpainter().stream(frames)))
    timed(
        "blend",
        lambda: [blend(f, p.video, p.occlusion_mask) for f, p in zip(filled, parts, strict=True)],
    )
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
        print(f"| {name} | {cost:.1f} | {cost / whole:.0%} |")
    print(f"| all | {whole:.1f} | {1e3 / whole:.1f} frames a second |")


def _range(raw: Tensor) -> tuple[float, float]:
    return float(raw.min()), float(raw.max())


def memory_table(count: int) -> None:
    """Convert a synthetic 720p clip and print the process's peak memory as the frames go by."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        synthetic_clip(clip, count)
        # In a process of its own: this one's peak is the encoder's.
        subprocess.run([sys.executable, __file__, "--convert", str(clip)], check=True)


def convert_once(path: Path) -> None:
    """Convert a clip; print a row every 300 frames."""
    reported = 0

    def report(progress: Progress) -> None:
        nonlocal reported
        if progress.done // 300 > reported or progress.done == progress.total:
            reported = progress.done // 300
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            speed = progress.done / progress.seconds
            print(f"| {progress.done} | {peak:.0f} | {speed:.2f} |", flush=True)

    print(
        "| frames done, 1280x720 | peak memory, MiB | frames a second |\n|---|---|---|", flush=True
    )
    convert_file(
        path,
        path.with_name("out.mp4"),
        depth=load_depth("embedded"),
        inpainter=load_inpainter("classic"),
        on_progress=report,
    )


def synthetic_clip(path: Path, count: int) -> None:
    """Write a 1280x720 clip: a disc that crosses a panning texture, with a cut every 100 frames."""
    generator = torch.Generator().manual_seed(0)
    texture = F.interpolate(
        torch.rand(1, 3, 45, 120, generator=generator), (720, 1920), mode="bicubic"
    )
    texture = texture[0].clamp(0, 1)
    y, x = torch.meshgrid(torch.arange(720.0), torch.arange(1280.0), indexing="ij")
    info = probe(DEMO)
    with VideoWriter(path, info, 1280, 720, EncodeOptions(preset="ultrafast")) as writer:
        for t in range(count):
            shot, step = divmod(t, 100)
            frame = texture.roll(shot, 0)[:, :, 3 * step : 3 * step + 1280]
            disc = torch.hypot(x - 200 - 8 * step, y - 360) < 160
            frame = torch.where(disc, 1 - frame, frame)
            writer.write(frame[None], [Fraction(t, 24)])


if __name__ == "__main__":
    main()
