"""A look before the long run."""

from comfy_api.latest import Input, io, ui

from ..dreamstereo_core import ConvertOptions, load_inpainter
from ..dreamstereo_core.disparity import MAX_BEHIND, MAX_FRONT
from ..dreamstereo_core.preview import preview_picture
from .convert import comfort_inputs
from .disparity import choose_convergence, strength_inputs
from .layout import from_video
from .load_models import depth_on_device
from .runtime import StoppableDepth, StoppableInpainter
from .sources import stream_source
from .wire_types import Depth, Inpainter, schema


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
            aliases=("contact sheet", "test frames"),
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
                Depth.Input(
                    "depth_model",
                    optional=True,
                    tooltip=(
                        "From Load Depth Model. Without it: Depth Anything V2 Small where it is "
                        "on this computer, else the embedded one."
                    ),
                ),
                Inpainter.Input(
                    "inpainter",
                    optional=True,
                    tooltip="From Load Inpainter or Load DreamStereo Model; without it: classic.",
                ),
                *comfort_inputs(),
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
    def execute(
        cls,
        video: Input.Video,
        count: int,
        max_disparity: float,
        convergence_mode: str,
        convergence: float,
        depth_model=None,
        inpainter=None,
        max_front: float = MAX_FRONT,
        max_behind: float = MAX_BEHIND,
        floating_window: bool = False,
    ) -> io.NodeOutput:
        """Convert the sampled frames, each by itself."""
        options = ConvertOptions(
            max_disparity=max_disparity,
            convergence=choose_convergence(convergence_mode, convergence),
            max_front=max_front,
            max_behind=max_behind,
            floating_window=floating_window,
        )
        with stream_source(video) as source:
            sheet = preview_picture(
                source,
                depth=StoppableDepth(depth_model or depth_on_device("auto")),
                inpainter=StoppableInpainter(inpainter or load_inpainter("classic")),
                options=options,
                count=count,
            )
        images = from_video(sheet)
        return io.NodeOutput(images, ui=ui.PreviewImage(images, cls=cls))
