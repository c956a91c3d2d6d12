"""The interface of what finds the frames that start a new shot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from ..stream import Frame
from ..types import Video


class CutDetector(Protocol):
    """Finds the frames that start a new shot."""

    def cuts(self, video: Video, state: Any = None) -> tuple[Tensor, Any]:
        """Return which frames start a shot, bool ``[n]``, and the state for the next chunk.

        The film's first frame (`state` is None) always starts one. Chunks ``[T, 3, H, W]`` arrive
        in order, and the result is the same however a film is cut into chunks. A detector that
        looks ahead returns fewer than T results; the others come in order, from later calls or from
        `flush`.

        Raises:
            TypeError: `video` is not a floating point tensor.
            ValueError: `video` has another shape.
        """
        ...

    def flush(self, state: Any) -> Tensor:
        """End the film: return bool ``[n]`` for the frames that are still undecided."""
        return torch.zeros(0, dtype=torch.bool)

    def stream(self, frames: Iterable[Frame]) -> Iterator[bool]:
        """Yield for each frame whether it starts a shot, perhaps late."""
        state = None
        for frame in frames:
            if frame.notes is not None:
                state = frame.notes.keep("cuts", state)
            cuts, state = self.cuts(frame.pixels[None], state)
            yield from cuts.tolist()
        yield from self.flush(state).tolist()
