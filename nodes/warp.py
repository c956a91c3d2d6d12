"""The other eye's view, with holes."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import gapw_warp
from ..dreamstereo_core.disparity import resize_disparity
from ..dreamstereo_core.types import Eye
from .layout import from_occlusion_mask, from_video, to_video
from .options import eye_input
from .runtime import chunks
from .wire_types import STAGES, Disparity, schema


class Warp(io.ComfyNode):
    """Gradient-aware parallax warping."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "Warp",
            display_name="Warp to Other Eye",
            description=(
                "Moves every pixel to where the other eye sees it, and marks what this eye never "
                "saw."
            ),
            room=STAGES,
            aliases=("gapw", "parallax", "reprojection", "stereo view", "other eye"),
            inputs=[
                io.Image.Input("images", tooltip="The frames that one eye sees."),
                Disparity.Input(
                    "disparity",
                    tooltip=(
                        "From Depth to Disparity; resized to the frames where it has another size."
                    ),
                ),
                eye_input(),
                io.Float.Input(
                    "stretch_threshold",
                    default=1.5,
                    min=1.0,
                    max=10.0,
                    step=0.1,
                    tooltip=(
                        "A pixel stretched wider than this counts as a hole. Lower: more and "
                        "wider holes."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="warped", tooltip="The other view, holes stretched over."
                ),
                io.Mask.Output(display_name="mask", tooltip="1 = hole, to be inpainted."),
                Disparity.Output(
                    display_name="warped_disparity",
                    tooltip="The disparity in the other view, for Inpaint.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, images: Tensor, disparity: Tensor, eye: Eye, stretch_threshold: float
    ) -> io.NodeOutput:
        """Warp chunk by chunk."""
        video = to_video(images)
        if len(disparity) != len(video):
            raise ValueError(f"disparity: expected {len(video)} frames, got {len(disparity)}")
        if disparity.shape[-2:] != video.shape[-2:]:
            disparity = resize_disparity(disparity, *video.shape[-2:])
        parts = []
        for part in chunks(len(video)):
            result = gapw_warp(
                video[part], disparity[part], toward=eye, stretch_threshold=stretch_threshold
            )
            parts.append((result.video, result.occlusion_mask, result.disparity))
        warped, mask, target_disparity = (torch.cat(x) for x in zip(*parts, strict=True))
        return io.NodeOutput(from_video(warped), from_occlusion_mask(mask), target_disparity)
