"""Measure fills, and video autoencoders, against known truth.

    python training/evaluate.py --videos FOLDER --photos FOLDER --stereo FOLDER --output FOLDER
    python training/evaluate.py --videos FOLDER --fill CHECKPOINT --vae FILE --dilation 3 5 dense
    python training/evaluate.py --videos FOLDER --reconstruct wan
    python training/evaluate.py --stereo-videos FOLDER [--match] --paper
    python training/evaluate.py --videos FOLDER --export CLIPS
    python training/evaluate.py --videos FOLDER --fill NAME=RESULTS
    python training/evaluate.py --right-eye PAIRS ... --videos FOLDER

Three kinds of holes with known truth: those that PBDP opens in real clips, whose depth is estimated
and misses the true borders by some pixels; those of layered composites of photographs, whose depth
is exact; and the truly occluded areas of stereo pairs. docs/evaluation.md says what the columns
mean.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import chain

import numpy as np
from tqdm import tqdm

from data.files import DataError
from dreamstereo_core import ConvertOptions, VideoError, load_depth
from dreamstereo_core.depth import DepthError
from evaluation.arguments import parse_options
from evaluation.clips import Selection
from evaluation.comparison import (
    Results,
    all_clips,
    count_kinds,
    load_fills,
    mean_rows,
    measure_clip,
    open_fill,
    run_fill,
    sparse_and_dense,
)
from evaluation.exchange import export_clips
from evaluation.fills import row_names
from evaluation.lpips_distance import load_lpips
from evaluation.perceptual import Perceptual
from evaluation.reconstruct import measure_autoencoders
from evaluation.report import lost_table, picture_row, plain, tables, write_grid
from evaluation.right_eye import measure_pairs
from evaluation.scores import Scorer
from evaluation.silhouettes import measure_silhouettes


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 0, or 1 with one line that says what is wrong."""
    options = parse_options(arguments)
    selection = Selection(
        options.size, options.frames, options.start, options.limit, options.seed, options.paper
    )
    try:
        if options.export:
            count = export_clips(all_clips(options, selection), options.export)
            print(f"{count} clips in {options.export}")
            return 0
        run = evaluate_autoencoders if options.reconstruct else evaluate_fills
        if options.right_eye is not None:
            run = evaluate_right_eyes
        results, report, pictures = run(options, selection)
    except (VideoError, DepthError, DataError, ValueError, OSError, ImportError) as error:
        print(f"evaluate: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if short := [name for _, name, _ in results if name.endswith(" frames)")]:
        report += f"\n\nFewer frames than asked for ({len(short)}): " + "; ".join(
            dict.fromkeys(short)
        )
    if selection.left_out:
        report += f"\n\nLeft out ({len(selection.left_out)}): " + "; ".join(selection.left_out)
    print(report)
    if options.output:
        write_output(options, results, report, pictures, selection.left_out)
    return 0


def evaluate_fills(
    options: argparse.Namespace, selection: Selection
) -> tuple[Results, str, list[np.ndarray]]:
    """Return the figures of each clip, the tables, and a row of pictures for each clip.

    Raises:
        ValueError: there is no clip.
    """
    fills = load_fills(options)
    perceptual = Perceptual() if options.perceptual_frames else None
    lpips = load_lpips() if options.lpips else None
    results: Results = []
    pictures: list[np.ndarray] = []
    for clip in tqdm(all_clips(options, selection), unit="clip", disable=None):
        if not clip.measured.any():
            selection.leave_out(f"{clip.name} ({clip.kind}): no holes")
            continue
        if options.paper and not results:
            for fill in fills.values():
                run_fill(fill, clip)  # the first call of a fill is slower than the others
        scorer = Scorer(clip, perceptual, options.perceptual_frames, lpips)
        rows, blended = measure_clip(scorer, fills, plain=options.paper)
        results.append((clip.kind, clip.name, rows))
        pictures.append(picture_row(clip, blended))
    if not results:
        sources = "--videos, --photos, --stereo or --stereo-videos"
        raise ValueError(f"expected {sources} with a usable file, got none")
    means = mean_rows(results)
    report = tables(means, count_kinds(results))
    lost = lost_table(means, sparse_and_dense(options, fills))
    return results, f"{report}\n\n{lost}" if lost else report, pictures


def evaluate_autoencoders(
    options: argparse.Namespace, selection: Selection
) -> tuple[Results, str, list[np.ndarray]]:
    """Return the same for autoencoders: each clip encoded and decoded.

    Raises:
        ValueError: there is no clip.
    """
    results = measure_autoencoders(options, selection)
    return results, tables(mean_rows(results), count_kinds(results)), []


def evaluate_right_eyes(
    options: argparse.Namespace, selection: Selection
) -> tuple[Results, str, list[np.ndarray]]:
    """Return the same for whole right eyes: of true pairs, subtitles, a cartoon and clips.

    Raises:
        DataError, ValueError: a folder has nothing to measure.
    """
    names = row_names(options.fill)
    fills = {name: open_fill(spec, options) for spec, name in names.items()}
    names = row_names(options.depth or ["embedded"])
    depths = {name: load_depth(spec) for spec, name in names.items()}
    perceptual = Perceptual() if options.perceptual_frames else None
    percents = options.max_disparity or [ConvertOptions().max_disparity]
    places = (options.videos, options.photos)
    measured = chain(
        measure_pairs(options.right_eye, fills, depths, perceptual, selection),
        measure_silhouettes(*places, fills, depths, percents, selection),
    )
    results: Results = []
    pictures: list[np.ndarray] = []
    for kind, name, rows, picture in tqdm(measured, disable=None):
        results.append((kind, name, rows))
        pictures += [] if picture is None else [picture]
    return results, tables(mean_rows(results), count_kinds(results)), pictures


def write_output(
    options: argparse.Namespace,
    results: Results,
    report: str,
    pictures: Sequence[np.ndarray],
    left_out: Sequence[str],
) -> None:
    """Write evaluation.md, .json and .png into the output folder."""
    options.output.mkdir(parents=True, exist_ok=True)
    record = {
        "options": vars(options),
        "means": mean_rows(results),
        "clips": [{"kind": k, "name": n, "rows": rows} for k, n, rows in results],
        "left_out": left_out,
    }
    (options.output / "evaluation.json").write_text(
        json.dumps(plain(record), indent=1, allow_nan=False)
    )
    (options.output / "evaluation.md").write_text(report + "\n")
    if pictures:
        write_grid(options.output / "evaluation.png", pictures)


if __name__ == "__main__":
    sys.exit(main())
