"""Inpainted pixels in the holes, warped pixels everywhere else."""

from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import blend
from ..dreamstereo_core.checks import check_frames
from ..dreamstereo_core.fill.holes import MULTIPLE
from ..dreamstereo_core.models.conditioning import FRAMES
from .layout import from_video, join, to_occlusion_mask, to_video
from .memory import check_memory
from .messages import explained
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
    @explained
    def execute(
        cls, inpainted: Tensor, warped: Tensor, mask: Tensor, feather: int
    ) -> io.NodeOutput:
        """Blend chunk by chunk."""
        holes, frames = to_occlusion_mask(mask), len(warped)
        filled = cut_filling(inpainted, warped)
        like = to_video(warped[:1]).expand(frames, -1, -1, -1)
        check_frames("mask", holes, channels=1, like=like)
        if filled.shape[:3] != warped.shape[:3]:
            expected, got = list(warped.shape[:3]), list(filled.shape[:3])
            raise ValueError(f"inpainted: expected shape {expected} + channels, got {got}")
        check_memory(warped, 3)

        def blended(part: slice) -> tuple[Tensor]:
            pictures = to_video(filled[part]), to_video(warped[part])
            return (from_video(blend(*pictures, holes[part], feather=feather)),)

        return io.NodeOutput(*join(map(blended, chunks(frames)), frames))


def cut_filling(images: Tensor, like: Tensor) -> Tensor:
    """Cut what fills an IMAGE up to whole tokens, less than 4 frames and 16 pixels, and no more."""
    wanted = like.shape[:3]
    surplus = [has - wants for has, wants in zip(images.shape[:3], wanted, strict=True)]
    if all(0 <= n < limit for n, limit in zip(surplus, (FRAMES, *2 * [MULTIPLE]), strict=True)):
        frames, height, width = wanted
        return images[:frames, :height, :width]
    return images
