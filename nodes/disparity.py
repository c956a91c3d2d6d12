"""How far apart the two eyes see each point."""

from collections.abc import Iterator
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import ConvertOptions, InverseDepth, inverse_depth_to_disparity
from ..dreamstereo_core.convergence import EasedConvergence, clip_convergence
from ..dreamstereo_core.masks import dilate
from ..dreamstereo_core.types import NO_BARS, ShotScale
from .layout import join, to_inverse_depth
from .memory import check_memory
from .messages import explained
from .options import (
    bars_input,
    convert_options,
    folded,
    limit_inputs,
    shots_input,
    strength_inputs,
)
from .runtime import FrameBar
from .shots import Shot, clip_shots
from .wire_types import STAGES, DepthScale, Disparity, schema


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
            room=STAGES,
            aliases=("disparity", "parallax", "stereo strength", "convergence"),
            inputs=[
                io.Image.Input("inverse_depth", tooltip="Grey depth picture, white = near."),
                *strength_inputs(),
                io.Int.Input(
                    "foreground_dilation",
                    default=0,
                    min=0,
                    max=32,
                    tooltip=(
                        "Pixels by which near things grow, so that their blended borders move "
                        "with them. Estimate Depth has done so; a depth picture of your own wants "
                        "about 1 for 640 of width."
                    ),
                ),
                *folded(*limit_inputs()),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip=(
                        "The frames that the depth belongs to, to find the cuts: what lies on the "
                        "screen moves slowly and jumps at a cut only. Without them the clip "
                        "counts as one shot."
                    ),
                ),
                *folded(shots_input(), bars_input()),
                DepthScale.Input(
                    "depth_scale",
                    optional=True,
                    tooltip=(
                        "From Estimate Depth, if its depth comes unchanged: what lies on the "
                        "screen is then exactly what Convert finds. Without it, it is looked for "
                        "in the depth picture."
                    ),
                ),
                *folded(
                    io.Float.Input(
                        "frame_rate",
                        default=24.0,
                        min=1.0,
                        max=1000.0,
                        step=0.001,
                        optional=True,
                        tooltip=(
                            "Frames in a second, from Get Video Components: what lies on the "
                            "screen moves by seconds, not by frames."
                        ),
                    )
                ),
            ],
            outputs=[
                Disparity.Output(
                    display_name="disparity", tooltip="Signed pixels, x_left - x_right."
                )
            ],
        )

    @classmethod
    @explained
    def execute(
        cls,
        inverse_depth: Tensor,
        images: Tensor | None = None,
        depth_scale: list[ShotScale] | None = None,
        frame_rate: float = 24.0,
        **given: Any,
    ) -> io.NodeOutput:
        """Scale to pixels of the picture's own width, shot by shot and frame by frame."""
        options = convert_options(given)
        check_memory(inverse_depth, 1)
        depth = to_inverse_depth(inverse_depth)
        if depth_scale is not None and len(depth_scale) != len(depth):
            raise ValueError(f"depth_scale: expected {len(depth)} frames, got {len(depth_scale)}")
        bar = FrameBar(len(depth))

        def disparities() -> Iterator[tuple[Tensor]]:
            for shot in _shots(images, depth, options):
                inside = shot.bars.crop(depth[shot.frames])
                if depth_scale is None:
                    screens = clip_convergence(inside, options.convergence, frame_rate=frame_rate)
                else:
                    easing = EasedConvergence(options.convergence, frame_rate)
                    scales = depth_scale[shot.frames]
                    screens = [easing.step(scale, i == 0) for i, scale in enumerate(scales)]
                for frame, screen in bar.count(zip(inside.split(1), screens, strict=True)):
                    disparity = inverse_depth_to_disparity(
                        dilate(frame, options.foreground_dilation or 0),
                        max_disparity=options.max_disparity,
                        convergence=screen,
                        max_front=options.max_front,
                        max_behind=options.max_behind,
                    )
                    yield (shot.bars.pad(disparity, 0),)  # bars lie on the screen

        return io.NodeOutput(*join(disparities(), len(depth)))


def _shots(images: Tensor | None, depth: InverseDepth, options: ConvertOptions) -> list[Shot]:
    """Find the shots of the clip that a depth belongs to, with their bars in the depth's size."""
    if images is None:
        return [Shot(slice(0, len(depth)), NO_BARS)]
    if len(images) != len(depth):
        raise ValueError(
            f"images: expected {len(depth)} frames as inverse_depth, got {len(images)}"
        )
    frame = images[0, ..., 0]
    return [
        Shot(shot.frames, shot.bars.scaled(frame, depth)) for shot in clip_shots(images, options)
    ]
