"""A look before the long run."""

from typing import Any

from comfy_api.latest import Input, io, ui

from ..dreamstereo_core import DecodeOptions
from ..dreamstereo_core.fill import INPAINTERS
from ..dreamstereo_core.options import pick_options
from ..dreamstereo_core.preview import preview_picture
from .film_inputs import reading_inputs
from .layout import from_video
from .load_models import connected_depth, inpainter_on_device
from .managed import kept_together
from .messages import explained
from .options import (
    bars_input,
    comfort_inputs,
    convert_options,
    eye_input,
    feather_input,
    fill_input,
    folded,
    moved_diffusion_inputs,
    strength_inputs,
)
from .runtime import FrameBar, StoppableDepth, StoppableInpainter
from .sources import stream_source
from .wire_types import Inpainter, depth_model_input, schema


class PreviewSheet(io.ComfyNode):
    """Shows a few frames of a film as they would become."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "PreviewSheet",
            display_name="Preview Sheet",
            description=(
                "Shows a few frames of a film before the long run: the anaglyph, the depth and the "
                "holes, one frame a column. Each frame is converted by itself."
            ),
            aliases=("2d to 3d preview", "stereo preview", "contact sheet", "test frames"),
            inputs=[
                io.Video.Input("video", tooltip="The 2D film, of any length."),
                io.Int.Input(
                    "count",
                    default=4,
                    min=1,
                    max=32,
                    tooltip="How many frames, evenly spread over the film.",
                ),
                *strength_inputs(),
                depth_model_input(
                    "Without it: Video Depth Anything Small or Depth Anything V2 Small where they "
                    "are on this computer, else the embedded one."
                ),
                Inpainter.Input(
                    "inpainter",
                    optional=True,
                    tooltip="From Load Inpainter or Load DreamStereo Model.",
                ),
                *folded(
                    *comfort_inputs(),
                    eye_input(optional=True),
                    fill_input(optional=True),
                    feather_input(optional=True),
                ),
                *moved_diffusion_inputs(),
                *folded(
                    bars_input(),
                    *reading_inputs(),
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="sheet",
                    tooltip="Rows: red-cyan anaglyph, inverse depth, holes.",
                )
            ],
            is_output_node=True,
        )

    @classmethod
    @explained
    def execute(
        cls,
        video: Input.Video,
        count: int,
        depth_model=None,
        inpainter=None,
        fill: str = INPAINTERS[0],
        **given: Any,
    ) -> io.NodeOutput:
        """Convert the sampled frames, each by itself."""
        depth = connected_depth(depth_model)
        inpainter = inpainter or inpainter_on_device(fill)
        with stream_source(video) as source, kept_together(depth, inpainter):
            sheet = preview_picture(
                source,
                depth=StoppableDepth(depth),
                inpainter=StoppableInpainter(inpainter),
                options=convert_options(given),
                decode=pick_options(DecodeOptions, given),
                count=count,
                on_step=FrameBar(1).show,
            )
        images = from_video(sheet)
        return io.NodeOutput(images, ui=ui.PreviewImage(images, cls=cls))
