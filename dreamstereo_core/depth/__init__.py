"""Inverse depth: estimators, one scale for each shot, edges at full resolution."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from ..models.files.checkpoint_file import WEIGHTS
from .cues import EmbeddedDepth
from .estimator import DepthError, DepthEstimator, WrappedDepth, with_depth
from .mini import MiniDepth, is_mini_depth, load_mini_depth, mini_path
from .normalize import ShotNormalizer, normalize
from .steady import SteadyDepth
from .supplied import ClipDepth, SuppliedDepth
from .transformers_depth import (
    DEFAULT_MODEL,
    TransformersDepth,
    is_cached,
    where_missing_goes,
)
from .upsample import upsample_inverse_depth
from .video_depth_anything import VideoDepthAnything
from .video_depth_checkpoint import (
    VIDEO_MODEL,
    describe_video_model,
    is_video_model,
    load_video_depth,
    video_model_is_cached,
)

__all__ = [
    "DEFAULT_MODEL",
    "NAMES",
    "VIDEO_MODEL",
    "ClipDepth",
    "DepthError",
    "DepthEstimator",
    "EmbeddedDepth",
    "MiniDepth",
    "ShotNormalizer",
    "SteadyDepth",
    "SuppliedDepth",
    "TransformersDepth",
    "VideoDepthAnything",
    "WrappedDepth",
    "best_there",
    "describe_models",
    "load_depth",
    "load_mini_depth",
    "load_video_depth",
    "normalize",
    "upsample_inverse_depth",
    "with_depth",
]

NAMES = ("auto", "embedded", "mini", "cues")
"""The estimators that `load_depth` knows by name."""
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def load_depth(
    spec: str | Path = "auto",
    *,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    allow_download: bool = False,
    invert: bool = False,
    metric: bool = False,
    start: int = 0,
    steady: bool = True,
) -> DepthEstimator:
    """Return the estimator that `spec` names.

    Args:
        spec: "auto" (the best that is in the local cache, see `best_there`; where nothing is and
            a download is allowed, Depth-Anything-V2-Small), "embedded" ("mini" where its weights
            are there, else "cues"), "mini" (the small network), "cues" (without weights),
            "video-depth-anything" or a weight file of it or of "mini" (.pth or .safetensors), a
            transformers model (hub id or local folder), or a depth file: video, image, folder of
            images or printf pattern.
        device: of a model; "auto" takes CUDA, then MPS, then the CPU.
        dtype: of a model; None is float16 on CUDA, else float32.
        allow_download: fetch a hub model that is not in the local cache.
        invert: a depth file has 0 = near.
        metric: a depth file has distances, large = far; EXR in metres.
        start: the frame of a depth file that belongs to the video's first frame.
        steady: whether to keep the depth of a per-frame model steady, see `SteadyDepth`.

    Raises:
        DepthError: the model or file is not there, or cannot be used.
        VideoError: the depth file cannot be read.
        ValueError: `invert` or `metric` was given for something else than a depth file, or both.

    Example:
        >>> import torch
        >>> depth = load_depth("embedded")
        >>> depth.estimate(torch.rand(2, 3, 48, 64)).shape
        torch.Size([2, 1, 48, 64])
    """
    if spec == "auto":
        spec = best_there()
        spec = DEFAULT_MODEL if spec == "embedded" and allow_download else spec
    path = Path(spec)
    named = str(spec) in NAMES
    is_model = path.is_dir() and (path / "config.json").exists()
    for_video = is_video_model(spec)
    if not (named or is_model or for_video) and (path.exists() or "%" in path.name):
        return SuppliedDepth(spec, invert=invert, metric=metric, start=start)
    if invert or metric:
        name = "invert" if invert else "metric"
        raise ValueError(f"{name}: expected a depth file to go with it, got {spec}")
    if spec == "embedded":
        spec = "cues" if mini_path() is None else "mini"
    if spec == "cues":
        return EmbeddedDepth()
    if spec == "mini" or is_mini_depth(spec):
        depth = load_mini_depth(None if spec == "mini" else spec, device=device)
    elif for_video:
        return load_video_depth(spec, device=device, dtype=dtype, allow_download=allow_download)
    elif not is_model and (isinstance(spec, Path) or not _HUB_ID.fullmatch(spec)):
        raise DepthError(f"{spec}: no such file or folder, and no model's id (owner/name)")
    else:
        depth = TransformersDepth(spec, device=device, dtype=dtype, allow_download=allow_download)
    return SteadyDepth(depth) if steady else depth


def best_there() -> str:
    """Return what "auto" is: the best of the models in the local cache, or "embedded".

    Video-Depth-Anything-Small is before Depth-Anything-V2-Small, of which it is made: it is steady
    by itself.
    """
    if video_model_is_cached():
        return VIDEO_MODEL
    return DEFAULT_MODEL if is_cached() else "embedded"


def describe_models() -> dict[str, str]:
    """Return the named estimators and whether each is ready, in words."""
    state = "found" if is_cached() else f"not found in {where_missing_goes(DEFAULT_MODEL)}"
    return {
        "embedded": f"ready, the same as {'cues' if mini_path() is None else 'mini'}",
        "mini": "found" if mini_path() is not None else f"not found in {WEIGHTS}",
        "cues": "ready, needs no weights",
        DEFAULT_MODEL: state,
        VIDEO_MODEL: describe_video_model(),
    }
