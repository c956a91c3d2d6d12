"""Any depth model of the transformers library, as inverse depth.

Frames are prepared with tensor operations, since transformers' own image processors need
torchvision or go through PIL. Mean, standard deviation and size come from the model's
preprocessor_config.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor
from torch.nn import functional as F

from ..devices import choose_device
from ..types import Video
from .estimator import DepthError, DepthEstimator, invert_meters
from .model_folder import load_model, read_preprocessor

DEFAULT_MODEL = "depth-anything/Depth-Anything-V2-Small-hf"

_FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


class TransformersDepth(DepthEstimator):
    """An ``AutoModelForDepthEstimation`` model, applied frame by frame.

    Args:
        model: hub id or local folder with config.json and model.safetensors.
        device: "auto" takes CUDA, then MPS, then the CPU.
        dtype: None is float16 on CUDA, else float32.
        allow_download: fetch a hub model that is not in the local cache.

    Raises:
        DepthError: the model is not there, or is no depth model that this class knows.
    """

    normalized = False

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype | None = None,
        allow_download: bool = False,
    ) -> None:
        self.name = str(model)
        folder = find_model(model, allow_download=allow_download)
        self.device = choose_device(device)
        self.dtype = dtype or (torch.float16 if self.device.type == "cuda" else torch.float32)
        self._preprocessor = read_preprocessor(folder)
        self.network = load_model(folder, self.name).to(device=self.device, dtype=self.dtype).eval()
        config = self.network.config
        self._is_metric = _is_metric(config, self.name)
        # A DPT without a backbone of its own assumes that its tokens form a square.
        hybrid = getattr(config, "is_hybrid", False) or not getattr(config, "backbone_config", None)
        self._square = config.model_type == "depth_pro" or (config.model_type == "dpt" and hybrid)

    def predict(
        self, video: Video, state: None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, None]:
        """Return raw inverse depth ``[T, 1, h, w]`` at the model's resolution; no state."""
        batch = 4 if self.device.type == "cpu" else 16
        return torch.cat([self._predict_batch(part) for part in video.split(batch)]), None

    @torch.inference_mode()
    def _predict_batch(self, video: Video) -> Tensor:
        pixels = self._prepare(video.to(self.device, torch.float32))
        try:
            depth = self.network(pixel_values=pixels.to(self.dtype)).predicted_depth
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DepthError(
                f"{self.name}: expected a depth model whose parts fit together: {reason}"
            ) from error
        depth = depth.reshape(len(video), 1, *depth.shape[-2:]).float()
        if self._is_metric:
            depth = invert_meters(depth)
        return depth.to(video.device).clone()

    def _prepare(self, video: Video) -> Tensor:
        """Resize to the model's working size and normalise the colours, ``[T, 3, h, w]``."""
        settings = self._preprocessor
        size = working_size(
            video.shape[-2:], self.network.config.model_type, settings, square=self._square
        )
        pixels = F.interpolate(video, size, mode="bilinear", align_corners=False, antialias=True)
        if not settings.get("do_normalize", True):
            return pixels
        mean = pixels.new_tensor(settings.get("image_mean", _IMAGENET["image_mean"]))
        deviation = pixels.new_tensor(settings.get("image_std", _IMAGENET["image_std"]))
        return (pixels - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


def working_size(
    size: tuple[int, int] | torch.Size,
    model_type: str,
    preprocessor: dict[str, Any],
    *,
    square: bool = False,
) -> tuple[int, int]:
    """Return the (height, width) at which a model sees frames of `size` (height, width).

    The shorter side becomes the preprocessor's, the aspect ratio is kept, both are rounded to the
    model's multiple. With `square` the model takes one fixed square, such as Depth Pro's 1536 px.
    """
    wanted = preprocessor.get("size") or {}
    if isinstance(wanted, int):
        wanted = {"height": wanted, "width": wanted}
    short = min(wanted.get("height", 518), wanted.get("width", 518))
    if square:
        side = wanted.get("height", 1536 if model_type == "depth_pro" else 384)
        return side, side
    fallback = 14 if model_type.endswith("depth_anything") else 32
    multiple = preprocessor.get("ensure_multiple_of") or 1
    multiple = multiple if multiple > 1 else preprocessor.get("size_divisor", fallback)
    # A very long frame is squeezed, since attention grows with the square of the area.
    scale, longest = short / min(size), 4 * short // multiple * multiple
    height, width = (round(n * scale / multiple) * multiple for n in size)
    return max(multiple, min(height, longest)), max(multiple, min(width, longest))


def is_cached(model: str = DEFAULT_MODEL) -> bool:
    """Return whether a hub model is in the local cache, weights included."""
    try:
        folder = Path(snapshot_download(model, local_files_only=True, allow_patterns=_FILES))
    except (LocalEntryNotFoundError, HFValidationError):
        return False
    return (folder / "config.json").exists() and any(folder.glob("*.safetensors"))


def where_missing_goes(model: str) -> str:
    """Return in words where a missing hub model is looked for, and how to get it."""
    name = "models--" + model.replace("/", "--")
    return (
        f"{Path(constants.HF_HUB_CACHE) / name} (the Hugging Face cache); allow the download, or "
        "put config.json, preprocessor_config.json and model.safetensors of "
        f"https://huggingface.co/{model} into any folder and give that folder's path"
    )


def find_model(model: str | Path, *, allow_download: bool) -> Path:
    """Return the local folder of a model.

    Raises:
        DepthError: it is not there, or could not be downloaded.
    """
    if Path(model).is_dir():
        return Path(model)
    name = str(model)
    if not allow_download and not is_cached(name):
        raise DepthError(f"{name}: model.safetensors not found in {where_missing_goes(name)}")
    try:
        return Path(
            snapshot_download(name, local_files_only=not allow_download, allow_patterns=_FILES)
        )
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DepthError(
            f"{name}: could not be downloaded ({reason}) to {where_missing_goes(name)}"
        ) from error


def _is_metric(config: Any, name: str) -> bool:
    """Return whether the model gives metres, which are inverted, rather than inverse depth."""
    kind = config.model_type
    if kind in ("depth_anything", "prompt_depth_anything"):
        return config.depth_estimation_type == "metric"
    if kind in ("zoedepth", "glpn"):
        return True
    if kind == "depth_pro":  # its network gives canonical inverse depth, its post-processing metres
        return False
    if kind == "dpt":  # MiDaS heads are inverse; the DINOv2 ones were trained on NYU and KITTI
        backbone = getattr(config, "backbone_config", None)
        return getattr(backbone, "model_type", None) == "dinov2"
    raise DepthError(f"{name}: expected a known kind of depth model, got model_type {kind!r}")
