"""Shot cuts, found on thumbnails: causal, and the same however a film is cut into chunks.

A frame starts a new shot when its layout matches none of the last few frames, at any small shift,
and the mismatch stands out from the recent past. Layouts are compared with brightness and contrast
taken out, so a flash is no cut; shifts are searched, so a pan is none; fast motion has a past of
fast motion. Blank frames (fades, black leaders) start no shot and are not remembered.
Slow dissolves are not found.
"""

from __future__ import annotations

from dataclasses import dataclass

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
_MIN_MISMATCH = 0.4  # mean absolute difference of thumbnails, in units of their contrast
_MIN_RATIO = 2.5  # of the score to the recent mean score


@dataclass(frozen=True)
class ShotState:
    """What the detector remembers of the frames before this chunk."""

    thumbnails: tuple[Tensor, ...] = ()
    """The last `_MEMORY` frames that show something, grey ``[18 * 32]``, newest last."""
    histograms: tuple[Tensor, ...] = ()
    """Their colour histograms ``[64]``, each summing to 1."""
    scores: tuple[float, ...] = (0.25,)
    """The last `_PAST` scores, none above `_MIN_MISMATCH`; a film starts as if it moved fast."""
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
        cuts = []
        for layout, histogram in zip(_grey(thumbnails), _histogram(thumbnails), strict=True):
            cut, state = _step(state, layout, histogram)
            cuts.append(cut)
        return torch.tensor(cuts), state


def _step(state: ShotState, layout: Tensor, histogram: Tensor) -> tuple[bool, ShotState]:
    """Judge one frame against what is remembered, and remember it."""
    first = not state.started
    if layout.std() < _BLANK:
        return first, ShotState(state.thumbnails, state.histograms, state.scores, True)
    scores, cut = state.scores, False
    if state.thumbnails:
        mismatch = _mismatch(layout, state.thumbnails[-1])
        if mismatch > _MIN_MISMATCH:  # rare: ask the older frames too
            mismatch = min([mismatch] + [_mismatch(layout, old) for old in state.thumbnails[:-1]])
        colour = min(float((histogram - old).abs().sum()) / 2 for old in state.histograms)
        score = mismatch + colour / 2
        cut = mismatch > _MIN_MISMATCH and score > _MIN_RATIO * sum(scores) / len(scores)
        scores = (*scores, min(score, _MIN_MISMATCH))[-_PAST:]
    thumbnails = (*state.thumbnails, layout)[-_MEMORY:]
    histograms = (*state.histograms, histogram)[-_MEMORY:]
    return first or cut, ShotState(thumbnails, histograms, scores, True)


def _thumbnails(video: Video) -> Video:
    """Return ``[T, 3, 18, 32]``, whatever the shape of the frames."""
    h, w = video.shape[2:]
    # Every n-th pixel will do for a start: averaging all of a large frame costs more than the rest.
    step_y, step_x = max(1, h // (8 * _SIZE[0])), max(1, w // (8 * _SIZE[1]))
    return F.interpolate(video[:, :, ::step_y, ::step_x].float().cpu(), _SIZE, mode="area")


def _grey(thumbnails: Video) -> Tensor:
    weights = thumbnails.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    return (thumbnails * weights).sum(1).flatten(1)


def _histogram(thumbnails: Video) -> Tensor:
    """Return joint colour histograms ``[T, 64]``, each summing to 1."""
    level = (thumbnails * _LEVELS).long().clamp(0, _LEVELS - 1).flatten(2)
    index = (level[:, 0] * _LEVELS + level[:, 1]) * _LEVELS + level[:, 2]
    return F.one_hot(index, _LEVELS**3).float().mean(1)


def _mismatch(a: Tensor, b: Tensor) -> float:
    """Return the mean absolute difference of two layouts at the best shift, contrast evened out."""
    pair = torch.stack((a, b))
    contrast = pair.std(1, keepdim=True) + _BLANK
    a, b = (pair - pair.mean(1, keepdim=True)) / contrast
    shifted, inside = _shifted(torch.stack((b, torch.ones_like(b))))
    difference = (shifted - a[:, None]).abs() * inside
    return float((difference.sum(0) / inside.sum(0)).min())


def _shifted(layouts: Tensor) -> Tensor:
    """Return all shifted copies of ``[N, 18 * 32]``, 0 outside, as ``[N, 18 * 32, shifts]``."""
    y, x = _REACH
    return F.unfold(F.pad(layouts.view(-1, 1, *_SIZE), (x, x, y, y)), _SIZE)
