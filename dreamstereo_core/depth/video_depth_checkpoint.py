"""Video-Depth-Anything's published files: found, recognised, and loaded strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from ..models.depth.video_depth_anything import (
    BASE,
    LARGE,
    SMALL,
    VideoDepthConfig,
    VideoDepthNetwork,
)
from ..models.files.checkpoint_file import (
    PICKLED,
    SAFETENSORS,
    CheckpointError,
    CheckpointFile,
    open_checkpoint,
)
from ..models.files.transformer import list_some
from .estimator import DepthError
from .video_depth_anything import VideoDepthAnything

VIDEO_MODEL = "video-depth-anything"
"""The name of the small model, whose licence is Apache-2.0."""

_SMALL = "depth-anything/Video-Depth-Anything-Small"
_REPOSITORY = re.compile(r"depth-anything/(Metric-)?Video-Depth-Anything-(Small|Base|Large)")
_CONFIGS = {config.dim: config for config in (SMALL, BASE, LARGE)}

# What a file is that is no Video-Depth-Anything: the first pattern found in its keys.
_OTHERS = (
    (r"^depth_head\.", "a Depth Anything for single images; give the model's id instead"),
    (r"^(backbone|neck|dinov2)\.", "a depth model of transformers; give its folder instead"),
    (r"^pretrained\.", "a Video-Depth-Anything without its attention over time"),
    (r"^blocks\.0\.ls1\.gamma$", "a DINOv2 without a depth head"),
)


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
        network = load_network(path)
    except (CheckpointError, FileNotFoundError) as error:
        raise DepthError(str(error)) from error
    if metric is None:
        metric = path.name.lower().startswith("metric")
    return VideoDepthAnything(network, name=str(spec), metric=metric, device=device, dtype=dtype)


def load_network(path: str | Path, config: VideoDepthConfig | None = None) -> VideoDepthNetwork:
    """Load a network from a file with the published names, in float32.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is corrupt, or of another model; names and shapes that do not fit are
            listed.
    """
    file = open_checkpoint(path)
    config = config or _recognise(file)
    with torch.device("meta"):
        network = VideoDepthNetwork(config)
    expected = {name: tuple(x.shape) for name, x in network.state_dict().items()}
    _check(file, expected)
    weights = {name: file.read_weight(name, torch.float32) for name in expected}
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def describe_video_model() -> str:
    """Return in words whether the small model is ready, or where it goes."""
    return "found" if video_model_is_cached() else f"not found in {_where_missing_goes(_SMALL)}"


def video_model_is_cached() -> bool:
    """Return whether the small model is in the local cache."""
    return isinstance(try_to_load_from_cache(_SMALL, _file_name(_SMALL)), str)


def _recognise(file: CheckpointFile) -> VideoDepthConfig:
    """Return the sizes of a published file."""
    token = file.shapes.get("pretrained.cls_token")
    if token and any(name.startswith("head.motion_modules.") for name in file.shapes):
        if token[-1] in _CONFIGS:
            return _CONFIGS[token[-1]]
        raise CheckpointError(
            f"{file.path}: expected tokens {', '.join(map(str, _CONFIGS))} wide, got {token[-1]}"
        )
    keys = "\n".join(file.shapes)
    what = next((what for pattern, what in _OTHERS if re.search(pattern, keys, re.M)), None)
    what = what or f"something else, with keys such as {list_some(file.shapes) or '(none)'}"
    raise CheckpointError(f"{file.path}: expected a Video-Depth-Anything; this is {what}")


def _check(file: CheckpointFile, expected: Mapping[str, tuple[int, ...]]) -> None:
    wrong = [
        f"{name} {list(file.shapes[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in file.shapes and file.shapes[name] != shape
    ]
    problems = {
        "missing": [name for name in expected if name not in file.shapes],
        "unexpected": [name for name in file.shapes if name not in expected],
        "of another shape": wrong,
    }
    listed = [f"{what}: {list_some(names)}" for what, names in problems.items() if names]
    if listed:
        raise CheckpointError(f"{file.path}: tensors do not fit the model; {'; '.join(listed)}")


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
