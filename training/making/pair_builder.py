"""What a pair is made of: a clip for the right eye, its depth, the holes of a second projection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from data.pair_dataset import random_holes
from data.pair_shards import Pair
from data.random_streams import random_stream
from dreamstereo_core import inverse_depth_to_disparity, load_depth, read_frames
from dreamstereo_core.depth import DepthEstimator, upsample_inverse_depth, with_depth
from dreamstereo_core.masks import dilate
from dreamstereo_core.pbdp import pair_holes
from dreamstereo_core.shots import BarDetector, ShotDetector, find_shots
from dreamstereo_core.stream import Frame
from dreamstereo_core.types import Disparity, InverseDepth, OcclusionMask, Video
from making.clips import longest_shot, read_windows, there_and_back, uniform
from making.composites import layered_composite
from making.first_fill import first_fill
from making.forward_warp import forward_holes
from making.photo_clip import photo_clip
from making.relief import parallax_depth, segment_planes
from making.supplied_depth import supplied_depth

OWN_DEPTHS = ("planes", "parallax")
WARPS = ("gapw", "forward", "random")
"""PBDP; TrajectoryCrafter's double projection; holes that have nothing to do with the picture."""
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
    fill: bool = False
    """Keep first fills, which `mini` alone learns from."""
    soft: float = 0.0
    """Share of clips that are made as soft as if they had been enlarged."""
    warp: str = "gapw"
    """What opens the holes, one of `WARPS`: the paper's Table 3."""

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
        if self.warp not in WARPS:
            raise ValueError(f"warp: expected one of {', '.join(WARPS)}, got {self.warp!r}")
        if self.fill and self.warp != "gapw":
            raise ValueError(
                f"fill: expected warp=gapw, whose sheet it starts from, got {self.warp}"
            )


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
    """Turns one source after the other into pairs.

    Args:
        options: what the pairs are like.
        depths: depth files by source.
    """

    def __init__(self, options: PairOptions, depths: Mapping[Path, Path] | None = None):
        self.options, self.depths = options, depths or {}
        name = "cues" if options.depth in OWN_DEPTHS else options.depth
        self.depth = load_depth(name, allow_download=True)
        self.report = Report()

    def video_pairs(self, path: Path, name: str) -> list[Pair]:
        """Return the pairs of one video: windows spread over it, none across a cut."""
        generator = random_stream(self.options.seed, name)
        pairs = []
        for start, video, place in read_windows(path, self.options, generator):
            if len(video) <= self.options.frames // 4:
                self.report.left_out["too short"] += 1
                continue
            first, stop = longest_shot(video)
            if stop - first < len(video) // 2 + 1:
                self.report.left_out["cut too often"] += 1
                continue
            shot, start = video[first:stop], start + first
            if path in self.depths:
                given = supplied_depth(self.depths[path], path, start, len(shot), place)
                inverse_depth = as_at_inference(given, shot)
            else:
                inverse_depth = self._estimate(shot, generator)
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
        if path in self.depths:
            given = supplied_depth(self.depths[path], path, 0, 1)
            inverse_depth = as_at_inference(given, photo[None])[0]
        else:
            inverse_depth = self._estimate(photo[None], generator)[0]
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

    def _estimate(self, video: Video, generator: torch.Generator) -> InverseDepth:
        estimated = None
        if self.options.depth == "parallax":
            estimated = parallax_depth(video)  # None where nothing moves
        if self.options.depth not in OWN_DEPTHS:
            return torch.cat(list(_estimated(video, self.depth)))
        if estimated is None:
            estimated = self.depth.estimate(video)
        seed = int(torch.randint(2**31, (), generator=generator))
        return as_at_inference(segment_planes(estimated, video, seed=seed), video)

    def _pair(
        self,
        video: Video,
        inverse_depth: InverseDepth,
        generator: torch.Generator,
        info: dict[str, Any],
    ) -> list[Pair]:
        max_disparity = uniform(generator, *self.options.max_disparity)
        how = {"max_disparity": max_disparity, "convergence": uniform(generator, *CONVERGENCE)}
        disparity = torch.cat(
            [inverse_depth_to_disparity(d, **how) for d in inverse_depth.split(1)]
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
        mask, seen_disparity = open_holes(disparity, self.options.warp, generator)
        if (mask > 0).float().mean() < LEAST_HOLES:
            self.report.left_out["without holes"] += 1
            return []
        frames = torch.stack([(frame * 255).round_().to(torch.uint8) for frame in video])
        fill = first_fill(frames, mask, seen_disparity) if self.options.fill else None
        return [Pair(frames, mask[:, 0] > 0, info, fill)]


def open_holes(
    disparity: Disparity, warp: str, generator: torch.Generator
) -> tuple[OcclusionMask, Disparity]:
    """Return the holes of a clip, and for PBDP's the disparity behind them, else the clip's own.

    Args:
        disparity: `[T, 1, H, W]` in pixels of its own width.
        warp: one of `WARPS`.
        generator: of random holes; it is left as it was, so that the clips are the same with all.
    """
    if warp == "random":
        own = torch.Generator()
        own.set_state(generator.get_state())
        frames, _, height, width = disparity.shape
        holes = random_holes(frames, height, width, generator=own)
        return holes.unsqueeze(1).float(), disparity
    # One frame after the other: the memory of a whole clip costs more time than the work in it.
    if warp == "forward":
        return torch.cat([forward_holes(d) for d in disparity.split(1)]), disparity
    mask, seen_disparity = map(torch.cat, zip(*map(pair_holes, disparity.split(1)), strict=True))
    return mask, seen_disparity


def as_at_inference(inverse_depth: InverseDepth, video: Video) -> InverseDepth:
    """Enlarge inverse depth to the clip's size, near things grown as `StereoPipeline` grows them.

    A small depth's near things grow as it is enlarged; others by 1 pixel for 640 of the width.
    """
    width = video.shape[-1]
    growth = 0 if inverse_depth.shape[-1] < width else round(width / 640)
    pieces = zip(inverse_depth.split(1), video.split(1), strict=True)
    return torch.cat([dilate(upsample_inverse_depth(d, v), growth) for d, v in pieces])


def _estimated(video: Video, estimator: DepthEstimator) -> Iterator[InverseDepth]:
    """Yield each frame's depth as the pipeline warps by it; bars get that of the picture's edge."""
    for frame in with_depth(
        find_shots(map(Frame, video), ShotDetector(), BarDetector()), estimator
    ):
        awake = frame.awake()
        inside = as_at_inference(awake.inverse_depth, awake.picture)
        yield F.pad(inside, awake.bars.sides, mode="replicate") if awake.bars else inside


def soften(video: Video, factor: float) -> Video:
    """Return frames as if they had been enlarged by `factor`."""
    size = [max(16, round(n / factor)) for n in video.shape[-2:]]
    small = F.interpolate(video, size, mode="bilinear", antialias=True)
    return F.interpolate(small, video.shape[-2:], mode="bilinear").clamp(0, 1)
