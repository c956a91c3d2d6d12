"""How much an autoencoder loses: clips encoded and decoded again."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dreamstereo_core import VideoError, load_vae, read_frames
from dreamstereo_core.models.vae.base import VideoVAE
from evaluation.clips import PHOTOS, Selection, real_videos
from evaluation.metrics import motion, psnr, ssim, ssim_map, temporal_error
from evaluation.perceptual import Perceptual
from evaluation.scores import Scores


def measure_autoencoders(
    options: Namespace, selection: Selection
) -> list[tuple[str, str, dict[str, Scores]]]:
    """Return kind and name of each clip or photograph, and autoencoder -> measures.

    Raises:
        FileNotFoundError: there are no weights for an autoencoder.
        ValueError: there is no clip, or a file is no autoencoder.
    """
    vaes = {spec: load_vae(spec) for spec in options.reconstruct}
    perceptual = Perceptual() if options.perceptual_frames else None
    results = []
    for kind, name, video in tqdm(_sources(options, selection), unit="clip", disable=None):
        rows = {
            spec: reconstruction_scores(video, reconstruct(vae, video), perceptual)
            for spec, vae in vaes.items()
        }
        if len(video) > 1:
            rows["(truth)"] = {"temporal_full": temporal_error(video, motion(video))}
        results.append((kind, name, rows))
    if not results:
        raise ValueError("expected --videos or --photos with a usable file, got none")
    return results


def reconstruct(vae: VideoVAE, video: Tensor) -> Tensor:
    """Encode and decode a clip `[T, 3, H, W]`."""
    frames, _, height, width = video.shape
    batch = video.transpose(0, 1)[None].to(vae.device)
    made = vae.decode(vae.encode(batch), frames=frames, size=(height, width))
    return made[0].transpose(0, 1).float().cpu().clamp(0, 1)


def reconstruction_scores(video: Tensor, made: Tensor, perceptual: Perceptual | None) -> Scores:
    """Return PSNR, SSIM, ST-LPIPS and temporal error of whole frames."""
    scores = {"psnr_full": psnr(made, video), "ssim_full": ssim(ssim_map(made, video))}
    if perceptual is not None:
        with torch.inference_mode():
            pairs = zip(made.split(1), video.split(1), strict=True)
            distances = [float(perceptual(a, b)) for a, b in pairs]
        scores["st_lpips_full"] = sum(distances) / len(distances)
    scores["temporal_full"] = temporal_error(made, motion(video)) if len(video) > 1 else math.nan
    return scores


def _sources(options: Namespace, selection: Selection) -> Iterator[tuple[str, str, Tensor]]:
    if options.videos:
        for name, video in real_videos(options.videos, selection):
            yield "real clips", name, video
    if options.photos:
        width, height = selection.size
        for path in selection.files(options.photos, PHOTOS)[: selection.limit]:
            try:
                photo = next(read_frames(path)).pixels[None]
            except VideoError as error:
                selection.leave_out(error)
                continue
            # Cut to the aspect, then shrink: a distorted photograph is none.
            h, w = photo.shape[-2:]
            scale = min(w / width, h / height)
            ch, cw = round(height * scale), round(width * scale)
            top, at = (h - ch) // 2, (w - cw) // 2
            photo = photo[..., top : top + ch, at : at + cw]
            photo = F.interpolate(photo, (height, width), mode="bicubic", antialias=True)
            yield "photographs", path.name, photo.clamp(0, 1)
