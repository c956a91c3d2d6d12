"""The holes, filled."""

from collections.abc import Iterator

import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import MaskedFrame, load_inpainter
from ..dreamstereo_core.checks import check_finite, check_frames
from ..dreamstereo_core.scenes import ShotDetector
from ..dreamstereo_core.types import Video
from .layout import from_video, to_occlusion_mask, to_video
from .runtime import StoppableInpainter
from .wire_types import Disparity, Inpainter, schema


class Inpaint(io.ComfyNode):
    """Fills the holes of a warped clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "Inpaint",
            display_name="Inpaint Holes",
            description=(
                "Fills the holes that the warp opened. Blend the result with the warped frames."
            ),
            aliases=("fill holes", "disocclusion"),
            inputs=[
                io.Image.Input("warped", tooltip="The warped frames."),
                io.Mask.Input(
                    "mask", tooltip="1 = hole. From Warp to Other Eye, or any other mask."
                ),
                Disparity.Input(
                    "warped_disparity",
                    optional=True,
                    tooltip=(
                        "The disparity of the warped view: tells the background from the "
                        "foreground."
                    ),
                ),
                Inpainter.Input(
                    "inpainter", optional=True, tooltip="From Load Inpainter. Without it: classic."
                ),
            ],
            outputs=[io.Image.Output(display_name="inpainted", tooltip="The filled frames.")],
        )

    @classmethod
    def execute(
        cls, warped: Tensor, mask: Tensor, warped_disparity: Tensor | None = None, inpainter=None
    ) -> io.NodeOutput:
        """Fill the whole clip, shot by shot, so that frames can learn from their neighbours."""
        video, holes = to_video(warped), to_occlusion_mask(mask)
        check_frames("mask", holes, channels=1, like=video)
        if warped_disparity is not None:
            check_frames("warped_disparity", warped_disparity, channels=1, like=video)
            check_finite("warped_disparity", warped_disparity)
        filler = StoppableInpainter(inpainter or load_inpainter("classic"))
        filled = []
        for shot in shots(video):
            frames = (
                MaskedFrame(
                    video[t : t + 1],
                    holes[t : t + 1],
                    None if warped_disparity is None else warped_disparity[t : t + 1],
                )
                for t in shot
            )
            filled += filler.stream(frames)
        return io.NodeOutput(from_video(torch.cat(filled)))


def shots(video: Video) -> Iterator[range]:
    """Cut a clip `[T, 3, H, W]` into shots: an inpainter must not look across a cut."""
    cuts, _ = ShotDetector().cuts(video)
    starts = cuts.nonzero().flatten().tolist()
    for start, stop in zip(starts, [*starts[1:], len(video)], strict=True):
        yield range(start, stop)
