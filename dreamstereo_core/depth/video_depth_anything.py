"""Video-Depth-Anything: depth that a network makes consistent over a window of frames.

This is the published windowed procedure (github.com/DepthAnything/Video-Depth-Anything,
infer_video_depth) as a stream. A window has 32 frames, ten of which are key frames of the window
before. Two of these give scale and shift (by robust instead of plain least squares), and the other
eight are blended. The authors' variant that takes one frame at a time would need no look-ahead, but
is much less accurate (0.836 instead of 0.926 of ScanNet's points within 25 %). Key frames are
encoded once: the encoder's result is kept, not the frame.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..devices import choose_device
from ..filters import shrink
from ..models.depth.dinov2 import PATCH
from ..models.depth.temporal_head import WINDOW
from ..models.depth.video_depth_anything import VideoDepthNetwork
from ..types import Video
from .align import align
from .estimator import DepthEstimator, invert_meters

SIZE = 518  # px, the shorter side at which the network works
KEY_FRAMES = (0, 12, 24, 25, 26, 27, 28, 29, 30, 31)
"""Frames of a window with which the next one starts."""

_OVERLAP = len(KEY_FRAMES)
_ANCHORS = 2  # key frames, the ones farthest back, that give scale and shift
_BLENDED = _OVERLAP - _ANCHORS
_STEP = WINDOW - _OVERLAP
_LONGEST = 2 * SIZE  # px; only frames longer than 30 : 1 are squeezed
_WIDEST = 1.78  # aspect above which the shorter side shrinks, so that memory stays the same
_FIRST_LONGEST = 1280  # px; larger frames are averaged down before anything else
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Window:
    """What the next window needs of this one."""

    key_frames: Tensor
    """Tokens ``[10, 4, N, dim]``."""
    anchors: Tensor
    """Depth ``[2, 1, h, w]`` of the first two key frames that the next window starts with."""
    tail: Tensor
    """Depth ``[8, 1, h, w]`` of the end, which is blended with the next window's."""


@dataclass(frozen=True)
class WindowState:
    """How far a shot has come."""

    size: tuple[int, int]
    """(height, width) at which the network works."""
    device: torch.device
    """The device on which the depth is returned."""
    seen: int = 0
    """Frames of the shot that have come in."""
    start: int = 0
    """The shot's frame at which the next window starts."""
    waiting: tuple[Tensor, ...] = ()
    """Tokens ``[4, N, dim]`` of each frame that no window has used yet."""
    last: Window | None = None
    """The window before."""

    @property
    def wanted(self) -> int:
        """Frames that must be waiting before the next window can be made."""
        return WINDOW if self.last is None else _STEP


class VideoDepthAnything(DepthEstimator):
    """Depth by a `VideoDepthNetwork` over windows of 32 frames.

    A frame's depth comes up to 31 frames late: `predict` returns what is final, and `flush` the
    rest of a shot. The result is the same however a shot is cut into chunks. Memory holds the
    tokens of fewer than 60 frames, and the depth of one window.

    Args:
        network: with weights; it is moved to the device and stays in float32.
        name: the name that people see.
        metric: the network gives metres instead of inverse depth of any scale.
        device: "auto" takes CUDA, then MPS, then the CPU.
        dtype: what the network computes in; None is float16 on CUDA, else float32.
        size: the shorter side at which the network works, in pixels, a multiple of 14; less is
            faster and coarser.
        robust: join windows by robust least squares. With False they are joined as published, and
            an object that only one of two windows has got right shifts the whole picture.

    Raises:
        ValueError: `size` is no multiple of 14.
    """

    normalized = False

    def __init__(
        self,
        network: VideoDepthNetwork,
        *,
        name: str = "Video-Depth-Anything",
        metric: bool = False,
        device: str | torch.device = "auto",
        dtype: torch.dtype | None = None,
        size: int = SIZE,
        robust: bool = True,
    ) -> None:
        if size < PATCH or size % PATCH:
            raise ValueError(f"size: expected a multiple of {PATCH}, got {size}")
        self.name = name
        self.metric = metric
        self.device = choose_device(device)
        self.dtype = dtype or (torch.float16 if self.device.type == "cuda" else torch.float32)
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.size = size
        self.robust = robust

    @property
    def late(self) -> bool:
        """A window is 32 frames long."""
        return True

    def predict(
        self, video: Video, state: WindowState | None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, WindowState]:
        """Return raw inverse depth ``[n, 1, h, w]`` of the frames whose depth is final."""
        if state is None or new_shot:
            height, width = video.shape[2:]
            state = WindowState(working_size(height, width, self.size), video.device)
        ready = [torch.empty(0, 1, *state.size)]
        for part in video.split(4 if self.device.type == "cpu" else 16):
            tokens = self._encode(part, state.size)
            # Clones, since views would keep the whole batch.
            waiting = (*state.waiting, *(frame.clone() for frame in tokens))
            state = replace(state, seen=state.seen + len(part), waiting=waiting)
            while len(state.waiting) >= state.wanted:
                depth, state = self._next_window(state)
                ready.append(depth)
        return self._finish(ready, state), state

    def flush(self, state: WindowState | None) -> Tensor:
        """Return raw inverse depth of the shot's last frames, which waited for a full window.

        As published, the last frame is repeated where the last windows lack frames.
        """
        if state is None:
            return super().flush(state)
        owed = state.seen - (0 if state.last is None else state.start + _ANCHORS)
        ready = [torch.empty(0, 1, *state.size)]
        while state.start < state.seen:
            frames = [] if state.last is None else list(state.last.key_frames)
            frames += state.waiting
            missing = state.wanted - len(state.waiting)
            state = replace(state, waiting=(*state.waiting, *[frames[-1]] * missing))
            depth, state = self._next_window(state)
            ready.append(depth)
        if state.last is not None:
            ready.append(state.last.tail)
        return self._finish(ready, state)[:owed]

    @torch.no_grad()
    def _encode(self, video: Video, size: tuple[int, int]) -> Tensor:
        """Return each frame's tokens ``[T, 4, N, dim]``."""
        pixels = shrink(video.to(self.device, torch.float32), _FIRST_LONGEST)
        pixels = F.interpolate(pixels, size, mode="bicubic", align_corners=False)
        mean, deviation = pixels.new_tensor((_MEAN, _DEVIATION)).view(2, 3, 1, 1)
        with self._precision():
            tokens = self.network.pretrained(
                (pixels - mean) / deviation, self.network.config.layers
            )
        return tokens.to(self.dtype)

    @torch.no_grad()
    def _next_window(self, state: WindowState) -> tuple[Tensor, WindowState]:
        """Return the depth that is final with the next window, and the state after it."""
        last, left = state.last, state.seen - state.start
        tokens = torch.stack(state.waiting[: state.wanted])
        if last is not None:
            tokens = torch.cat((last.key_frames, tokens))
        # A shot's last window needs no depth of the frames that only fill it.
        count = WINDOW if left > _STEP else max(left, 0 if last is None else _OVERLAP)
        with self._precision():
            depth = self.network.head(tokens, state.size, count).float()
        origin = depth[:1]
        if last is not None:
            origin = last.anchors[:1]
            if not self.metric:
                fit = robust_scale_and_shift if self.robust else scale_and_shift
                scale, shift = fit(depth[:_ANCHORS], last.anchors)
                depth = (depth * scale + shift).clamp(min=0)
        anchors = torch.cat((origin, depth[KEY_FRAMES[1] : KEY_FRAMES[1] + 1]))
        if last is not None:
            share = torch.linspace(0, 1, _BLENDED, device=depth.device).view(-1, 1, 1, 1)
            blended = torch.lerp(last.tail, depth[_ANCHORS:_OVERLAP], share)
            depth = torch.cat((blended, depth[_OVERLAP:]))
        return depth[:-_BLENDED], replace(
            state,
            start=state.start + _STEP,
            waiting=state.waiting[state.wanted :],
            last=Window(tokens[list(KEY_FRAMES)], anchors, depth[-_BLENDED:].clone()),
        )

    def _finish(self, depths: list[Tensor], state: WindowState) -> Tensor:
        """Join depths in order, as inverse depth, on the video's device."""
        depth = torch.cat([part.to(state.device) for part in depths])
        return invert_meters(depth) if self.metric else depth

    def _precision(self) -> AbstractContextManager:
        """Compute in half precision as published; operations that need float32 keep it."""
        half = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype if half else None, enabled=half)


def scale_and_shift(values: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale and shift that bring `values` closest to `wanted`, by least squares.

    Values that are flat, or that run against the wanted ones, keep their scale, so that a depth
    never turns inside out.
    """
    middle, aim = values.mean(), wanted.mean()
    variance = (values - middle).square().mean()
    covariance = ((values - middle) * (wanted - aim)).mean()
    usable = (covariance > 0) & (variance > 1e-10 * middle.square())
    scale = torch.where(usable, covariance / variance, 1.0)
    return scale, aim - scale * middle


def robust_scale_and_shift(values: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Return the scale and shift that bring most of `values` to `wanted`.

    Values that are flat, or that run against the wanted ones, keep their scale.
    """
    values, wanted = values.flatten(), wanted.flatten()
    fit = align(values, wanted, torch.ones_like(values), torch.ones_like(values))
    usable = fit.correlation > 0 and fit.spread > 1e-5 * abs(fit.center)
    scale = fit.scale if usable else 1.0
    return scale, fit.target - scale * fit.center


def working_size(height: int, width: int, short: int = SIZE) -> tuple[int, int]:
    """Return the (height, width) at which the network sees frames: multiples of 14.

    As published: the shorter side becomes `short`, or less for frames longer than 16 : 9.
    """
    ratio = max(height, width) / min(height, width)
    if ratio > _WIDEST:
        short = max(1, round(int(short * 1.777 / ratio) / PATCH)) * PATCH
    scale = short / min(height, width)
    return tuple(  # pyright: ignore[reportReturnType]
        min(max(round(side * scale / PATCH) * PATCH, short), _LONGEST) for side in (height, width)
    )
