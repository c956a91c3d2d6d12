"""All measures of one clip's fills, and their means over clips."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from evaluation.clips import Clip
from evaluation.lpips_distance import Lpips
from evaluation.metrics import (
    average,
    color_drift,
    known_exactness,
    motion,
    psnr,
    ring,
    seam_energy,
    siou,
    ssim,
    ssim_map,
    temporal_error,
)
from evaluation.perceptual import Perceptual

Scores = dict[str, float]


class Scorer:
    """Measures the fills of one clip; what depends on the truth alone is computed once.

    Args:
        clip: the clip.
        perceptual: None leaves ST-LPIPS out.
        perceptual_frames: it is measured on this many frames, evenly spaced, as is LPIPS.
        lpips: None leaves LPIPS out.
    """

    def __init__(
        self,
        clip: Clip,
        perceptual: Perceptual | None = None,
        perceptual_frames: int = 2,
        lpips: Lpips | None = None,
    ) -> None:
        self.clip = clip
        self.regions: dict[str, Tensor | None] = {
            "full": None,
            "hole": clip.measured,
            "ring": ring(clip.mask),
        }
        self._flow = motion(clip.truth)
        self._perceptual, self._lpips = perceptual, lpips
        chosen = torch.linspace(0, len(clip.truth) - 1, perceptual_frames).round().long()
        self._chosen = chosen.unique()
        self._features: dict[int, list[Tensor]] = {}
        if perceptual is not None:
            for t in self._chosen.tolist():
                with torch.inference_mode():
                    self._features[t] = perceptual.features(clip.truth[t : t + 1])

    def score(self, video: Tensor) -> Scores:
        """Return every measure of a made view `[T, 3, H, W]`; NaN where there is nothing."""
        clip = self.clip
        similarity = ssim_map(video, clip.truth)
        scores: Scores = {}
        for name, region in self.regions.items():
            scores[f"psnr_{name}"] = psnr(video, clip.truth, region)
        for name, region in self.regions.items():
            scores[f"ssim_{name}"] = ssim(similarity, region)
        if self._perceptual is not None:
            scores |= self._st_lpips(video, self._perceptual)
        if self._lpips is not None:
            pairs = zip(
                video[self._chosen].split(1), clip.truth[self._chosen].split(1), strict=True
            )
            distances = [self._lpips(made, truth) for made, truth in pairs]
            scores["lpips_full"] = sum(distances) / len(distances)
        scores["siou"] = siou(video, clip.truth, clip.left)
        scores |= self.temporal(video)
        scores["seam"] = seam_energy(video, clip.truth, clip.mask, clip.measured)
        scores["known_exact"] = known_exactness(video, clip.warped, clip.mask)
        known = (clip.mask == 0).float()
        drifts = {
            "hole": color_drift(video, clip.truth, clip.measured),
            "known": color_drift(video, clip.warped, known)
            if scores["known_exact"] < 1
            else (0.0, 0.0),
        }
        for name, (mean, spread) in drifts.items():
            scores |= {f"drift_mean_{name}": mean, f"drift_std_{name}": spread}
        return scores

    def temporal(self, video: Tensor) -> Scores:
        """Return the temporal errors alone; of the truth itself they are the floor."""
        return {
            f"temporal_{name}": temporal_error(video, self._flow, self.regions[name])
            for name in ("full", "hole")
        }

    @torch.inference_mode()
    def _st_lpips(self, video: Tensor, perceptual: Perceptual) -> Scores:
        full, maps = [], []
        for t, truth in self._features.items():
            made = perceptual.features(video[t : t + 1])
            full.append(float(perceptual.distance(made, truth)))
            maps.append(perceptual.distance_map(made, truth, video.shape[-2:]))
        frames, distances = list(self._features), torch.cat(maps)
        scores = {"st_lpips_full": sum(full) / len(full)}
        for name, region in self.regions.items():
            if region is not None:
                scores[f"st_lpips_{name}"] = average(distances, region[frames])
        return scores


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Return the mean of each measure over the clips that have it."""
    means: Scores = {}
    for name in {name: None for clip in scores for name in clip}:
        values = [clip[name] for clip in scores if not math.isnan(clip.get(name, math.nan))]
        means[name] = sum(values) / len(values) if values else math.nan
    return means
