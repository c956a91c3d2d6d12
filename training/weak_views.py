"""Real pictures with an estimated depth, of a weak teacher, for the depth network.

    python training/weak_views.py OUT --photos FOLDER --videos FOLDER_OR_FILE... [--weight 0.25]
        [--teacher runs/mini_depth/model.safetensors | tcmonodepth_small.pt.tar]
    python training/weak_views.py OUT --parallax FILM_OR_FOLDER... [--teacher FILE]

The weight-free estimator knows little (lower is nearer, figures stand out, what moves is near), but
on real photographs and films, which rendered scenes are not. A network that has learnt from both
can teach the next one: the mean of its answers at several sizes, mirrored and not, is better than
each of them ("Depth Anything", 2024, Sec. 3.2: the student sees the pictures changed). Such samples
count less than true ones.

A published network's file (`making/teacher_network.py`) teaches together with the embedded network.
Its edges are soft by several pixels, so such views are marked soft: only their large forms count.

With `--parallax` the teacher is the camera's own motion (`making/parallax.py`): films, and folders
of photographs of one still scene each. Parts of such views are unknown. With `--teacher`, those
whose order it contradicts are left out: things that move with the camera look far.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from data.depth_shards import DepthView, DepthWriter
from data.files import DataError
from dreamstereo_core import VideoError, read_frames
from dreamstereo_core.depth import DepthError, EmbeddedDepth
from dreamstereo_core.depth.mini import MiniDepth, is_mini_depth, load_mini_depth
from engine.settings import load_settings
from evaluation.depth_scores import LEAST_PAIR_STEP, RANGE, ordinal_accuracy
from making.clips import PHOTOS, find_sources
from making.media import TABLE, Media
from making.parallax import WIDTH, Seen, film_views, photo_views
from making.teacher_network import load_teacher, resized, taught_by_published

SIZE = (224, 384)
LARGE = (448, 768)
"""As which pictures are cut out; teachers look at their own sizes, views are stored at `SIZE`."""
LEAST_CROP = 0.5
SIZES = (320, 384, 512)
"""At which the network that teaches looks at a picture."""
CUES = 0.25
"""Share of the weight-free estimator beside it."""
RUN = 4
"""Frames of a film seen together: motion is one of the teacher's cues."""
BLOCK = 240
"""Frames of a film among which its camera's motion is looked for."""
LEAST_ORDER = 0.7
"""Of point pairs in a view by parallax, in the order that the teacher gives them."""


def photo_clips(folders: Sequence[Path], crops: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield crops `[1, 3, 448, 768]` of the photographs that the evaluation leaves for training."""
    held_out = load_settings(Media, TABLE).held_out
    for path in (path for folder in folders for path in sorted(folder.glob("*.jpg"))):
        image = None if path.name in held_out else cv2.imread(str(path))
        if image is None:
            continue
        picture = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
        yield from (crop(picture, rng) for _ in range(crops))


def film_clips(sources: list[Path], runs: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield runs `[RUN, 3, 448, 768]` from all over each film."""
    for path in sources:
        try:
            total = sum(1 for _ in read_frames(path))
            starts = sorted(rng.integers(0, max(1, total - RUN), runs).tolist())
            for start in starts if total >= RUN else ():
                frames = [frame.pixels for frame in islice(read_frames(path, start), RUN)]
                if len(frames) == RUN:
                    yield crop(torch.stack(frames), rng)
        except VideoError as error:
            print(f"left out: {error}", file=sys.stderr)


def crop(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Cut the frame's aspect out of `[T, 3, H, W]`, as large as it goes or down to half of it."""
    h, w = frames.shape[-2:]
    scale = min(h / SIZE[0], w / SIZE[1]) * rng.uniform(LEAST_CROP, 1.0)
    ch, cw = max(1, int(SIZE[0] * scale)), max(1, int(SIZE[1] * scale))
    y, x = int(rng.integers(h - ch + 1)), int(rng.integers(w - cw + 1))
    part = frames[..., y : y + ch, x : x + cw]
    return resized(part, LARGE)


def cues_of(clip: Tensor) -> Tensor:
    """Return the weight-free estimator's raw inverse depth `[1, 1, 224, 384]` of the last frame."""
    raw, _ = EmbeddedDepth().predict(resized(clip, SIZE), None, new_shot=True)
    return F.interpolate(raw[-1:], SIZE, mode="bilinear")


def taught_by(network: MiniDepth, clip: Tensor) -> Tensor:
    """Return a network's mean answer to the last frame, in several sizes and mirrored, and cues.

    Args:
        network: its working size is changed.
        clip: `[T, 3, 448, 768]`.
    """
    picture, answers = resized(clip[-1:], SIZE), []
    for network.size in SIZES:
        answers.append(ranged(network.predict(picture)[0]))
        answers.append(ranged(network.predict(picture.flip(-1))[0].flip(-1)))
    return torch.lerp(torch.stack(answers).mean(0), ranged(cues_of(clip)), CUES)


def parallax_views(sources: Sequence[Path]) -> Iterator[tuple[np.ndarray, Seen]]:
    """Yield pictures of films, and of folders of photographs, whose depth the motion shows.

    Raises:
        VideoError: a film cannot be read.
    """
    for source in sources:
        if source.is_dir():
            paths = sorted(path for path in source.iterdir() if path.suffix.lower() in PHOTOS)
            photos = (cv2.imread(str(path)) for path in paths)
            yield from photo_views([_long(x[..., ::-1]) for x in photos if x is not None])
            continue
        frames = read_frames(source)
        while block := [_long(_bytes(frame.pixels)) for frame in islice(frames, BLOCK)]:
            yield from film_views(block)


def _bytes(picture: Tensor) -> np.ndarray:
    return (picture * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _long(picture: np.ndarray, side: int = WIDTH) -> np.ndarray:
    """Return `[h, w, 3]` with this longer side."""
    scale = side / max(picture.shape[:2])
    size = [max(1, round(x * scale)) for x in picture.shape[1::-1]]
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)


def parallax_view(picture: np.ndarray, seen: Seen, weight: float) -> DepthView:
    """Return them at the views' width."""
    small = _long(picture, SIZE[1])
    size = small.shape[1::-1]
    inverse = seen.inverse_depth.astype(np.float32)
    inverse = cv2.resize(inverse, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return DepthView(small, inverse - np.nanmin(inverse), weight, soft=True)


def contradicts(teacher: Callable[[Tensor], Tensor], view: DepthView) -> bool:
    """Return whether the teacher orders too many points of a view the other way round."""
    clip = torch.from_numpy(view.picture).permute(2, 0, 1)[None].float() / 255
    answer = F.interpolate(teacher(resized(clip, LARGE)), view.inverse_depth.shape, mode="bilinear")
    truth = torch.from_numpy(view.inverse_depth)
    known = truth.isfinite()
    low, high = torch.quantile(truth[known], torch.tensor(RANGE)).tolist()
    least = LEAST_PAIR_STEP * (high - low)
    order = ordinal_accuracy(answer[0, 0][known], truth[known], least, pairs=20000, seed=0)
    return order < LEAST_ORDER


def ranged(raw: Tensor) -> Tensor:
    """Return it at the views' size with its 2nd and 98th percentile at 0 and 1."""
    raw = F.interpolate(raw, SIZE, mode="bilinear")
    low, high = torch.quantile(raw.flatten(), torch.tensor((0.02, 0.98)))
    return (raw - low) / (high - low).clamp(min=1e-6)


def find_teacher(path: Path | None) -> tuple[Callable[[Tensor], Tensor], bool]:
    """Return what gives a clip's last frame inverse depth, and whether its edges are soft.

    Raises:
        CheckpointError, DepthError, FileNotFoundError: the file is no network's that can teach.
    """
    if path is None:
        return cues_of, False
    if is_mini_depth(path):
        return partial(taught_by, load_mini_depth(path, device="cpu")), False
    beside = load_mini_depth(device="cpu")
    return partial(taught_by_published, load_teacher(path), beside), True


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the views; return the exit code."""
    options = _parser().parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    try:
        teacher, soft = find_teacher(options.teacher)
        writer = DepthWriter(options.out, "weak")
        if writer.shards:
            raise DataError(f"{options.out}: expected a folder without weak views")
        for picture, seen in tqdm(parallax_views(options.parallax)):
            view = parallax_view(picture, seen, options.weight)
            if options.teacher is None or not contradicts(teacher, view):
                writer.add(view)
        sources = find_sources(options.videos, []) if options.videos else []
        photos = photo_clips(options.photos, options.crops, rng)
        for clips in (photos, film_clips(sources, options.runs, rng)):
            for clip in tqdm(clips):
                inverse = teacher(clip)[0, 0]
                picture = resized(clip[-1:], SIZE)[0].permute(1, 2, 0)
                picture = (picture * 255).round().to(torch.uint8).numpy()
                inverse = (inverse - inverse.amin()).numpy()
                writer.add(DepthView(picture, inverse, options.weight, soft))
        writer.flush()
    except (DataError, DepthError, VideoError, ValueError, OSError) as error:
        print(f"weak_views: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Real pictures with a weak teacher's depth.")
    add = parser.add_argument
    add("out", type=Path, help="folder of the shards")
    add("--photos", type=Path, nargs="+", default=[], help="folders of photographs, *.jpg")
    add("--crops", type=int, default=3, help="of each photograph")
    add("--videos", type=Path, nargs="+", default=[], help="films or folders of them")
    add("--runs", type=int, default=6, help="short runs of each film")
    add("--parallax", type=Path, nargs="+", default=[],
        help="films, and folders of photographs of one still scene")  # fmt: skip
    add("--teacher", type=Path, help="a depth network's file; without it the weight-free estimator")
    add("--weight", type=float, default=0.25, help="of a sample, beside 1 for a true one")
    add("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
