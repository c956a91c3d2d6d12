"""How comfortable a film's depth would be, before the long run."""

import json
from typing import Any

from comfy_api.latest import Input, io, ui

from ..dreamstereo_core import DecodeOptions
from ..dreamstereo_core.comfort import Viewing, draw_report
from ..dreamstereo_core.comfort.write import summary
from ..dreamstereo_core.options import pick_options
from ..dreamstereo_core.report import film_report
from .film_inputs import reading_inputs
from .layout import from_video
from .load_models import connected_depth
from .managed import kept_together
from .messages import explained
from .options import (
    bars_input,
    comfort_inputs,
    convert_options,
    eye_input,
    folded,
    shots_input,
    strength_inputs,
)
from .runtime import FrameBar, StoppableDepth
from .sources import stream_source
from .wire_types import depth_model_input, schema


class ComfortReport(io.ComfyNode):
    """Measures a film as a conversion would show it, without making the other eye."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "ComfortReport",
            display_name="Comfort Report",
            description=(
                "Measures how comfortable a film's depth would be: what comes in front of the "
                "screen and goes behind it, jumps at cuts, near things that the borders cut off. "
                "Only the depth is computed, so it takes less time than a conversion."
            ),
            aliases=("stereo comfort", "depth budget", "parallax", "disparity over time"),
            inputs=[
                io.Video.Input("video", tooltip="The 2D film, of any length."),
                *strength_inputs(),
                depth_model_input(
                    "Without it: Video Depth Anything Small or Depth Anything V2 Small where they "
                    "are on this computer, else the embedded one."
                ),
                *(_metres(name, what) for name, what in _SCREEN.items()),
                *folded(
                    *comfort_inputs(),
                    eye_input(optional=True),
                    shots_input(),
                    bars_input(),
                    *reading_inputs(),
                ),
            ],
            outputs=[
                io.Image.Output(display_name="plot", tooltip="Disparity over time, the limits."),
                io.String.Output(display_name="summary", tooltip="The result in a few sentences."),
                io.String.Output(display_name="report", tooltip="Everything, as JSON."),
            ],
            is_output_node=True,
        )

    @classmethod
    @explained
    def execute(
        cls,
        video: Input.Video,
        depth_model=None,
        screen_width: float = 0.0,
        distance: float = 0.0,
        **given: Any,
    ) -> io.NodeOutput:
        """Measure the whole film."""
        viewing = Viewing(screen_width or None, distance or None)
        depth = connected_depth(depth_model)
        bar = FrameBar(1)
        with stream_source(video) as source, kept_together(depth):
            report = film_report(
                source,
                depth=StoppableDepth(depth),
                options=convert_options(given),
                decode=pick_options(DecodeOptions, given),
                viewing=viewing,
                on_step=lambda done, total: bar.show(done, total or done + 1),
            )
        plot = from_video(draw_report(report).picture()[None])
        told = json.dumps(report.as_dict(), indent=1)
        return io.NodeOutput(plot, summary(report), told, ui=ui.PreviewImage(plot, cls=cls))


_SCREEN = {
    "screen_width": "Width of the screen in metres: limits and degrees for it. 0: not known.",
    "distance": "From the eyes to that screen, in metres. 0: not known.",
}


def _metres(name: str, tooltip: str) -> io.Input:
    return io.Float.Input(
        name, default=0.0, min=0.0, max=100.0, step=0.05, optional=True, tooltip=tooltip
    )
