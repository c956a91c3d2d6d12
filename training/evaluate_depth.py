"""Measure how steady depth is over time, with and without `SteadyDepth`.

    python training/evaluate_depth.py --videos FOLDER --depth embedded noisy
    python training/evaluate_depth.py --videos street.avi --depth noisy --frames 100 --drift 1000

Measured is the inverse depth in [0, 1] that a conversion would use, at 256 pixels of width, in
percent of its range: the temporal alignment error (TAE) along OpenCV's DIS flow, the flicker where
the picture stands still, and how much the scale has changed after many frames of the same second,
there and back. "noisy" is a stand-in for a per-frame model: each frame has a scale, a shift and
noise of its own; "noisy:NAME" does that to another estimator.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from data.files import DataError
from dreamstereo_core import VideoError, load_depth, read_frames
from dreamstereo_core.depth import (
    DepthError,
    DepthEstimator,
    SteadyDepth,
    with_depth,
)
from dreamstereo_core.shots import ShotDetector, find_shots
from dreamstereo_core.stream import Frame
from engine.pictures import contact_sheet, write_png
from evaluation.depth_stability import (
    NoisyDepth,
    PictureDepth,
    alignment_error,
    flicker,
    flow_and_trust,
    relative_scale,
    still_region,
    there_and_back,
)
from making.clips import find_sources

WIDTH = 256
STILL_SHARE = 0.1
"""Of the picture, that must stand still for its flicker to count."""
ROW = 0.6
"""Of the height, at which a slice is taken."""
_LOOPED = 25  # frames that go there and back

Figures = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    slices: list[list[Tensor]] = []
    try:
        estimators = load_estimators(options.depth, raw=options.raw)
        results = {}
        for path in find_sources(options.videos, []):
            results[path.name], rows = evaluate(
                path, estimators, options.frames, options.drift, options.width
            )
            slices.append(rows)
    except (VideoError, DepthError, DataError, ValueError, OSError, ImportError) as error:
        print(f"evaluate_depth: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(table(results))
    if options.slices:
        write_png(options.slices, contact_sheet(slices, 2 * options.frames))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


def load_estimators(names: Iterable[str], *, raw: bool = True) -> dict[str, DepthEstimator]:
    """Return each estimator as it is where `raw`, and steadied where that is possible."""
    estimators: dict[str, DepthEstimator] = {}
    for name in names:
        kind, _, inner = name.partition(":")
        if kind == "noisy":
            estimator = NoisyDepth(load_depth(inner, steady=False) if inner else PictureDepth())
        else:
            estimator = load_depth(name, steady=False)
        if raw:
            estimators[name] = estimator
        if not estimator.normalized:
            estimators[f"{name}, steady"] = SteadyDepth(estimator)
    return estimators


def evaluate(
    path: Path,
    estimators: dict[str, DepthEstimator],
    frames: int | None = None,
    drift: int = 0,
    width: int = WIDTH,
) -> tuple[dict[str, Figures], list[Tensor]]:
    """Return the figures of each estimator on a video's first frames, and slices through time.

    A slice `[3, T, w]` is one row of pixels, over time downwards: of the pictures, then of each
    estimator's depth.
    """
    pictures = [_small(f.pixels[None], width)[0] for f in islice(read_frames(path), frames)]
    row = int(ROW * pictures[0].shape[1])
    results, slices = {}, [torch.stack([picture[:, row] for picture in pictures], 1)]
    for name, estimator in tqdm(estimators.items(), desc=path.name, disable=None):
        depths = list(depths_of(estimator, pictures))
        slices.append(torch.stack([d[0, :, row].expand(3, -1) for _, d, _ in depths], 1))
        results[name] = stability(depths)
        if drift:
            looped = there_and_back(pictures[:_LOOPED], drift)
            results[name]["drift"] = drift_of(
                (depth for _, depth, _ in depths_of(estimator, looped)),
                2 * min(_LOOPED, len(pictures)) - 2,
            )
    return results, slices


def depths_of(
    estimator: DepthEstimator, frames: Iterable[Tensor]
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Yield frame `[1, 3, h, w]`, inverse depth `[1, 1, h, w]`, and whether a shot starts."""
    for frame in with_depth(find_shots(map(Frame, frames), ShotDetector()), estimator):
        size = frame.pixels.shape[1:]
        depth = F.interpolate(frame.inverse_depth, size, mode="bilinear", antialias=True)
        yield frame.picture, depth, frame.new_shot


def stability(depths: Iterable[tuple[Tensor, Tensor, bool]]) -> Figures:
    """Return TAE and flicker in percent of the depth's range, as means over pairs of frames."""
    sums: dict[str, list[float]] = defaultdict(list)
    before = None
    for frame, depth, new_shot in depths:
        if before is not None and not new_shot:
            flow, trust = flow_and_trust(frame, before[0])
            sums["tae"].append(alignment_error(depth, before[1], flow, trust))
            still = still_region(frame, before[0])
            if still.float().mean() > STILL_SHARE:
                sums["flicker"].append(flicker(depth, before[1], still))
        before = frame, depth
    means = {name: torch.tensor(values) for name, values in sums.items()}
    return {
        name: 100 * float(means[name].nanmean()) if name in means else float("nan")
        for name in ("tae", "flicker")
    }


def drift_of(depths: Iterable[Tensor], period: int) -> float:
    """Return by how many percent the scale of the last period differs from the first one's.

    The first period and the last whole one show the same pictures, so their mean depths differ by
    the scale, and by what noise is left.
    """
    first: list[Tensor] = []
    cycle: list[Tensor] = []
    last: list[Tensor] = []
    for depth in depths:
        cycle.append(depth)
        if len(cycle) == period:
            first, last, cycle = first or cycle, cycle, []
    if not first:
        raise ValueError(f"drift: expected at least {period} frames, got {len(cycle)}")
    means = [torch.cat(depths).mean(0) for depths in (last, first)]
    return 100 * abs(relative_scale(*means) - 1)


def table(results: dict[str, dict[str, Figures]]) -> str:
    """Return a Markdown table; in brackets what is left of the estimator's own figure."""
    lines = ["| video | depth | TAE % | still flicker % | drift % |", "|---|---|---|---|---|"]
    for video, rows in results.items():
        for name, figures in rows.items():
            raw = rows.get(name.removesuffix(", steady"), {}) if name.endswith("steady") else {}
            cells = [_cell(figures, raw, key) for key in ("tae", "flicker", "drift")]
            lines.append(f"| {video} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(figures: Figures, raw: Figures, key: str) -> str:
    value, own = figures.get(key, float("nan")), raw.get(key, float("nan"))
    if value != value:
        return ""
    left = f" ({value / own:.2f})" if key != "drift" and own > 0 else ""
    return f"{value:.3f}{left}"


def _small(frame: Tensor, width: int) -> Tensor:
    height = max(1, round(width * frame.shape[2] / frame.shape[3]))
    return F.interpolate(frame, (height, width), mode="area")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure how steady depth is over time.")
    add = parser.add_argument
    add("--videos", type=Path, nargs="+", required=True, help="files or folders")
    add("--depth", nargs="+", default=["embedded", "noisy"],
        help="embedded, noisy, noisy:NAME, or as for the command")  # fmt: skip
    add("--frames", type=int, default=100, help="of each video")
    add("--drift", type=int, default=0, metavar="N",
        help="frames after which the scale is compared; 0: not")  # fmt: skip
    add("--width", type=int, default=WIDTH, help="of the frames, in pixels")
    add("--no-raw", dest="raw", action="store_false", help="only the steadied ones")
    add("--json", type=Path, help="write the figures here, too")
    add("--slices", type=Path, metavar="PNG", help="a row of pixels over time, of each estimator")
    return parser


if __name__ == "__main__":
    sys.exit(main())
