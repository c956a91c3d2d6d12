"""The other eye's view, with holes."""

from collections.abc import Iterator
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import ConvertOptions, gapw_warp
from ..dreamstereo_core.disparity import resize_disparity
from ..dreamstereo_core.types import Eye
from .layout import from_occlusion_mask, from_video, join, to_video
from .memory import check_memory
from .messages import explained
from .options import bars_input, convert_options, eye_input, folded, shots_input
from .runtime import FrameBar
from .shots import clip_shots
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
                    default=ConvertOptions.stretch_threshold,
                    min=1.0,
                    max=10.0,
                    step=0.1,
                    tooltip=(
                        "A pixel stretched wider than this counts as a hole. Lower: more and "
                        "wider holes. 3: as in Convert. 1.5: the paper's, for a diffusion model."
                    ),
                ),
                *folded(shots_input(), bars_input()),
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
    @explained
    def execute(
        cls, images: Tensor, disparity: Tensor, eye: Eye, stretch_threshold: float, **given: Any
    ) -> io.NodeOutput:
        """Warp frame by frame, within the bars."""
        frames, (height, width) = len(images), images.shape[1:3]
        options = convert_options({**given, "eye": eye, "stretch_threshold": stretch_threshold})
        if len(disparity) != frames:
            raise ValueError(f"disparity: expected {frames} frames, got {len(disparity)}")
        check_memory(images, 5)
        bar = FrameBar(frames)

        def views() -> Iterator[tuple[Tensor, ...]]:
            for shot in clip_shots(images, options):
                for t in bar.count(range(frames)[shot.frames]):
                    picture, shift = to_video(images[t : t + 1]), disparity[t : t + 1]
                    if shift.shape[-2:] != (height, width):
                        shift = resize_disparity(shift, height, width)
                    made = gapw_warp(
                        shot.bars.crop(picture),
                        shot.bars.crop(shift),
                        toward=options.eye,
                        stretch_threshold=options.stretch_threshold,
                        interpolation="cubic",
                    )
                    yield (
                        from_video(shot.bars.paste(made.video, picture)),
                        from_occlusion_mask(shot.bars.pad(made.occlusion_mask, 0)),
                        shot.bars.pad(made.disparity, 0),  # bars lie on the screen
                    )

        return io.NodeOutput(*join(views(), frames))
