"""What a running node owes its user: a bar, a picture, the time left, and an end when asked for."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import comfy.model_management
import comfy.utils
from PIL import Image
from server import PromptServer
from torch import Tensor

from ..dreamstereo_core import Inpainter, MaskedFrame
from ..dreamstereo_core.convert import Progress
from ..dreamstereo_core.depth import WrappedDepth
from ..dreamstereo_core.fill import DEFAULTS, FillOptions
from ..dreamstereo_core.stream import Frame
from ..dreamstereo_core.types import Video

Item = TypeVar("Item")
PREVIEW_SIZE = 512
CHUNK_FRAMES = 8


class NodeProgress:
    """Shows the core's progress on the node, and raises as soon as the user interrupts."""

    def __init__(self, node_id: str):
        self.node_id = node_id
        self.bar = comfy.utils.ProgressBar(1, node_id=node_id)
        self.say("looking ahead ...")  # The first frames come out after a look at what follows.

    def __call__(self, progress: Progress) -> None:
        """Report one step.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        comfy.model_management.throw_exception_if_processing_interrupted()
        total = progress.total or progress.done + 1
        picture = preview_picture(progress.preview(PREVIEW_SIZE))
        self.bar.update_absolute(progress.done, total, picture)
        self.say(progress_text(progress))

    def say(self, text: str) -> None:
        """Show `text` on the node."""
        server = PromptServer.instance
        server.send_progress_text(text, self.node_id, server.client_id)


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
    """A depth estimator that looks at the stop button before each frame."""

    def stream(self, frames: Iterable[Frame], chunk_frames: int = CHUNK_FRAMES) -> Iterator[Tensor]:
        """Estimate as the estimator does; on a CPU frame by frame, since a batch takes long there.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        on_cpu = comfy.model_management.get_torch_device().type == "cpu"
        return self.estimator.stream(_stoppable(frames), 1 if on_cpu else chunk_frames)


class StoppableInpainter(Inpainter):
    """An inpainter that looks at the stop button before each frame."""

    def __init__(self, inpainter: Inpainter):
        self.inpainter, self.name = inpainter, inpainter.name

    def stream(
        self, frames: Iterable[MaskedFrame], options: FillOptions = DEFAULTS
    ) -> Iterator[Video]:
        """Fill as the inpainter does.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        return _stoppable(self.inpainter.stream(_stoppable(frames), options))


def _stoppable(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item


def chunks(frames: int, size: int = CHUNK_FRAMES) -> Iterator[slice]:
    """Cut `frames` into slices, with a progress bar and a look at the stop button between them.

    Raises:
        InterruptProcessingException: the user pressed the stop button.
    """
    bar = comfy.utils.ProgressBar(frames)
    for start in range(0, frames, size):
        comfy.model_management.throw_exception_if_processing_interrupted()
        stop = min(start + size, frames)
        yield slice(start, stop)
        bar.update_absolute(stop)
