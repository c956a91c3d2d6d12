"""What ComfyUI's own Depth Anything 3 nodes give, as inverse depth."""

from typing import Any

import torch
from comfy_api.latest import io

from ..dreamstereo_core.depth import ClipDepth
from ..dreamstereo_core.depth.estimator import invert_meters
from .layout import from_inverse_depth, to_video
from .messages import explained
from .runtime import FrameBar, StoppableDepth
from .wire_types import STAGES, schema

# Newer cores have nodes that give it; on older ones nothing connects to the input.
Geometry = io.Custom("DA3_GEOMETRY")
_SKY = 0.5  # probability from which on a pixel is sky


class GeometryDepth(io.ComfyNode):
    """Turns DA3_GEOMETRY into inverse depth, one scale per shot."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "GeometryDepth",
            display_name="Depth from DA3 Geometry",
            description=(
                "Turns the geometry of ComfyUI's Depth Anything 3 into a depth picture: white is "
                "near, the sky is black, one scale per shot."
            ),
            room=STAGES,
            aliases=("depth anything 3", "da3", "geometry"),
            inputs=[
                Geometry.Input("da3_geometry", tooltip="From Run Depth Anything 3, on a clip.")
            ],
            outputs=[
                io.Image.Output(
                    display_name="inverse_depth",
                    tooltip="Grey, white = near, for Depth to Disparity.",
                )
            ],
        )

    @classmethod
    @explained
    def execute(cls, da3_geometry: dict[str, Any]) -> io.NodeOutput:
        """Invert the distances of the whole clip, so that its shots share one scale."""
        raw = invert_meters(da3_geometry["depth"][:, None].float())
        if "sky" in da3_geometry:
            raw = torch.where(da3_geometry["sky"][:, None] > _SKY, 0.0, raw)
        video = to_video(da3_geometry["image"])
        estimator = StoppableDepth(ClipDepth(raw), FrameBar(len(video)))
        return io.NodeOutput(from_inverse_depth(estimator.estimate(video)))
