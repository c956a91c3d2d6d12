"""Shot cuts, found on thumbnails: causal, a millisecond a frame, the same however a film is chunked.

A frame starts a new shot when its layout matches none of the last few frames, at any small shift,
and the mismatch stands out from the recent past. Layouts are compared with brightness and contrast
taken out, so a flash is no cut; shifts are searched, so a pan is none; fast motion raises the
recent past with it. Blank frames (fades, black leaders) start no shot and are not remembered.
Slow dissolves are not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from .checks import check_frames
from .types import Video

_SIZE = (18, 32)  # thumbnail, px
_REACH = (3, 7)  # largest shift searched up and down, left and right: a sixth and a fifth
_LEVELS = 4  # histogram levels per colour channel
_MEMORY = 4  # frames: a flash or a glitch shorter than that is forgotten
_PAST = 8  # frames whose scores a cut must stand out from
_BLANK = 0.02  # standard deviation below which a frame shows nothing
_MIN_MISMATCH = 0.4  # mean absolute difference of normalised thumbnails
_MIN_RATIO = 2.5  # of the score to the recent mean score


@dataclass(frozen=True)
class ShotState:
    """What the detector remembers of the frames before this chunk."""

    thumbnails: tuple[Tensor, ...] = ()
    """The last `_MEMORY` frames that show something, normalised ``[18 * 32]``, newest last."""
    histograms: tuple[Tensor, ...] = ()
    """Their colour histograms ``[64]``, each summing to 1."""
    scores: tuple[float, ...] = ()
    """The last `_PAST` scores."""
    started: bool = False
    """Whether the film's first frame has been seen."""


class ShotDetector:
    """Find the frames that start a new shot."""

    def cuts(self, video: Video, state: ShotState | None = None) -> tuple[Tensor, ShotState]:
        """Return which frames of ``[T, 3, H, W]`` start a shot, bool ``[T]``, and the next state.

        The film's first frame (`state` is None) always does. Chunks must arrive in order.

        Raises:
            TypeError: `video` is no floating point tensor.
            ValueError: `video` has another shape.
        """
        check_frames("video", video, channels=3)
        state = state or ShotState()
        thumbnails = _thumbnails(video)
        layouts, contrasts = _layout(thumbnails)
        histograms = _histogram(thumbnails)
        cuts = []
        for layout, contrast, histogram in zip(layouts, contrasts.tolist(), histograms, strict=True):
            cut, state = _step(state, layout, contrast, histogram)
            cuts.append(cut)
        return torch.tensor(cuts), state


def _step(
    state: ShotState, layout: Tensor, contrast: float, histogram: Tensor
) -> tuple[bool, ShotState]:
    """Judge one frame against what is remembered, and remember it."""
    first = not state.started
    if contrast < _BLANK:
        return first, ShotState(state.thumbnails, state.histograms, state.scores, True)
    scores, cut = state.scores, False
    if state.thumbnails:
        mismatch = _mismatch(layout, state.thumbnails[-1])
        if mismatch > _MIN_MISMATCH:  # rare: ask the older frames too
            mismatch = min([mismatch] + [_mismatch(layout, old) for old in state.thumbnails[:-1]])
        colour = min(float((histogram - old).abs().sum()) / 2 for old in state.histograms)
        score = mismatch + colour / 2
        usual = sum(scores) / len(scores) if scores else 0.0
        cut = mismatch > _MIN_MISMATCH and score > _MIN_RATIO * usual
        scores = (*scores, score)[-_PAST:]  # a cut's own too: the next frames may move as wildly
    thumbnails = (*state.thumbnails, layout)[-_MEMORY:]
    histograms = (*state.histograms, histogram)[-_MEMORY:]
    return first or cut, ShotState(thumbnails, histograms, scores, True)


def _thumbnails(video: Video) -> Video:
    """Return ``[T, 3, 18, 32]``, whatever the shape of the frames."""
    h, w = video.shape[2:]
    # Every n-th pixel will do for a start: averaging all of a large frame costs more than the rest.
    step_y, step_x = max(1, h // (8 * _SIZE[0])), max(1, w // (8 * _SIZE[1]))
    return F.interpolate(video[:, :, ::step_y, ::step_x].float().cpu(), _SIZE, mode="area")


def _layout(thumbnails: Video) -> tuple[Tensor, Tensor]:
    """Return grey thumbnails with mean 0 and contrast about 1, ``[T, 18 * 32]``, and the contrast."""
    weights = thumbnails.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    grey = (thumbnails * weights).sum(1).flatten(1)
    contrast = grey.std(1)
    return (grey - grey.mean(1, keepdim=True)) / (contrast[:, None] + _BLANK), contrast


def _histogram(thumbnails: Video) -> Tensor:
    """Return joint colour histograms ``[T, 64]``, each summing to 1."""
    level = (thumbnails * _LEVELS).long().clamp(0, _LEVELS - 1).flatten(2)
    index = (level[:, 0] * _LEVELS + level[:, 1]) * _LEVELS + level[:, 2]
    counts = torch.zeros(len(thumbnails), _LEVELS**3)
    return counts.scatter_add_(1, index, torch.ones_like(index, dtype=counts.dtype)) / index.shape[1]


def _mismatch(a: Tensor, b: Tensor) -> float:
    """Return the mean absolute difference of two layouts ``[18 * 32]`` at the shift that fits best."""
    shifted = _shifted(b.view(1, 1, *_SIZE))
    inside = _inside()
    return float((((shifted - a[:, None]).abs() * inside).sum(0) / inside.sum(0)).min())


def _shifted(thumbnail: Tensor) -> Tensor:
    """Return all shifted copies of ``[1, 1, 18, 32]`` as columns ``[18 * 32, shifts]``."""
    y, x = _REACH
    return F.unfold(F.pad(thumbnail, (x, x, y, y)), _SIZE)[0].view(_SIZE[0] * _SIZE[1], -1)


@lru_cache(maxsize=1)
def _inside() -> Tensor:
    """Return where each shifted copy has a picture: 1, elsewhere 0."""
    return _shifted(torch.ones(1, 1, *_SIZE))
