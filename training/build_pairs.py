"""Training pairs by PBDP from any folder of videos and photos.

    python training/build_pairs.py FOLDER [FOLDER ...] --out pairs [--size 256x448] [--frames 17]
        [--depth planes|parallax|auto|embedded|MODEL] [--depths FOLDER] [--composites 200]
        [--exclude FOLDER] [--no-fill]

Each clip is taken for the right eye; its disparity, with a random strength, opens the holes of a
second projection in it. Composites of two photos have exact disparities. Beside its holes a clip's
first fill is kept, which `mini` learns to make better. The folder that is written holds shards and
a contact sheet; an interrupted run goes on where it was.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from tqdm import tqdm

from data.files import DataError
from data.pair_shards import Pair, PairWriter, list_pairs
from data.random_streams import random_stream
from dreamstereo_core import (
    VideoError,
    build_pair,
    inverse_depth_to_disparity,
    load_depth,
    read_frames,
)
from dreamstereo_core.depth import DepthError, DepthEstimator
from dreamstereo_core.masks import dilate
from dreamstereo_core.types import Disparity, InverseDepth, Video
from engine.pictures import contact_sheet, paint_mask, write_png
from making.clips import (
    PHOTOS,
    find_sources,
    longest_shot,
    read_windows,
    there_and_back,
    uniform,
)
from making.composites import layered_composite
from making.first_fill import first_fill
from making.photo_clip import photo_clip
from making.relief import parallax_depth, segment_planes

OWN_DEPTHS = ("planes", "parallax")
LEAST_HOLES = 5e-4
"""Part of the pixels; a clip with fewer holes teaches nothing."""
CONVERGENCE = (0.2, 0.8)
ENLARGED = 3.0
"""Most that soft clips seem to have been enlarged."""


@dataclass(frozen=True)
class PairOptions:
    """What the pairs are like."""

    frames: int = 17
    height: int = 256
    width: int = 448
    clips: int = 4
    """Of each video at most."""
    photo_clips: int = 2
    """Of each photo."""
    composites: int = 0
    depth: str = "planes"
    max_disparity: tuple[float, float] = (3.0, 8.0)
    """Range in percent of the width (paper: 0.03 to 0.08 of it)."""
    seed: int = 0
    fill: bool = True
    """Keep first fills."""
    soft: float = 0.0
    """Share of clips that are made as soft as if they had been enlarged."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 4 != 1:
            raise ValueError(f"frames: expected 4n + 1 (1, 5, 9, ...), got {self.frames}")
        if min(self.height, self.width) < 16 or self.height % 16 or self.width % 16:
            raise ValueError(
                f"size: expected multiples of 16 pixels, got {self.width}x{self.height}"
            )
        low, high = self.max_disparity
        if not 0 < low <= high <= 50:
            raise ValueError(f"max_disparity: expected 0 < low <= high <= 50, got {low}, {high}")
        if not 0 <= self.soft <= 1:
            raise ValueError(f"soft: expected 0 to 1, got {self.soft}")


@dataclass
class Report:
    """What a run did."""

    pairs: int = 0
    sources: int = 0
    skipped: list[str] = field(default_factory=list)
    """One line for each source that could not be used."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Clips, by reason."""


class PairBuilder:
    """Turns one source after the other into pairs."""

    def __init__(self, options: PairOptions, depths: Path | None = None):
        self.options, self.depths = options, depths
        name = "cues" if options.depth in OWN_DEPTHS else options.depth
        self.depth = load_depth(name, allow_download=True)
        self.report = Report()

    def video_pairs(self, path: Path, name: str) -> list[Pair]:
        """Return the pairs of one video: windows spread over it, none across a cut."""
        generator = random_stream(self.options.seed, name)
        pairs = []
        for start, video in read_windows(path, self.options, generator):
            if len(video) <= self.options.frames // 4:
                self.report.left_out["too short"] += 1
                continue
            shot = longest_shot(video)
            if len(shot) < len(video) // 2 + 1:
                self.report.left_out["cut too often"] += 1
                continue
            inverse_depth = self._estimate(path, shot, start, generator)
            pairs += self._pair(shot, inverse_depth, generator, {"kind": "video", "start": start})
        return pairs

    def photo_pairs(self, path: Path, name: str) -> list[Pair]:
        """Return the pairs of one photo."""
        options = self.options
        generator = random_stream(options.seed, name)
        photo = next(read_frames(path)).pixels
        most = 3 * max(options.height, options.width)
        if max(photo.shape) > most:
            factor = most / max(photo.shape)
            photo = F.interpolate(photo[None], scale_factor=factor, mode="area")[0]
        inverse_depth = self._estimate(path, photo[None], 0, generator)[0]
        pairs = []
        for _ in range(options.photo_clips):
            video, clip_depth = photo_clip(
                photo,
                inverse_depth,
                frames=options.frames,
                height=options.height,
                width=options.width,
                generator=generator,
            )
            pairs += self._pair(video, clip_depth, generator, {"kind": "photo"})
        return pairs

    def composite_pairs(self, photos: list[Path], name: str) -> list[Pair]:
        """Return the pair of one layered composite, whose disparity is exact."""
        options = self.options
        generator = random_stream(options.seed, name)
        chosen = torch.randint(len(photos), (2,), generator=generator).tolist()
        layers = [next(read_frames(photos[i])).pixels for i in chosen]
        max_disparity = uniform(generator, *options.max_disparity)
        clip = layered_composite(
            *layers,
            frames=options.frames,
            height=options.height,
            width=options.width,
            max_disparity=max_disparity,
            generator=generator,
        )
        info = {"kind": "composite", "max_disparity": max_disparity}
        return self._finish(clip.video, clip.disparity, info, generator)

    def _estimate(
        self, path: Path, video: Video, start: int, generator: torch.Generator
    ) -> InverseDepth:
        supplied = self._supplied(path, start)
        if supplied is not None:
            return supplied.estimate(video)
        estimated = None
        if self.options.depth == "parallax":
            estimated = parallax_depth(video)  # None where nothing moves
        if estimated is None:
            estimated = self.depth.estimate(video)
        if self.options.depth in OWN_DEPTHS:
            seed = int(torch.randint(2**31, (), generator=generator))
            estimated = segment_planes(estimated, video, seed=seed)
        return estimated

    def _supplied(self, path: Path, start: int) -> DepthEstimator | None:
        if self.depths is None:
            return None
        files = sorted(self.depths.glob(f"{path.stem}.*"))
        return load_depth(files[0], start=start) if files else None

    def _pair(
        self,
        video: Video,
        inverse_depth: InverseDepth,
        generator: torch.Generator,
        info: dict[str, Any],
    ) -> list[Pair]:
        max_disparity = uniform(generator, *self.options.max_disparity)
        disparity = inverse_depth_to_disparity(
            dilate(inverse_depth, 1),  # the soft border belongs to the near side, as at inference
            max_disparity=max_disparity,
            convergence=uniform(generator, *CONVERGENCE),
        )
        info = {**info, "max_disparity": max_disparity}
        return self._finish(video, disparity, info, generator)

    def _finish(
        self,
        video: Video,
        disparity: Disparity,
        info: dict[str, Any],
        generator: torch.Generator,
    ) -> list[Pair]:
        frames = self.options.frames
        if self.options.soft and uniform(generator, 0, 1) < self.options.soft:
            video = soften(video, uniform(generator, 1.2, ENLARGED))
        if len(video) < frames:
            order = there_and_back(len(video), frames)
            video, disparity = video[order], disparity[order]
            self.report.left_out["short, played to and fro"] += 1
        pair = build_pair(video, disparity)
        mask = pair.occlusion_mask
        if (mask > 0).float().mean() < LEAST_HOLES:
            self.report.left_out["without holes"] += 1
            return []
        frames = (video * 255).round().to(torch.uint8)
        fill = first_fill(frames, mask, pair.disparity) if self.options.fill else None
        return [Pair(frames, mask[:, 0] > 0, info, fill)]


def soften(video: Video, factor: float) -> Video:
    """Return frames as if they had been enlarged by `factor`."""
    size = [max(16, round(n / factor)) for n in video.shape[-2:]]
    small = F.interpolate(video, size, mode="bilinear", antialias=True)
    return F.interpolate(small, video.shape[-2:], mode="bilinear").clamp(0, 1)


def build(
    folders: list[Path],
    out: Path,
    options: PairOptions,
    *,
    exclude: Sequence[Path] = (),
    depths: Path | None = None,
    quality: int = 95,
) -> Report:
    """Write the pairs of all sources; sources that are done already are left alone.

    Raises:
        DataError: there is no source, `out` holds other pairs, or the disk takes no more.
        DepthError: the depth model cannot be used.
    """
    sources = find_sources(folders, list(exclude))
    photos = [path for path in sources if path.suffix.lower() in PHOTOS]
    if options.composites and not photos:
        raise DataError("composites: expected photos to make them of, found none")
    settings = {key: value for key, value in vars(options).items() if key != "composites"}
    if not options.fill:
        del settings["fill"]  # as in the shards of before there were fills
    if not options.soft:
        del settings["soft"]
    writer = PairWriter(out, settings, quality)
    builder = PairBuilder(options, depths)
    jobs: list[tuple[str, Callable[[str], list[Pair]]]] = []
    for path in sources:
        make = builder.photo_pairs if path in photos else builder.video_pairs
        jobs.append((str(path), lambda name, path=path, make=make: make(path, name)))
    for i in range(options.composites):
        jobs.append((f"composite {i}", lambda name: builder.composite_pairs(photos, name)))
    report = builder.report
    try:
        for name, make in tqdm(jobs, unit="source", disable=None):
            if name in writer.done:
                continue
            try:
                pairs = make(name)
            except (VideoError, DepthError) as error:
                report.skipped.append(str(error))
                continue
            writer.add(name, pairs)
            report.sources += 1
    finally:
        writer.flush()
    report.pairs = writer.written
    return report


def write_sheet(folder: Path, count: int = 16) -> Path:
    """Draw pairs of a folder, evenly chosen: first frame, holes, the middle and the last frame."""
    entries = list_pairs(folder)
    rows = []
    for entry in entries[:: max(1, len(entries) // count)][:count]:
        pair = entry.read()
        video, mask = pair.frames / 255, pair.mask.unsqueeze(1)
        painted = paint_mask(video, mask)
        middle = len(video) // 2
        rows.append([video[0], painted[0], painted[middle], painted[-1]])
    half = (len(rows) + 1) // 2
    pairs_of_rows = [a + b for a, b in zip(rows[:half], [*rows[half:], []], strict=False)]
    path = folder / "contact_sheet.png"
    write_png(path, contact_sheet(pairs_of_rows))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Build pairs as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Training pairs from videos and photos.")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="448x256", metavar="WxH")
    parser.add_argument("--frames", type=int, default=17, help="4n + 1")
    parser.add_argument("--clips", type=int, default=4, help="of each video, at most")
    parser.add_argument("--photo-clips", type=int, default=2, help="of each photo")
    parser.add_argument("--composites", type=int, default=0, help="made of the photos")
    parser.add_argument("--depth", default="planes", help="planes, parallax, or as for the command")
    parser.add_argument("--depths", type=Path, help="folder of depth files with the clips' names")
    parser.add_argument("--max-disparity", type=float, nargs=2, default=(3.0, 8.0), metavar="PCT")
    parser.add_argument("--exclude", type=Path, action="append", default=[])
    parser.add_argument("--quality", type=int, default=95, help="of JPEG; 0 = lossless")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soft", type=float, default=0.0, help="share of soft clips")
    parser.add_argument("--no-fill", action="store_true", help="keep no first fills")
    args = parser.parse_args(arguments)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        width, height = (int(n) for n in args.size.split("x"))
        options = PairOptions(
            args.frames,
            height,
            width,
            args.clips,
            args.photo_clips,
            args.composites,
            args.depth,
            tuple(args.max_disparity),
            args.seed,
            not args.no_fill,
            args.soft,
        )
        report = build(
            args.folders,
            args.out,
            options,
            exclude=args.exclude,
            depths=args.depths,
            quality=args.quality,
        )
        sheet = write_sheet(args.out)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (ValueError, DepthError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    for line in report.skipped:
        print(f"skipped: {line}")
    for reason, count in report.left_out.items():
        print(f"clips {reason}: {count}")
    print(f"{report.pairs} pairs in {args.out}; {len(report.skipped)} sources skipped; see {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
