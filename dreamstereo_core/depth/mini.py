"""The embedded depth network as an estimator: two looks at each frame, one of them settled."""

from __future__ import annotations

from pathlib import Path

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
_COARSE = 0.5  # share of a look at half the size in the large forms
_FORM = 16  # cells of the network along a side of what is a large form
_SETTLING = 0.1  # share of a frame's own correction of its large forms, beside the frames before
_BATCH = 4  # frames at once; more are no faster on a CPU and take more memory


class MiniDepth(DepthEstimator):
    """Inverse depth by the small network, at about 384 px and at half of it, as one.

    Half of the larger size comes out.
    """

    name = "mini"
    normalized = False

    def __init__(self, network: MiniDepthNetwork, device: str | torch.device = "auto"):
        self.size = network.config.size
        fold_batch_norms(network.eval().requires_grad_(False))
        channels_innermost(network)  # takes half of the time on a CPU
        self.network = network.to(choose_device(device))

    @torch.inference_mode()
    def predict(
        self, video: Video, state: Tensor | None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return raw inverse depth ``[T, 1, h / 2, w / 2]`` at the larger working size.

        The state is the last frame's correction of its large forms, ``[1, 1, rows, columns]``.

        Raises:
            TypeError: `video` is not a floating point tensor.
            ValueError: `video` has another shape.
        """
        check_frames("video", video, channels=3)
        depths, before = [], None if new_shot else state
        for frames in video.split(_BATCH):
            frames = frames.to(self.network.mean.device, torch.float32)
            fine, coarse = self._look(frames, self.size), self._look(frames, self.size // 2)
            settled = settle(large_forms_change(fine, coarse), before)
            before = settled[-1:]
            change = F.interpolate(settled, fine.shape[2:], mode="bilinear")
            depths.append(dilate(fine + _COARSE * change, _GROWTH).to(video.device))
        return torch.cat(depths), before

    def _look(self, frames: Video, longest: int) -> Tensor:
        """Return what the network says of frames whose longer side is made `longest`."""
        size = working_size(frames.shape[2], frames.shape[3], longest)
        small = F.interpolate(frames, size, mode="bilinear", antialias=True)
        small = small.contiguous(memory_format=torch.channels_last)
        inside = self.network(small)[..., 1:-1, 1:-1]  # the outermost cells may be far off
        return F.pad(inside, (1, 1, 1, 1), mode="replicate")


def large_forms_change(fine: Tensor, coarse: Tensor) -> Tensor:
    """Return how far the large forms of `coarse` are from those of `fine`, a few cells each.

    A network that sees a smaller picture sees more of it at once and is right more often about
    what is near, but draws no outlines (Miangoleh et al., "Boosting Monocular Depth Estimation",
    CVPR 2021): its large forms are the better, the rest of `fine` stays.
    """
    size = [max(1, round(side / _FORM)) for side in fine.shape[2:]]
    a, b = (F.interpolate(look, size, mode="area") for look in (fine, coarse))
    return b - a


def settle(changes: Tensor, before: Tensor | None) -> Tensor:
    """Return a running mean of ``[T, 1, h, w]`` over time, that goes on from `before`.

    What a small picture is taken for changes more from frame to frame than what a scene is.
    """
    settled = []
    for change in changes.split(1):
        before = change if before is None else torch.lerp(before, change, _SETTLING)
        settled.append(before)
    return torch.cat(settled)


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
