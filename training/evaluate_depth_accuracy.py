"""Measure depth estimators against true depth: stereo pairs, and rendered scenes held out.

    python training/evaluate_depth_accuracy.py --stereo media/eval/motorcycle media/eval/aloe
        --matched media/eval/oak-d media/eval/middlebury --scenes depth_held_out
        --depth mini cues gradient --half choose
    python training/evaluate_depth_accuracy.py --matched media/eval/oak-d --photos a.jpg b.jpg
        --depth before.safetensors mini --picture examples.jpg

A pair's disparity is its inverse depth but for scale and shift, which are fitted in every picture.
"gradient" is a plain vertical ramp, near at the bottom; "taught:FILE" is what `weak_views.py` makes
of a published network; every other name is `load_depth`'s.

Every other picture of a kind, in the order of their names, is for choosing between networks; the
rest is looked at once, when the choice is made.

With `--picture` the photographs themselves are shown, not measured: each with what every estimator
says, and with its truth where that is known.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from data.depth_shards import list_views
from data.files import DataError
from dreamstereo_core import VideoError, load_depth, read_frames
from dreamstereo_core.depth import DepthError, DepthEstimator
from dreamstereo_core.depth.mini import load_mini_depth
from engine.pictures import contact_sheet, show_depth, two_columns, write_png
from evaluation.clips import read_stereo_pair
from evaluation.depth_scores import DepthScores, depth_scores
from evaluation.stereo_matching import REACH, matched_pairs
from making.teacher_network import load_teacher, taught_by_published

Predict = Callable[[Tensor], Tensor]
GRADIENT = "gradient"
TAUGHT = "taught:"
HALVES = ("choose", "final")
EXAMPLE_HEIGHT = 120
"""Pixels of a photograph in `--picture`."""
SHIFTS = {"motorcycle": 31.086, "aloe": None, "middlebury": None}
"""Pixels between the principal points, to be added to a disparity (scikit-image's docstring of
`stereo_motorcycle`); None = not known."""
HEADINGS = {
    "abs_rel": "AbsRel",
    "delta": "delta < 1.25",
    "ordinal": "point pairs in order",
    "disparity": "disparity error, %",
    "edge_step": "step at borders",
    "edge_offset": "borders off by, px of 384",
}


@dataclass(frozen=True)
class TrueScene:
    """A picture `[1, 3, H, W]` in [0, 1] and its inverse depth `[1, 1, H, W]`, NaN = unknown.

    The inverse depth has any scale; scenes of one kind share a row of the table.
    """

    kind: str
    picture: Tensor
    inverse_depth: Tensor
    shifted: bool = False
    """Whether a shift is missing that nobody knows."""


def held_out_scenes(
    stereo: Sequence[Path] = (),
    scenes: Path | None = None,
    most: int = 150,
    *,
    matched: Sequence[Path] = (),
    reach: int = REACH,
) -> Iterator[TrueScene]:
    """Yield the left views of stereo pairs by name, of matched ones, then rendered scenes.

    Args:
        stereo: folders of one pair each; see `evaluation_clips.stereo_clips` for the names.
        scenes: folder of render_scenes.py, of another seed than the training's.
        most: of the rendered scenes.
        matched: folders of rectified pairs without known depth, see `matched_pairs`.
        reach: the largest disparity of these, in pixels, a multiple of 16.

    Raises:
        DataError: `scenes` or one of `matched` has none, or is damaged.
        ValueError: a pair's file is missing.
        VideoError: a picture cannot be read.
    """
    for folder in sorted(stereo, key=lambda path: path.name):
        if not folder.is_dir():
            raise ValueError(f"{folder}: expected a folder with a stereo pair, there is none")
        left, _, disparity = read_stereo_pair(folder)
        yield _scene(folder.name, "stereo", left, disparity)
    for folder in matched:
        for _, left, disparity in matched_pairs(folder, reach):
            yield _scene(folder.name, folder.name, left, disparity)
    for entry in islice(list_views(scenes), most) if scenes is not None else ():
        view = entry.read()
        picture = torch.from_numpy(view.picture).permute(2, 0, 1)[None].float() / 255
        yield TrueScene("rendered", picture, torch.from_numpy(view.inverse_depth)[None, None])


def _scene(name: str, kind: str, left: Tensor, disparity: Tensor) -> TrueScene:
    unknown = ~disparity.isfinite() | (disparity <= 0)
    shift = SHIFTS.get(name, 0.0)
    inverse = (disparity + (shift or 0.0)).masked_fill(unknown, torch.nan)
    return TrueScene(kind, left, inverse, shift is None)


def half_of(scenes: Iterator[TrueScene], half: str | None) -> Iterator[TrueScene]:
    """Yield every other scene of each kind: the first and on ("choose"), the second and on."""
    seen: dict[str, int] = {}
    for scene in scenes:
        seen[scene.kind] = number = seen.get(scene.kind, -1) + 1
        if half is None or number % len(HALVES) == HALVES.index(half):
            yield scene


def load_estimators(names: Sequence[str]) -> dict[str, Predict]:
    """Return what gives a picture raw inverse depth, by name.

    Raises:
        DepthError, ValueError, OSError: a name or a file is none that can be used.
    """
    estimators: dict[str, Predict] = {}
    for name in names:
        if name == GRADIENT:
            estimators[name] = gradient
        elif name.startswith(TAUGHT):
            beside = load_mini_depth(device="cpu")
            teacher = load_teacher(name.removeprefix(TAUGHT))
            estimators["taught"] = partial(taught_by_published, teacher, beside)
        else:
            estimators[name] = partial(predict, load_depth(name))
    return estimators


def gradient(picture: Tensor) -> Tensor:
    """Return a vertical ramp, near at the bottom."""
    h, w = picture.shape[-2:]
    return torch.linspace(0, 1, h).view(1, 1, h, 1).expand(1, 1, h, w)


def predict(depth: DepthEstimator, picture: Tensor) -> Tensor:
    """Return raw inverse depth `[1, 1, h, w]` of a shot of one picture."""
    raw, state = depth.predict(picture, None, new_shot=True)
    return raw if len(raw) else depth.flush(state)


def evaluate(
    scenes: Iterator[TrueScene], estimators: dict[str, Predict]
) -> dict[tuple[str, str], list[DepthScores]]:
    """Return the scores of each kind of scene and estimator, one for each picture.

    Answers are enlarged bilinearly: what is measured is the estimator's own.
    """
    table: dict[tuple[str, str], list[DepthScores]] = {}
    for scene in scenes:
        for name, estimator in estimators.items():
            size = scene.picture.shape[-2:]
            raw = F.interpolate(estimator(scene.picture), size, mode="bilinear")
            scores = depth_scores(raw, scene.inverse_depth, shifted=scene.shifted)
            table.setdefault((scene.kind, name), []).append(scores)
    return table


def examples(
    scenes: Iterator[TrueScene], photos: Sequence[Path], estimators: dict[str, Predict]
) -> list[list[Tensor]]:
    """Return rows of pictures, 4:3: a photograph, each estimator's depth, the true one or white.

    Raises:
        VideoError: a photograph cannot be read.
    """
    shown = [(scene.picture, show_depth(scene.inverse_depth[0])) for scene in scenes]
    frames = (next(read_frames(path)).pixels for path in photos)
    shown += [(frame[None], torch.ones_like(frame)) for frame in frames]
    rows = []
    for picture, truth in shown:
        size = picture.shape[-2:]
        raw = (estimator(picture) for estimator in estimators.values())
        depths = [show_depth(F.interpolate(x, size, mode="bilinear")[0]) for x in raw]
        rows.append([_middle(x) for x in (picture[0], *depths, truth)])
    return rows


def _middle(picture: Tensor) -> Tensor:
    """Cut `[3, h, w]` down to 4:3."""
    h, w = picture.shape[-2:]
    height, width = min(h, w * 3 // 4), min(w, h * 4 // 3)
    y, x = (h - height) // 2, (w - width) // 2
    return picture[:, y : y + height, x : x + width]


def means(table: dict[tuple[str, str], list[DepthScores]]) -> Iterator[tuple[str, list[float]]]:
    """Yield the rows: each kind and estimator, then the mean of the photographs' pictures."""
    real: dict[str, list[DepthScores]] = {}
    for (kind, name), scores in table.items():
        yield f"{kind} ({len(scores)}) | {name}", _mean(scores)
        if kind != "rendered":
            real.setdefault(name, []).extend(scores)
    for name, scores in real.items():
        yield f"all photographs ({len(scores)}) | {name}", _mean(scores)


def _mean(scores: list[DepthScores]) -> list[float]:
    return torch.tensor([astuple(score) for score in scores]).nanmean(0).tolist()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        estimators = load_estimators(options.depth)
        scenes = held_out_scenes(
            options.stereo,
            options.scenes,
            options.most,
            matched=options.matched,
            reach=options.reach,
        )
        scenes = half_of(scenes, options.half)
        if options.picture is not None:
            rows = two_columns(examples(scenes, options.photos, estimators))
            write_png(options.picture, contact_sheet(rows, EXAMPLE_HEIGHT))
            return 0
        table = evaluate(scenes, estimators)
    except (VideoError, DataError, DepthError, ValueError, OSError) as error:
        print(f"evaluate_depth_accuracy: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    names = [HEADINGS[field.name] for field in fields(DepthScores)]
    print(f"| scenes | estimator | {' | '.join(names)} |")
    print("|---" * (len(names) + 2) + "|")
    for what, values in means(table):
        cells = ("-" if value != value else f"{value:.3f}" for value in values)
        print(f"| {what} | {' | '.join(cells)} |")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure depth estimators against true depth.")
    add = parser.add_argument
    add("--stereo", type=Path, nargs="+", default=[], help="folders of stereo pairs")
    add(
        "--matched",
        type=Path,
        nargs="+",
        default=[],
        help="folders of rectified pairs whose depth is not known",
    )
    add("--reach", type=int, default=REACH, help="largest disparity of these, in pixels")
    add("--scenes", type=Path, help="folder of rendered scenes")
    add("--most", type=int, default=150, help="of the rendered scenes")
    add("--half", choices=HALVES, help="of the pictures (default: all)")
    add("--picture", type=Path, metavar="FILE", help="show the photographs in this file instead")
    add("--photos", type=Path, nargs="+", default=[], help="for it: photographs without truth")
    add("--depth", nargs="+", default=["mini", "cues", GRADIENT], help="estimators")
    return parser


if __name__ == "__main__":
    sys.exit(main())
