"""What a running node owes its user: a bar, a picture, the time left, and an end when asked for."""

from collections.abc import Iterator

import comfy.model_management
import comfy.utils
from PIL import Image
from server import PromptServer
from torch import Tensor

from ..dreamstereo_core.convert import Progress

PREVIEW_SIZE = 512
CHUNK_FRAMES = 8


class NodeProgress:
    """Shows the core's progress on the node, and raises as soon as the user interrupts."""

    def __init__(self, node_id: str):
        self.node_id = node_id
        self.bar = comfy.utils.ProgressBar(1, node_id=node_id)

    def __call__(self, progress: Progress) -> None:
        """Report one step.

        Raises:
            InterruptProcessingException: the user pressed the stop button.
        """
        comfy.model_management.throw_exception_if_processing_interrupted()
        total = progress.total or progress.done + 1
        picture = preview_picture(progress.preview(PREVIEW_SIZE))
        self.bar.update_absolute(progress.done, total, picture)
        server = PromptServer.instance
        server.send_progress_text(progress_text(progress), self.node_id, server.client_id)


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
