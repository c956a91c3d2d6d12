"""What a running node owes its user: a bar, a picture, the time left, and an end when asked for."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import comfy.model_management
import comfy.utils
from PIL import Image
from torch import Tensor

from ..dreamstereo_core import Inpainter, MaskedFrame
from ..dreamstereo_core.depth import DepthEstimator, WrappedDepth
from ..dreamstereo_core.fill import DEFAULTS, FillOptions, WrappedInpainter
from ..dreamstereo_core.film import Progress
from ..dreamstereo_core.stream import Frame
from ..dreamstereo_core.types import Video
from .messages import say

Item = TypeVar("Item")
PREVIEW_SIZE = 512
CHUNK_FRAMES = 8
LOOKS_BETWEEN = 100
"""Frames from one word about the search for shots to the next."""


class NodeProgress:
    """Shows the core's progress on the node, and raises as soon as the user interrupts."""

    def __init__(self, node_id: str):
        self.node_id = node_id
        self.bar = comfy.utils.ProgressBar(1, node_id=node_id)
        say("looking ahead ...", node_id)  # The first frames come out after a look at what follows.

    def look_at(self, frame: int) -> None:
        """Say how many frames the search for the film's shots has seen.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        comfy.model_management.throw_exception_if_processing_interrupted()
        if frame % LOOKS_BETWEEN == 0:
            say(f"looking for shots, frame {frame}", self.node_id)

    def __call__(self, progress: Progress) -> None:
        """Report one step.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        comfy.model_management.throw_exception_if_processing_interrupted()
        total = progress.total or progress.done + 1
        picture = preview_picture(progress.preview(PREVIEW_SIZE))
        self.bar.update_absolute(progress.done, total, picture)
        say(progress_text(progress), self.node_id)


class FrameBar:
    """Shows on the running node how many of its frames are done."""

    def __init__(self, total: int):
        self.bar = comfy.utils.ProgressBar(total)
        self.done = 0

    def count(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass the items on, one for each frame.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        for item in stoppable(items):
            self.done += 1
            self.bar.update_absolute(self.done)
            yield item

    def show(self, done: int, total: int) -> None:
        """Show that so much is done.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.bar.update_absolute(done, total)


def progress_text(progress: Progress) -> str:
    """Return "frame 120/340, ETA 0:12", as far as that is known."""
    if progress.seconds_left is None:
        return f"frame {progress.done}"
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    return f"frame {progress.done}/{progress.total}, ETA {minutes}:{seconds:02d}"


def preview_picture(picture: Tensor) -> tuple[str, Image.Image, int]:
    """Turn a picture `[3, H, W]` into what ComfyUI's progress bar shows."""
    pixels = (picture.clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
    return "JPEG", Image.fromarray(pixels), PREVIEW_SIZE


class StoppableDepth(WrappedDepth):
    """A depth estimator that looks at the stop button before each frame, and fills a bar."""

    def __init__(self, estimator: DepthEstimator, bar: FrameBar | None = None):
        super().__init__(estimator)
        self.bar = bar

    def stream(self, frames: Iterable[Frame], chunk_frames: int = CHUNK_FRAMES) -> Iterator[Tensor]:
        """Estimate as the estimator does; on a CPU frame by frame, since a batch takes long there.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        on_cpu = comfy.model_management.get_torch_device().type == "cpu"
        raws = self.estimator.stream(stoppable(frames), 1 if on_cpu else chunk_frames)
        return self.bar.count(raws) if self.bar else raws


class StoppableInpainter(WrappedInpainter):
    """An inpainter that looks at the stop button before each frame, and fills a bar."""

    def __init__(self, inpainter: Inpainter, bar: FrameBar | None = None):
        super().__init__(inpainter)
        self.bar = bar

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill as the inpainter does.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        filled = self.inpainter.stream(stoppable(frames), options)
        return self.bar.count(filled) if self.bar else stoppable(filled)


def stoppable(items: Iterable[Item]) -> Iterator[Item]:
    """Pass the items on, with a look at the stop button before each.

    Raises:
        InterruptProcessingException: the user pressed the stop button.
    """
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item


def chunks(frames: int, size: int = CHUNK_FRAMES) -> Iterator[slice]:
    """Cut `frames` into slices, with a progress bar and a look at the stop button between them.

    Raises:
        InterruptProcessingException: the user pressed the stop button.
    """
    bar = FrameBar(frames)
    for start in range(0, frames, size):
        bar.show(start, frames)
        yield slice(start, min(start + size, frames))
    bar.show(frames, frames)
