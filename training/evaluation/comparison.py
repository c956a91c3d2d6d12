"""Fills side by side on clips with known truth."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from dreamstereo_core import ClassicInpainter, DiffusionInpainter, Inpainter, blend, load_depth
from dreamstereo_core.blend import DEFAULT_FEATHER
from dreamstereo_core.fill import load_inpainter
from evaluation.baselines import navier_stokes, nearest_background, telea
from evaluation.clips import Clip, Selection, composite_clips, pbdp_clips, stereo_clips
from evaluation.exchange import OutsideFill, outside_fill
from evaluation.fills import DENSE, Fill, ModelFill, has_tokens, row_names
from evaluation.latency import measured_latency
from evaluation.scores import Scorer, Scores, mean_scores
from evaluation.stereo_videos import stereo_video_clips

BASELINES: dict[str, Fill] = {
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
    "nearest background": nearest_background,
}
SHEET = "the sheet"
"""No fill: the warp's stretched picture."""
ALONE = "classic-alone"
"""The classic fill without other frames."""
PAPER_PERCENT = 7.0
AnyFill = Fill | OutsideFill
Results = list[tuple[str, str, dict[str, Scores]]]
"""Kind and name of each clip, and row -> measures."""


def measure_clip(
    scorer: Scorer, fills: Mapping[str, AnyFill], *, plain: bool = False
) -> tuple[dict[str, Scores], dict[str, Tensor]]:
    """Return the measures of each fill, and the filled clips after the blend.

    A row is the blended clip; the raw output has a row of its own where it differs. The last row is
    the truth's own temporal error.

    Args:
        scorer: of the clip.
        fills: by row.
        plain: blend as the paper does, without a feather, and say how long the fills take.
    """
    clip = scorer.clip
    rows: dict[str, Scores] = {}
    pictures: dict[str, Tensor] = {}
    for name, fill in fills.items():
        finished, raw, latency = time_fill(fill, clip)
        feather = 0 if plain else DEFAULT_FEATHER
        blended = blend(finished, clip.warped, clip.mask, feather=feather)
        rows[name] = scorer.score(blended)
        if not torch.equal(raw, blended):
            rows[f"{name}, raw"] = scorer.score(raw.clamp(0, 1))
        if isinstance(fill, ModelFill) and has_tokens(fill.inpainter):
            rows[name]["tokens_kept"] = fill.tokens_kept(clip.mask)
        if plain:
            rows[name] |= latency
        pictures[name] = blended
    if clip.sheet is not None:
        pictures[SHEET] = torch.where(clip.mask > 0, clip.sheet, clip.warped)
        rows[SHEET] = scorer.score(pictures[SHEET])
    rows["(truth)"] = scorer.temporal(clip.truth)
    return rows, pictures


def time_fill(fill: AnyFill, clip: Clip) -> tuple[Tensor, Tensor, Scores]:
    """Return as `run_fill`, and the ms a frame; nothing of those of another system's results."""
    if isinstance(fill, OutsideFill):
        return *run_fill(fill, clip), {}
    with measured_latency(fill, len(clip.truth)) as latency:
        finished, raw = run_fill(fill, clip)
    return finished, raw, latency


def run_fill(fill: AnyFill, clip: Clip) -> tuple[Tensor, Tensor]:
    """Return a clip as it is to be blended, and the fill's own picture of it."""
    if isinstance(fill, ModelFill):
        return fill.filled(clip.warped, clip.mask, clip.disparity, clip.sheet)
    if isinstance(fill, OutsideFill):
        result = fill.read(clip)
        return result, result
    made = fill(clip.warped, clip.mask, clip.disparity)
    return made, made


def load_fills(options: Namespace) -> dict[str, AnyFill]:
    """Return row name -> fill: the ones asked for, then the baselines.

    Raises:
        DataError: the folder of another system's results is none.
        FileNotFoundError: there is no such checkpoint.
        ValueError: a checkpoint does not fit.
    """
    outside = {spec: outside_fill(spec) for spec in options.fill}
    fills: dict[str, AnyFill] = dict(filter(None, outside.values()))
    for spec, name in row_names([s for s, found in outside.items() if found is None]).items():
        inpainter = open_fill(spec, options)
        if not has_tokens(inpainter):
            fills[name] = ModelFill(inpainter, plain=options.paper)  # one row for all dilations
            continue
        for dilation in options.dilation:
            row = name
            if len(options.dilation) > 1:
                row += f", {DENSE}" if dilation == DENSE else f", dilation {dilation}"
            fills[row] = ModelFill(
                inpainter,
                options.num_steps,
                dilation,
                options.seed,
                options.paper,
                sampler=options.sampler,
            )
    return fills | BASELINES


def open_fill(spec: str, options: Namespace) -> Inpainter:
    """Load one of the fills asked for, as `load_fills`."""
    if spec == ALONE:
        return ClassicInpainter(reach=())
    inpainter = load_inpainter(spec, options.vae, loras=options.lora, context=options.context)
    if isinstance(inpainter, DiffusionInpainter) and options.fill_size is not None:
        width, height = options.fill_size
        return replace(inpainter, fill_size=(height, width))
    return inpainter


def sparse_and_dense(options: Namespace, rows: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the pairs of rows of one checkpoint, sparse and dense."""
    return [
        (f"{name}, dilation {d}", f"{name}, {DENSE}")
        for name in row_names(options.fill).values()
        for d in options.dilation
        if d != DENSE and f"{name}, {DENSE}" in rows
    ]


def all_clips(options: Namespace, selection: Selection) -> Iterator[Clip]:
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
    for folder in options.stereo_videos:
        sources.append(
            stereo_video_clips(
                folder, selection, matched=options.match, layout=options.source_layout
            )
        )
    return chain.from_iterable(sources)


def mean_rows(results: Results) -> dict[str, dict[str, Scores]]:
    """Return kind -> row -> mean over the clips."""
    grouped: dict[str, dict[str, list[Scores]]] = {}
    for kind, _, rows in results:
        for row, scores in rows.items():
            grouped.setdefault(kind, {}).setdefault(row, []).append(scores)
    return {k: {r: mean_scores(s) for r, s in rows.items()} for k, rows in grouped.items()}


def count_kinds(results: Results) -> dict[str, int]:
    """Return kind -> number of clips."""
    kinds: Sequence[str] = [kind for kind, _, _ in results]
    return {kind: kinds.count(kind) for kind in kinds}
