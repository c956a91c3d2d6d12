"""Measure fills, and video autoencoders, against known truth.

    python training/evaluate.py --videos FOLDER --photos FOLDER --stereo FOLDER --output FOLDER
    python training/evaluate.py --videos FOLDER --fill CHECKPOINT --vae FILE --dilation 3 5 dense
    python training/evaluate.py --videos FOLDER --reconstruct wan
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
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.files import DataError
from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    Inpainter,
    VideoError,
    blend,
    load_depth,
)
from dreamstereo_core.depth import DepthError
from dreamstereo_core.fill import INPAINTERS, load_inpainter
from dreamstereo_core.models.lora import parse_lora
from evaluation.baselines import navier_stokes, nearest_background, telea
from evaluation.clips import Clip, Selection, composite_clips, pbdp_clips, stereo_clips
from evaluation.fills import DENSE, Fill, ModelFill, has_tokens
from evaluation.perceptual import Perceptual
from evaluation.reconstruct import measure_autoencoders
from evaluation.report import lost_table, picture_row, plain, tables, write_grid
from evaluation.right_eye import measure_pairs
from evaluation.scores import Scorer, Scores, mean_scores
from evaluation.silhouettes import measure_silhouettes

BASELINES: dict[str, Fill] = {
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
    "nearest background": nearest_background,
}
ALONE = "classic-alone"
"""The classic fill without other frames."""
PAPER_PERCENT = 7.0
Results = list[tuple[str, str, dict[str, Scores]]]
"""Kind and name of each clip, and row -> measures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    selection = Selection(options.size, options.frames, options.start, options.limit, options.seed)
    try:
        run = evaluate_autoencoders if options.reconstruct else evaluate_fills
        if options.right_eye is not None:
            run = evaluate_right_eyes
        results, report, pictures = run(options, selection)
    except (VideoError, DepthError, DataError, ValueError, OSError, ImportError) as error:
        print(f"evaluate: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
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
    results: Results = []
    pictures: list[np.ndarray] = []
    for clip in tqdm(all_clips(options, selection), unit="clip", disable=None):
        if not clip.measured.any():
            selection.leave_out(f"{clip.name} ({clip.kind}): no holes")
            continue
        scorer = Scorer(clip, perceptual, options.perceptual_frames)
        rows, blended = measure_clip(scorer, fills)
        results.append((clip.kind, clip.name, rows))
        pictures.append(picture_row(clip, blended))
    if not results:
        raise ValueError("expected --videos, --photos or --stereo with a usable file, got none")
    means = mean_rows(results)
    report = tables(means, count_kinds(results))
    pairs = [
        (f"{name}, dilation {d}", f"{name}, {DENSE}")
        for name in map(fill_name, options.fill)
        for d in options.dilation
        if d != DENSE and f"{name}, {DENSE}" in fills
    ]
    lost = lost_table(means, pairs)
    return results, f"{report}\n\n{lost}" if lost else report, pictures


def measure_clip(
    scorer: Scorer, fills: Mapping[str, Fill]
) -> tuple[dict[str, Scores], dict[str, Tensor]]:
    """Return the measures of each fill, and the filled clips after the blend.

    A row is the blended clip; the raw output has a row of its own where it differs. The last row is
    the truth's own temporal error.
    """
    clip = scorer.clip
    rows: dict[str, Scores] = {}
    pictures: dict[str, Tensor] = {}
    for name, fill in fills.items():
        raw = fill(clip.warped, clip.mask, clip.disparity)
        blended = blend(raw, clip.warped, clip.mask)
        rows[name] = scorer.score(blended)
        if not torch.equal(raw, blended):
            rows[f"{name}, raw"] = scorer.score(raw)
        if isinstance(fill, ModelFill):
            rows[name]["tokens_kept"] = fill.tokens_kept(clip.mask)
        pictures[name] = blended
    rows["(truth)"] = scorer.temporal(clip.truth)
    return rows, pictures


def load_fills(options: argparse.Namespace) -> dict[str, Fill]:
    """Return row name -> fill: the ones asked for, then the baselines.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: a checkpoint does not fit.
    """
    fills: dict[str, Fill] = {}
    for spec in options.fill:
        name = fill_name(spec)
        inpainter = open_fill(spec, options)
        if not has_tokens(inpainter):
            # A plain function: one row whatever the dilations.
            fills[name] = lambda video, mask, disparity, inpainter=inpainter: inpainter.inpaint(
                video, mask, disparity=disparity
            )
            continue
        for dilation in options.dilation:
            row = name
            if len(options.dilation) > 1:
                row += f", {DENSE}" if dilation == DENSE else f", dilation {dilation}"
            fills[row] = ModelFill(
                inpainter, num_steps=options.num_steps, dilation=dilation, seed=options.seed
            )
    return fills | BASELINES


def open_fill(spec: str, options: argparse.Namespace) -> Inpainter:
    """Load one of the fills asked for, as `load_fills`."""
    if spec == ALONE:
        return ClassicInpainter(reach=())
    return load_inpainter(spec, options.vae, loras=options.lora, context=options.context)


def fill_name(spec: str) -> str:
    """Return a row's name: a name as it is, a file without folder and suffix."""
    return Path(spec).stem if Path(spec).suffix else spec


def all_clips(options: argparse.Namespace, selection: Selection) -> Iterator[Clip]:
    """Yield the clips of every source asked for, one at a time."""
    percents = options.max_disparity or [PAPER_PERCENT]
    sources: list[Iterator[Clip]] = []
    if options.videos:
        if len(options.depth or "1") > 1:
            raise ValueError(f"--depth: expected one for fills, got {' '.join(options.depth)}")
        depth = load_depth(*options.depth or ["cues"])
        sources.append(pbdp_clips(options.videos, depth, percents, selection))
    if options.photos:
        sources.append(composite_clips(options.photos, options.composites, percents, selection))
    if options.stereo:
        sources.append(stereo_clips(options.stereo, selection))
    return chain.from_iterable(sources)


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
    fills = {fill_name(spec): open_fill(spec, options) for spec in options.fill}
    depths = {fill_name(spec): load_depth(spec) for spec in options.depth or ["embedded"]}
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


def mean_rows(results: Results) -> dict[str, dict[str, Scores]]:
    """Return kind -> row -> mean over the clips."""
    grouped: dict[str, dict[str, list[Scores]]] = {}
    for kind, _, rows in results:
        for row, scores in rows.items():
            grouped.setdefault(kind, {}).setdefault(row, []).append(scores)
    return {k: {r: mean_scores(s) for r, s in rows.items()} for k, rows in grouped.items()}


def count_kinds(results: Results) -> dict[str, int]:
    """Return kind -> number of clips."""
    kinds = [kind for kind, _, _ in results]
    return {kind: kinds.count(kind) for kind in kinds}


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure fills against known truth.")
    add = parser.add_argument
    add("--videos", type=Path, help="folder of clips, for holes by PBDP")
    add("--photos", type=Path, help="folder of photographs, for composites")
    add("--stereo", type=Path, nargs="+", default=[], help="folders of true stereo pairs")
    names = ", ".join([*INPAINTERS, ALONE])
    add("--right-eye", type=Path, nargs="*", help="folders of true pairs: measure whole right eyes")
    add("--fill", nargs="+", default=["classic", "mini"], help=f"{names} or checkpoints")
    add("--vae", help="autoencoder of the checkpoints: a name or a file")
    add("--lora", type=parse_lora, action="append", default=[], metavar="FILE[:STRENGTH]")
    add("--context", type=Path, help="safetensors file with a text embedding")
    add("--num-steps", type=int, default=1, help="denoising steps")
    add("--dilation", type=_dilation, nargs="+", default=[5], help='odd numbers, or "dense"')
    add("--reconstruct", nargs="+", metavar="VAE", help="measure autoencoders instead of fills")
    add("--depth", nargs="+", help="depth estimator of the clips: cues; right eyes: embedded")
    add("--max-disparity", type=float, nargs="+", help="%% of the width: 7; right eyes: 3")
    add("--size", type=_size, default=(854, 480), metavar="WxH", help="of clips and composites")
    add("--frames", type=int, default=17, help="frames a clip")
    add("--start", type=int, nargs="+", default=[30], help="first frames of real clips")
    add("--limit", type=int, help="videos, or photographs to reconstruct")
    add("--composites", type=int, default=8, help="how many")
    add("--perceptual-frames", type=int, default=2, help="frames a clip for ST-LPIPS; 0 = without")
    add("--seed", type=int, default=0)
    add("--output", type=Path, help="folder for evaluation.md, .json and .png")
    return parser


def _dilation(text: str) -> int | str:
    if text == DENSE:
        return text
    if not text.isdigit() or int(text) % 2 == 0:
        raise argparse.ArgumentTypeError(f'expected an odd number or "{DENSE}", got {text!r}')
    return int(text)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 32):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT from 32x32 up, got {text!r}")
    return int(width), int(height)


if __name__ == "__main__":
    sys.exit(main())
