"""The shot detector that is built in.

It works on thumbnails, without look-ahead. A frame starts a new shot when its layout matches none
of the last few frames at any small shift, and the mismatch stands out from the recent past. Layouts
are compared without their brightness and contrast, and without areas that are black in both (bars,
night), so that a flash is no cut. Shifts are searched, so that a pan is no cut. In fast motion the
recent past has large mismatches too, so it is no cut either. Blank frames (fades, black leaders)
start no shot and are not remembered. A dissolve is found at its end: the picture halfway is a
mixture of those before and after it, which have nothing in common.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..filters import LUMA
from ..types import Video
from .detector import CutDetector

_SIZE = (18, 32)  # px, height and width of a thumbnail
_REACH = (3, 7)  # px of it, largest shift up and down, left and right: a sixth and a fifth
_LEVELS = 4  # histogram levels per colour channel
_MEMORY = 4  # frames: a flash or a glitch shorter than that is forgotten
_PAST = 8  # frames whose scores a cut must stand out from
_BLANK = 0.02  # standard deviation below which a frame counts as blank
_NOISE = 0.01  # added to contrasts, so that noise alone makes no layout
_BLACK = 0.04  # level up to which a pixel of a thumbnail may belong to a bar
_CLEAR = 0.06  # standard deviation from which a frame after a blank one is judged
_PATIENCE = 16  # frames that a fade-in may take until then
_FEW = 6  # pixels; a thumbnail with fewer that are not black counts as blank
_MIN_MISMATCH = 0.4  # mean absolute difference of thumbnails, in units of their contrast
_MIN_RATIO = 2.5  # least ratio of the score to the recent mean score
_MIN_JUMP = 2.2  # least ratio of the score to the last two, since growing motion is no cut
_SURE = 0.7  # score above which there is a cut, however fast the recent motion
_HALVES = (4, 8)  # frames from a dissolve's middle to where it is judged
_MIXTURE = (0.2, 0.8)  # share that each end must have in a dissolve's middle
_MAX_RESIDUAL = 0.4  # largest error of the mixture, in units of the middle's contrast
_MAX_CORRELATION = 0.5  # largest correlation of a dissolve's two ends


@dataclass(frozen=True)
class ShotState:
    """What the detector remembers of the frames before this chunk."""

    thumbnails: tuple[Tensor, ...] = ()
    """The last `_MEMORY` frames that show something, grey ``[18 * 32]``, newest last."""
    histograms: tuple[Tensor, ...] = ()
    """Their colour histograms ``[64]``, each summing to 1."""
    scores: tuple[float, ...] = (0.25,)
    """The last `_PAST` scores, none above `_MIN_MISMATCH`; a film starts as in fast motion."""
    since: tuple[Tensor, ...] = ()
    """The last frames of this shot without a gap, at most 16 thumbnails, newest last."""
    started: bool = False
    """Whether the film's first frame has been seen."""
    dim: int = 0
    """After a blank frame: how many more dim frames are passed over."""


class ShotDetector(CutDetector):
    """Find the frames that start a new shot, each as it comes."""

    def cuts(self, video: Video, state: ShotState | None = None) -> tuple[Tensor, ShotState]:
        """Return which frames of ``[T, 3, H, W]`` start a shot, bool ``[T]``, and the next state.

        Raises:
            TypeError: `video` is not a floating point tensor.
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
    contrast = _contrast(layout)
    if contrast < _BLANK:
        return first, replace(state, since=(), started=True, dim=_PATIENCE)
    if state.dim and contrast < _CLEAR:
        return first, replace(state, started=True, dim=state.dim - 1)
    scores, cut = state.scores, False
    if state.thumbnails:
        mismatch = _mismatch(layout, state.thumbnails[-1])
        if mismatch > _MIN_MISMATCH:  # this is rare, so that older frames may be compared, too
            mismatch = min([mismatch] + [_mismatch(layout, old) for old in state.thumbnails[:-1]])
        colour = min(float((histogram - old).abs().sum()) / 2 for old in state.histograms)
        score = mismatch + colour / 2
        least = max(_MIN_RATIO * sum(scores) / len(scores), _MIN_JUMP * max(scores[-2:]))
        cut = mismatch > _MIN_MISMATCH and score > min(least, _SURE)
        scores = (*scores, min(score, _MIN_MISMATCH))[-_PAST:]
    cut = cut or any(_dissolved(state.since, layout, half) for half in _HALVES)
    return first or cut, ShotState(
        thumbnails=(*state.thumbnails, layout)[-_MEMORY:],
        histograms=(*state.histograms, histogram)[-_MEMORY:],
        scores=scores,
        since=() if cut else (*state.since, layout)[-2 * _HALVES[-1] :],
        started=True,
    )


def _contrast(layout: Tensor) -> float:
    """Return a layout's standard deviation without bars; 0 where next to nothing is lit."""
    lit = layout[_telling(layout)]
    return float(lit.std()) if len(lit) >= _FEW else 0.0


def _telling(layout: Tensor) -> Tensor:
    """Return which pixels ``[18 * 32]`` are neither black nor at the border of a bar."""
    lit = (layout > _BLACK).float().view(1, 1, *_SIZE)
    return (-F.max_pool2d(-lit, 3, 1, 1)).flatten() > 0


def _dissolved(since: tuple[Tensor, ...], now: Tensor, half: int) -> bool:
    """Return whether the layout `half` frames ago was a mixture of `now` and one as long before."""
    if len(since) < 2 * _HALVES[-1]:  # shots are longer, and a dissolve is found only once
        return False
    layouts = torch.stack((since[-2 * half], now, since[-half]))
    layouts = layouts[:, _telling(layouts.amax(0))]
    layouts = layouts - layouts.mean(1, keepdim=True)
    (aa, ab, am), (_, bb, bm), (_, _, mm) = (layouts @ layouts.T / layouts.shape[1]).tolist()
    least = _BLANK**2
    if min(aa, bb, mm) < least or abs(ab) > _MAX_CORRELATION * (aa * bb) ** 0.5:
        return False
    determinant = aa * bb - ab * ab
    a, b = (am * bb - bm * ab) / determinant, (bm * aa - am * ab) / determinant
    residual = mm - a * am - b * bm
    low, high = _MIXTURE
    return (
        low < a < high
        and low < b < high
        and residual < _MAX_RESIDUAL**2 * mm
        and _mismatch(since[-2 * half], now) > _MIN_MISMATCH
        and _mismatch(since[-half], now) > _MIN_MISMATCH / 2  # else it is the same, moved
        and _mismatch(since[-half], since[-2 * half]) > _MIN_MISMATCH / 2
    )


def _thumbnails(video: Video) -> Video:
    """Return ``[T, 3, 18, 32]``, whatever the shape of the frames."""
    h, w = video.shape[2:]
    # Only every n-th pixel is read: averaging all of a large frame would cost more than the rest.
    step_y, step_x = max(1, h // (8 * _SIZE[0])), max(1, w // (8 * _SIZE[1]))
    return F.interpolate(video[:, :, ::step_y, ::step_x].float().cpu(), _SIZE, mode="area")


def _grey(thumbnails: Video) -> Tensor:
    weights = thumbnails.new_tensor(LUMA).view(1, 3, 1, 1)
    return (thumbnails * weights).sum(1).flatten(1)


def _histogram(thumbnails: Video) -> Tensor:
    """Return joint colour histograms ``[T, 64]``, each summing to 1."""
    level = (thumbnails * _LEVELS).long().clamp(0, _LEVELS - 1).flatten(2)
    index = (level[:, 0] * _LEVELS + level[:, 1]) * _LEVELS + level[:, 2]
    return F.one_hot(index, _LEVELS**3).float().mean(1)


def _mismatch(a: Tensor, b: Tensor) -> float:
    """Return the mean absolute difference of two layouts of equal contrast, at the best shift."""
    pair = torch.stack((a, b))
    counts = _telling(pair.amax(0)).float()
    number = counts.sum().clamp(min=1)
    pair = pair - (pair * counts).sum(1, keepdim=True) / number
    contrast = ((pair.square() * counts).sum(1, keepdim=True) / number).sqrt() + _NOISE
    a, b = pair / contrast * counts
    shifted, inside = _shifted(torch.stack((b, counts)))
    inside = inside * counts[:, None]
    difference = ((shifted - a[:, None]).abs() * inside).sum(0)
    overlap = inside.sum(0)
    enough = overlap >= number / 2
    return float((difference[enough] / overlap[enough]).min()) if enough.any() else 0.0


def _shifted(layouts: Tensor) -> Tensor:
    """Return all shifted copies of ``[N, 18 * 32]``, 0 outside, as ``[N, 18 * 32, shifts]``."""
    y, x = _REACH
    return F.unfold(F.pad(layouts.view(-1, 1, *_SIZE), (x, x, y, y)), _SIZE)
