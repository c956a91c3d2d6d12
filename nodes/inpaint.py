"""The holes, filled."""

from comfy_api.latest import io
from torch import Tensor

from .layout import from_video, to_occlusion_mask, to_video
from .load_models import inpainter_on_device
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
        """Fill the whole clip, so that frames can learn from their neighbours."""
        filler = inpainter or inpainter_on_device("classic")
        video, holes = to_video(warped), to_occlusion_mask(mask)
        return io.NodeOutput(from_video(filler.inpaint(video, holes, disparity=warped_disparity)))
