"""Depth of a short clip."""

from collections.abc import Iterator

from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core.types import ShotScale
from .layout import from_inverse_depth, join, to_frames
from .load_models import connected_depth
from .memory import STAGE_VALUES, check_memory
from .messages import explained
from .runtime import FrameBar, StoppableDepth
from .wire_types import STAGES, DepthScale, depth_model_input, schema


class EstimateDepth(io.ComfyNode):
    """Estimates inverse depth, one scale per shot."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "EstimateDepth",
            display_name="Estimate Depth",
            description=(
                "Estimates the depth of a short clip: white is near, black is far, one scale per "
                "shot."
            ),
            room=STAGES,
            aliases=("depth map", "depth anything", "2d to 3d depth"),
            inputs=[
                io.Image.Input("images", tooltip="The frames of the clip, in order."),
                depth_model_input(
                    "Without it: Video Depth Anything Small or Depth Anything V2 Small where they "
                    "are on this computer, else the embedded one."
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="inverse_depth",
                    tooltip=(
                        "Grey, white = near. Any other depth node's grey output can take its place."
                    ),
                ),
                DepthScale.Output(
                    display_name="depth_scale",
                    tooltip="For Depth to Disparity: it then puts on the screen what Convert does.",
                ),
            ],
        )

    @classmethod
    @explained
    def execute(cls, images: Tensor, depth_model=None) -> io.NodeOutput:
        """Estimate the whole clip, so that its shots share one scale."""
        check_memory(images, 3, behind=STAGE_VALUES)
        estimator = StoppableDepth(connected_depth(depth_model), FrameBar(len(images)))
        scales: list[ShotScale] = []

        def depths() -> Iterator[tuple[Tensor]]:
            for frame in estimator.estimate_frames(to_frames(images)):
                scales.append(frame.scale)
                yield (from_inverse_depth(frame.inverse_depth),)

        return io.NodeOutput(*join(depths(), len(images)), scales)
