"""Inpainted pixels in the holes, warped pixels everywhere else."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import blend
from ..dreamstereo_core.checks import check_frames
from ..dreamstereo_core.fill.holes import MULTIPLE
from ..dreamstereo_core.models.conditioning import FRAMES
from .layout import from_video, to_occlusion_mask, to_video
from .options import feather_input
from .runtime import chunks
from .wire_types import STAGES, schema


class Blend(io.ComfyNode):
    """Blends inpainted and warped frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "Blend",
            display_name="Blend Inpainted Holes",
            description=(
                "Takes the holes from the inpainted frames; every other pixel stays exactly as it"
                " was warped."
            ),
            room=STAGES,
            aliases=("composite", "mask blend"),
            inputs=[
                io.Image.Input(
                    "inpainted",
                    tooltip=(
                        "The filled frames. What Inpaint Conditioning (Wan) filled up at the end, "
                        "the bottom and the right is cut off."
                    ),
                ),
                io.Image.Input("warped", tooltip="The warped frames."),
                io.Mask.Input("mask", tooltip="1 = hole."),
                feather_input(),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The other eye's view, complete.")
            ],
        )

    @classmethod
    def execute(
        cls, inpainted: Tensor, warped: Tensor, mask: Tensor, feather: int
    ) -> io.NodeOutput:
        """Blend chunk by chunk."""
        filled, known, holes = to_video(inpainted), to_video(warped), to_occlusion_mask(mask)
        filled = cut_filling(filled, known)
        check_frames("inpainted", filled, channels=3, like=known)
        check_frames("mask", holes, channels=1, like=known)
        parts = [
            blend(filled[part], known[part], holes[part], feather=feather)
            for part in chunks(len(known))
        ]
        return io.NodeOutput(from_video(torch.cat(parts)))


def cut_filling(video: Tensor, like: Tensor) -> Tensor:
    """Cut what fills a clip up to whole tokens, less than 4 frames and 16 pixels, and no more."""
    frames, _, height, width = like.shape
    surplus = (len(video) - frames, video.shape[2] - height, video.shape[3] - width)
    if all(0 <= n < limit for n, limit in zip(surplus, (FRAMES, *2 * [MULTIPLE]), strict=True)):
        return video[:frames, :, :height, :width]
    return video
