"""How far apart the two eyes see each point."""

from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import inverse_depth_to_disparity
from ..dreamstereo_core.masks import dilate
from .layout import to_inverse_depth
from .wire_types import Disparity, schema


class DepthToDisparity(io.ComfyNode):
    """Scales inverse depth to disparity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "Disparity",
            display_name="Depth to Disparity",
            description=(
                "Turns depth into the shift between the eyes: how strong the effect is, and what "
                "lies on the screen."
            ),
            aliases=("disparity", "parallax", "strength", "convergence"),
            inputs=[
                io.Image.Input("inverse_depth", tooltip="Grey depth picture, white = near."),
                *strength_inputs(),
                io.Int.Input(
                    "foreground_dilation",
                    default=1,
                    min=0,
                    max=32,
                    tooltip=(
                        "Pixels by which near things grow, so that their blended borders move "
                        "with them. About 1 for 640 of width; 0 for an exact depth."
                    ),
                ),
            ],
            outputs=[
                Disparity.Output(
                    display_name="disparity", tooltip="Signed pixels, x_left - x_right."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        inverse_depth: Tensor,
        max_disparity: float,
        convergence: float,
        foreground_dilation: int,
    ) -> io.NodeOutput:
        """Scale to pixels of the picture's own width."""
        grown = dilate(to_inverse_depth(inverse_depth), foreground_dilation)
        disparity = inverse_depth_to_disparity(
            grown, max_disparity=max_disparity, convergence=convergence
        )
        return io.NodeOutput(disparity)


def strength_inputs(*, with_auto: bool = False) -> list[io.Input]:
    """Return the inputs for strength and convergence, on request with a switch between them."""
    tooltip = (
        "The depth that lies on the screen: 0 brings everything in front of it, 1 puts everything "
        "behind it."
    )
    automatic = io.Boolean.Input(
        "auto_convergence",
        default=True,
        label_on="auto",
        label_off="manual",
        tooltip="auto: each shot's middle depth lies on the screen. manual: the value below.",
    )
    return [
        io.Float.Input(
            "max_disparity",
            default=3.0,
            min=0.0,
            max=10.0,
            step=0.1,
            tooltip=(
                "Strength: the shift between the farthest and the nearest point, in % of the "
                "width. 2 is gentle, 3 good for most screens, 5 strong."
            ),
        ),
        *([automatic] if with_auto else []),
        io.Float.Input(
            "convergence",
            default=0.5,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip=f"Used when auto_convergence is manual. {tooltip}" if with_auto else tooltip,
        ),
    ]
