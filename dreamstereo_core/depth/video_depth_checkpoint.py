"""Video-Depth-Anything's published files: named, found, and loaded."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from ..models.depth.video_depth_anything import VIDEO_DEPTH_ANYTHING
from ..models.files.checkpoint_file import PICKLED, SAFETENSORS, CheckpointError
from ..models.files.load import load_network
from .estimator import DepthError
from .video_depth_anything import VideoDepthAnything

VIDEO_MODEL = "video-depth-anything"
"""The name of the small model, whose licence is Apache-2.0."""

_SMALL = "depth-anything/Video-Depth-Anything-Small"
_REPOSITORY = re.compile(r"depth-anything/(Metric-)?Video-Depth-Anything-(Small|Base|Large)")


def is_video_model(spec: str | Path) -> bool:
    """Return whether `load_video_depth` loads it: a name, a repository, or a weight file."""
    is_file = Path(spec).suffix in (*SAFETENSORS, *PICKLED)
    return is_file or str(spec) == VIDEO_MODEL or bool(_REPOSITORY.fullmatch(str(spec)))


def load_video_depth(
    spec: str | Path = VIDEO_MODEL,
    *,
    metric: bool | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    allow_download: bool = False,
) -> VideoDepthAnything:
    """Load a published Video-Depth-Anything.

    Args:
        spec: "video-depth-anything" (the small one), a repository such as
            "depth-anything/Video-Depth-Anything-Base", or a .pth or .safetensors file.
        metric: the file gives metres; None: it does if its name starts with "metric", as published
            (the weights do not tell).
        device: "auto" takes CUDA, then MPS, then the CPU.
        dtype: what the network computes in; None is float16 on CUDA, else float32.
        allow_download: fetch the file if it is not in the local cache.

    Raises:
        DepthError: the file is not there, is damaged, or is of another model.
    """
    named = str(spec) == VIDEO_MODEL or _REPOSITORY.fullmatch(str(spec))
    path = find_video_model(str(spec), allow_download=allow_download) if named else Path(spec)
    try:
        network = load_network(path, VIDEO_DEPTH_ANYTHING)
    except (CheckpointError, FileNotFoundError) as error:
        raise DepthError(str(error)) from error
    if metric is None:
        metric = path.name.lower().startswith("metric")
    return VideoDepthAnything(network, name=str(spec), metric=metric, device=device, dtype=dtype)


def describe_video_model() -> str:
    """Return in words whether the small model is ready, or where it goes."""
    return "found" if video_model_is_cached() else f"not found in {_where_missing_goes(_SMALL)}"


def video_model_is_cached() -> bool:
    """Return whether the small model is in the local cache."""
    return isinstance(try_to_load_from_cache(_SMALL, _file_name(_SMALL)), str)


def _file_name(repository: str) -> str:
    size = repository.rsplit("-", 1)[1][0].lower()
    metric = "metric_" if "/Metric-" in repository else ""
    return f"{metric}video_depth_anything_vit{size}.pth"


def find_video_model(spec: str = VIDEO_MODEL, *, allow_download: bool = False) -> Path:
    """Return the local file of a named model.

    Raises:
        DepthError: it is not there, or could not be downloaded.
    """
    repository = _SMALL if spec == VIDEO_MODEL else spec
    file = _file_name(repository)
    try:
        return Path(hf_hub_download(repository, file, local_files_only=not allow_download))
    except (OSError, HfHubHTTPError) as error:  # a missing local file is an OSError too
        where = _where_missing_goes(repository)
        if not allow_download:
            raise DepthError(f"{spec}: {file} not found in {where}") from error
        reason = str(error).strip().splitlines()[0]
        raise DepthError(f"{spec}: {file} could not be downloaded ({reason}) to {where}") from error


def _where_missing_goes(repository: str) -> str:
    folder = Path(constants.HF_HUB_CACHE) / ("models--" + repository.replace("/", "--"))
    return (
        f"{folder} (the Hugging Face cache); allow the download, or give the path of "
        f"{_file_name(repository)} from https://huggingface.co/{repository}"
    )
