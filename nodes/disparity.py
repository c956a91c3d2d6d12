"""How far apart the two eyes see each point."""

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import ConvertOptions, InverseDepth, inverse_depth_to_disparity
from ..dreamstereo_core.convergence import clip_convergence
from ..dreamstereo_core.masks import dilate
from ..dreamstereo_core.types import NO_BARS
from .layout import to_inverse_depth, to_video
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
from .wire_types import STAGES, Disparity, schema


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
        cls, inverse_depth: Tensor, images: Tensor | None = None, **given: Any
    ) -> io.NodeOutput:
        """Scale to pixels of the picture's own width, shot by shot and frame by frame."""
        options = convert_options(given)
        depth = to_inverse_depth(inverse_depth)
        parts, bar = [], FrameBar(len(depth))
        for shot in _shots(images, depth, options):
            inside = shot.bars.crop(depth[shot.frames])
            screens = clip_convergence(inside, options.convergence)
            for frame, screen in bar.count(zip(inside.split(1), screens, strict=True)):
                disparity = inverse_depth_to_disparity(
                    dilate(frame, options.foreground_dilation or 0),
                    max_disparity=options.max_disparity,
                    convergence=screen,
                    max_front=options.max_front,
                    max_behind=options.max_behind,
                )
                parts.append(shot.bars.pad(disparity, 0))  # bars lie on the screen
        return io.NodeOutput(torch.cat(parts))


def _shots(images: Tensor | None, depth: InverseDepth, options: ConvertOptions) -> list[Shot]:
    """Find the shots of the clip that a depth belongs to, with their bars in the depth's size."""
    if images is None:
        return [Shot(slice(0, len(depth)), NO_BARS)]
    if len(images) != len(depth):
        raise ValueError(
            f"images: expected {len(depth)} frames as inverse_depth, got {len(images)}"
        )
    video = to_video(images)
    return [
        Shot(shot.frames, shot.bars.scaled(video, depth)) for shot in clip_shots(video, options)
    ]
