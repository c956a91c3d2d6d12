"""Measure fills against known truth, inside the holes only.

    python training/evaluate.py --videos FOLDER --photos FOLDER [--json OUT.json] [--pictures
    OUT.png]

Two kinds of holes: those that PBDP opens in real clips, whose depth is estimated and misses the
true borders by some pixels, and those of layered composites of photographs, whose depth is exact.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from baselines import navier_stokes, nearest_background, telea
from composites import layered_composite
from metrics import masked_psnr, temporal_error
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dreamstereo_core import (
    ClassicInpainter,
    DepthEstimator,
    VideoError,
    gapw_warp,
    inverse_depth_to_disparity,
    load_depth,
    read_frames,
)
from dreamstereo_core.masks import dilate
from dreamstereo_core.scenes import ShotDetector

Fill = Callable[[Tensor, Tensor, Tensor], Tensor]
FILLS: dict[str, Fill] = {
    "classic": lambda video, mask, disparity: ClassicInpainter().inpaint(
        video, mask, disparity=disparity
    ),
    "classic, each frame alone": lambda video, mask, disparity: ClassicInpainter(reach=()).inpaint(
        video, mask, disparity=disparity
    ),
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
    "nearest background": nearest_background,
}
HEIGHT, WIDTH = 480, 854


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure fills against known truth.")
    parser.add_argument("--videos", type=Path, help="folder of clips, for PBDP holes")
    parser.add_argument("--photos", type=Path, help="folder of photographs, for composites")
    parser.add_argument("--depth", default="embedded", help="estimator for the clips")
    parser.add_argument("--max-disparity", type=float, default=5.0, help="percent of the width")
    parser.add_argument("--frames", type=int, default=17, help="frames a clip")
    parser.add_argument("--composites", type=int, default=12, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--pictures", type=Path, help="write a grid of hole crops here (PNG)")
    options = parser.parse_args()
    clips: list[tuple[str, str, Tensor, Tensor, Tensor]] = []
    if options.photos:
        clips += composite_clips(options)
    if options.videos:
        clips += pbdp_clips(options, load_depth(options.depth))
    if not clips:
        parser.error("expected --videos or --photos with at least one readable file")
    figures, pictures = measure(clips)
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    if options.pictures:
        write_png(options.pictures, torch.cat(pictures, dim=1))


def project_back(video: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the holes as `build_pair` makes them, and their view's disparity for the fill."""
    left = gapw_warp(video, disparity, toward="left")
    back = gapw_warp(left.video, left.disparity, toward="right")
    return back.occlusion_mask, back.disparity


def composite_clips(
    options: argparse.Namespace,
) -> Iterator[tuple[str, str, Tensor, Tensor, Tensor]]:
    """Yield kind, name, truth, holes and disparity of layered composites."""
    generator = torch.Generator().manual_seed(options.seed)
    photos = sorted(p for p in options.photos.iterdir() if p.suffix in (".jpg", ".jpeg", ".png"))
    for index in range(options.composites):
        chosen = torch.randint(len(photos), (2,), generator=generator).tolist()
        layers = [next(read_frames(photos[i])).pixels for i in chosen]
        clip = layered_composite(
            *layers,
            frames=options.frames,
            height=HEIGHT,
            width=WIDTH,
            max_disparity=options.max_disparity,
            generator=generator,
        )
        yield (
            "composites",
            f"composite {index}",
            clip.video,
            *project_back(clip.video, clip.disparity),
        )


def pbdp_clips(
    options: argparse.Namespace, depth: DepthEstimator
) -> Iterator[tuple[str, str, Tensor, Tensor, Tensor]]:
    """Yield the same of real clips: some frames of each file, up to a cut."""
    for path in sorted(p for p in options.videos.iterdir() if p.is_file()):
        try:
            frames = [f.pixels for f in islice(read_frames(path), 30, 30 + options.frames)]
        except VideoError as error:
            print(f"left out: {error}")
            continue
        if len(frames) < options.frames:
            print(f"left out: {path} is shorter than {30 + options.frames} frames")
            continue
        video = F.interpolate(torch.stack(frames), (HEIGHT, WIDTH), mode="bilinear", antialias=True)
        cuts = ShotDetector().cuts(video)[0].nonzero()[1:]
        video = video[: int(cuts[0])] if len(cuts) else video
        inverse_depth = dilate(depth.estimate(video), 1)  # as the pipeline does
        disparity = inverse_depth_to_disparity(
            inverse_depth, max_disparity=options.max_disparity, convergence=0.5
        )
        yield "real clips", path.name, video, *project_back(video, disparity)


def measure(
    clips: list[tuple[str, str, Tensor, Tensor, Tensor]],
) -> tuple[dict[str, dict[str, dict[str, float]]], list[Tensor]]:
    """Return kind -> fill -> measure -> mean over the clips, and a row of crops for each clip."""
    sums: dict[str, dict[str, dict[str, float]]] = {}
    pictures = []
    for kind, _, truth, mask, disparity in tqdm(clips, unit="clip", disable=None):
        window = busiest_window(mask)
        masked = truth * (1 - mask)
        row = [masked[window]]
        for name, fill in FILLS.items():
            filled = torch.where(mask > 0, fill(masked, mask, disparity), truth)
            entry = sums.setdefault(kind, {}).setdefault(
                name, {"psnr": 0, "temporal": 0, "clips": 0}
            )
            entry["psnr"] += masked_psnr(filled, truth, mask)
            entry["temporal"] += temporal_error(filled, truth, mask)
            entry["clips"] += 1
            row.append(filled[window])
        pictures.append(torch.cat([*row, truth[window]], dim=2))
    for fills in sums.values():
        for entry in fills.values():
            clips_measured = entry["clips"]
            entry["psnr"] /= clips_measured
            entry["temporal"] /= clips_measured
    return sums, pictures


def busiest_window(mask: Tensor, size: int = 160) -> tuple:
    """Return the index of the square with the most holes, away from the frame's border."""
    middle = len(mask) // 2
    inner = mask[middle : middle + 1, :, :, 64:-64]
    count = F.avg_pool2d(inner, size, 16)[0, 0]
    y, x = divmod(int(count.argmax()), count.shape[1])
    return middle, slice(None), slice(16 * y, 16 * y + size), slice(64 + 16 * x, 64 + 16 * x + size)


def table(figures: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the figures as Markdown."""
    kinds = list(figures)
    lines = [
        "| fill | " + " | ".join(f"{k}: hole PSNR, dB | {k}: temporal error" for k in kinds) + " |"
    ]
    lines.append("|---" * (1 + 2 * len(kinds)) + "|")
    for name in FILLS:
        cells = [
            f"{figures[k][name]['psnr']:.2f} | {figures[k][name]['temporal']:.2f}" for k in kinds
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_png(path: Path, picture: Tensor) -> None:
    """Write `[3, H, W]` in [0, 1]."""
    import cv2

    image = (picture.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
