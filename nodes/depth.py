"""Depth of a short clip."""

from comfy_api.latest import io
from torch import Tensor

from .layout import from_inverse_depth, to_video
from .load_models import depth_on_device
from .messages import explained
from .runtime import FrameBar, StoppableDepth
from .wire_types import STAGES, Depth, schema


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
                Depth.Input(
                    "depth_model",
                    optional=True,
                    tooltip=(
                        "From Load Depth Model. Without it: Video Depth Anything Small or Depth "
                        "Anything V2 Small where they are on this computer, else the embedded one."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="inverse_depth",
                    tooltip=(
                        "Grey, white = near. Any other depth node's grey output can take its place."
                    ),
                )
            ],
        )

    @classmethod
    @explained
    def execute(cls, images: Tensor, depth_model=None) -> io.NodeOutput:
        """Estimate the whole clip, so that its shots share one scale."""
        video = to_video(images)
        estimator = StoppableDepth(depth_model or depth_on_device("auto"), FrameBar(len(video)))
        return io.NodeOutput(from_inverse_depth(estimator.estimate(video)))
