"""Depth of a short clip."""

from comfy_api.latest import io
from torch import Tensor

from .layout import from_inverse_depth, to_video
from .load_models import depth_on_device
from .runtime import StoppableDepth
from .wire_types import Depth, schema


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
            aliases=("depth map", "depth anything"),
            inputs=[
                io.Image.Input("images", tooltip="The frames of the clip, in order."),
                Depth.Input(
                    "depth_model",
                    optional=True,
                    tooltip=(
                        "From Load Depth Model. Without it: Depth Anything V2 Small where it is "
                        "on this computer, else the embedded one."
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
    def execute(cls, images: Tensor, depth_model=None) -> io.NodeOutput:
        """Estimate the whole clip, so that its shots share one scale."""
        estimator = StoppableDepth(depth_model or depth_on_device("auto"))
        return io.NodeOutput(from_inverse_depth(estimator.estimate(to_video(images))))
