"""Measure depth estimators against true depth: stereo pairs, and rendered scenes held out.

    python training/evaluate_depth_accuracy.py --stereo media/eval/motorcycle media/eval/aloe
        --matched media/eval/oak-d --scenes depth_held_out --depth mini cues gradient

A pair's disparity is its inverse depth but for scale and shift, which are fitted in every picture.
"gradient" is a plain vertical ramp, near at the bottom; every other name is `load_depth`'s.
"""

from __future__ import annotations

import extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from depth_scores import DepthScores, depth_scores
from depth_shards import list_views
from evaluation_clips import read_stereo_pair
from files import DataError
from stereo_matching import matched_pairs
from torch import Tensor

from dreamstereo_core import VideoError, load_depth
from dreamstereo_core.depth import DepthError, DepthEstimator, upsample_inverse_depth

GRADIENT = "gradient"


@dataclass(frozen=True)
class TrueScene:
    """A picture `[1, 3, H, W]` in [0, 1] and its inverse depth `[1, 1, H, W]`, NaN = unknown.

    The inverse depth has any scale; scenes of one kind share a row of the table.
    """

    kind: str
    picture: Tensor
    inverse_depth: Tensor


def held_out_scenes(
    stereo: Sequence[Path] = (),
    scenes: Path | None = None,
    most: int = 150,
    *,
    matched: Path | None = None,
) -> Iterator[TrueScene]:
    """Yield the left views of stereo pairs, of matched ones, then rendered scenes.

    Args:
        stereo: folders of one pair each; see `evaluation_clips.stereo_clips` for the names.
        scenes: folder of render_scenes.py, of another seed than the training's.
        most: of the rendered scenes.
        matched: folder of rectified pairs without known depth, see `matched_pairs`.

    Raises:
        DataError: `scenes` or `matched` has none, or is damaged.
        ValueError: a pair's file is missing.
        VideoError: a picture cannot be read.
    """
    for folder in stereo:
        if not folder.is_dir():
            raise ValueError(f"{folder}: expected a folder with a stereo pair, there is none")
        left, _, disparity = read_stereo_pair(folder)
        unknown = ~disparity.isfinite() | (disparity <= 0)
        yield TrueScene(folder.name, left, disparity.masked_fill(unknown, torch.nan))
    for _, left, disparity in matched_pairs(matched) if matched is not None else ():
        yield TrueScene("matched", left, disparity)
    for entry in list_views(scenes)[:most] if scenes is not None else ():
        view = entry.read()
        picture = torch.from_numpy(view.picture).permute(2, 0, 1)[None].float() / 255
        yield TrueScene("rendered", picture, torch.from_numpy(view.inverse_depth)[None, None])


def estimate(depth: DepthEstimator | None, picture: Tensor) -> Tensor:
    """Return raw inverse depth `[1, 1, H, W]` of `[1, 3, H, W]`; None = a vertical ramp."""
    if depth is None:
        h, w = picture.shape[-2:]
        return torch.linspace(0, 1, h).view(1, 1, h, 1).expand(1, 1, h, w)
    raw, state = depth.predict(picture, None, new_shot=True)
    if not len(raw):
        raw = depth.flush(state)
    low, high = raw.amin(), raw.amax()
    # In [0, 1] without losing anything: what is fitted has any scale and shift.
    return upsample_inverse_depth((raw - low) / (high - low).clamp(min=1e-12), picture)


def evaluate(
    scenes: Iterator[TrueScene], estimators: dict[str, DepthEstimator | None]
) -> dict[tuple[str, str], list[DepthScores]]:
    """Return the scores of each kind of scene and estimator, one for each picture."""
    table: dict[tuple[str, str], list[DepthScores]] = {}
    for scene in scenes:
        for name, depth in estimators.items():
            scores = depth_scores(estimate(depth, scene.picture), scene.inverse_depth)
            table.setdefault((scene.kind, name), []).append(scores)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        estimators = {
            name: None if name == GRADIENT else load_depth(name) for name in options.depth
        }
        scenes = held_out_scenes(
            options.stereo, options.scenes, options.most, matched=options.matched
        )
        table = evaluate(scenes, estimators)
    except (VideoError, DataError, DepthError, ValueError, OSError) as error:
        print(f"evaluate_depth_accuracy: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print("| scenes | estimator | AbsRel | delta < 1.25 | point pairs in order |")
    print("|---|---|---|---|---|")
    for (kind, name), scores in table.items():
        means = torch.tensor([[s.abs_rel, s.delta, s.ordinal] for s in scores]).nanmean(0).tolist()
        what = f"{kind} ({len(scores)})" if len(scores) > 1 else kind
        print(f"| {what} | {name} | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.3f} |")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure depth estimators against true depth.")
    add = parser.add_argument
    add("--stereo", type=Path, nargs="+", default=[], help="folders of stereo pairs")
    add("--matched", type=Path, help="folder of rectified pairs whose depth is not known")
    add("--scenes", type=Path, help="folder of rendered scenes")
    add("--most", type=int, default=150, help="of the rendered scenes")
    add("--depth", nargs="+", default=["mini", "cues", GRADIENT], help="estimators")
    return parser


if __name__ == "__main__":
    sys.exit(main())
