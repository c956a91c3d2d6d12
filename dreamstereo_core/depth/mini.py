"""The embedded depth network as an estimator; it sees each frame by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..devices import choose_device
from ..masks import dilate
from ..models.depth.mini import MINI_DEPTH, STRIDE, MiniDepthNetwork, fold_batch_norms
from ..models.files.checkpoint_file import WEIGHTS, CheckpointError, mark_of
from ..models.files.load import load_network
from ..models.vae.base import channels_innermost
from ..types import Video
from .estimator import DepthError, DepthEstimator

FILE = "mini_depth.safetensors"
_GROWTH = 1  # px of the network's depth by which near things grow, since it draws them too small
_BATCH = 4  # frames at once; more are no faster on a CPU and take more memory


class MiniDepth(DepthEstimator):
    """Inverse depth by the small network, which works at about 384 px and returns half of that."""

    name = "mini"
    normalized = False

    def __init__(self, network: MiniDepthNetwork, device: str | torch.device = "auto"):
        self.size = network.config.size
        fold_batch_norms(network.eval().requires_grad_(False))
        channels_innermost(network)  # takes half of the time on a CPU
        self.network = network.to(choose_device(device))

    @torch.inference_mode()
    def predict(
        self, video: Video, state: Any = None, *, new_shot: bool = False
    ) -> tuple[Tensor, None]:
        """Return raw inverse depth ``[T, 1, h / 2, w / 2]`` at the working size, and no state.

        Raises:
            TypeError: `video` is not a floating point tensor.
            ValueError: `video` has another shape.
        """
        check_frames("video", video, channels=3)
        size = working_size(video.shape[2], video.shape[3], self.size)
        depths = []
        for frames in video.split(_BATCH):
            frames = frames.to(self.network.mean.device, torch.float32)
            small = F.interpolate(frames, size, mode="bilinear", antialias=True)
            small = small.contiguous(memory_format=torch.channels_last)
            inside = self.network(small)[..., 1:-1, 1:-1]  # the outermost cells may be far off
            whole = F.pad(inside, (1, 1, 1, 1), mode="replicate")
            depths.append(dilate(whole, _GROWTH).to(video.device))
        return torch.cat(depths), None


def working_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return a height and width of about the same aspect: multiples of 32, the longer `longest`."""
    scale = longest / max(height, width)
    h, w = (max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width))
    return h, w


def mini_path() -> Path | None:
    """Return the file of the embedded weights, or None if it is missing."""
    path = WEIGHTS / FILE
    return path if path.is_file() else None


def is_mini_depth(path: str | Path) -> bool:
    """Return whether a file says of itself that it is a small depth network."""
    return mark_of(path) == MINI_DEPTH.mark


def load_mini_depth(
    path: str | Path | None = None, *, device: str | torch.device = "auto"
) -> MiniDepth:
    """Load the small network; None = the embedded weights.

    Raises:
        DepthError: the file is not there, or is not a small depth network.
    """
    path = WEIGHTS / FILE if path is None else path
    try:
        return MiniDepth(load_network(path, MINI_DEPTH), device)
    except (FileNotFoundError, CheckpointError) as error:
        raise DepthError(f"mini: {error}") from error
