"""How far apart the two eyes see each point."""

from typing import cast

import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import inverse_depth_to_disparity
from ..dreamstereo_core.convergence import CONVERGENCES, Convergence, clip_convergence
from ..dreamstereo_core.disparity import MAX_BEHIND, MAX_FRONT
from ..dreamstereo_core.masks import dilate
from ..dreamstereo_core.shots import ShotDetector
from .layout import to_inverse_depth, to_video
from .wire_types import Disparity, schema

MANUAL = "manual"


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
                    default=0,
                    min=0,
                    max=32,
                    tooltip=(
                        "Pixels by which near things grow, so that their blended borders move "
                        "with them. Estimate Depth has done so; a depth picture of your own wants "
                        "about 1 for 640 of width."
                    ),
                ),
                *limit_inputs(),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip=(
                        "The frames that the depth belongs to, to find the cuts: what lies on the "
                        "screen moves slowly and jumps at a cut only. Without them the clip "
                        "counts as one shot."
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
        convergence_mode: str,
        convergence: float,
        foreground_dilation: int,
        max_front: float = MAX_FRONT,
        max_behind: float = MAX_BEHIND,
        images: Tensor | None = None,
    ) -> io.NodeOutput:
        """Scale to pixels of the picture's own width, frame by frame."""
        depth = to_inverse_depth(inverse_depth)
        screen = choose_convergence(convergence_mode, convergence)
        screens = clip_convergence(depth, screen, cuts=_cuts(images, len(depth)))
        limits = {"max_front": max_front, "max_behind": max_behind}
        parts = [
            inverse_depth_to_disparity(
                dilate(frame, foreground_dilation),
                max_disparity=max_disparity,
                convergence=screen,
                **limits,
            )
            for frame, screen in zip(depth.split(1), screens, strict=True)
        ]
        return io.NodeOutput(torch.cat(parts))


def _cuts(images: Tensor | None, frames: int) -> Tensor | None:
    """Find the cuts of the clip that a depth of so many frames belongs to."""
    if images is None:
        return None
    if len(images) != frames:
        raise ValueError(f"images: expected {frames} frames as inverse_depth, got {len(images)}")
    return ShotDetector().cuts(to_video(images))[0]


def choose_convergence(mode: str, value: float) -> Convergence:
    """Return what the core calls what the two inputs say."""
    return value if mode == MANUAL else cast(Convergence, mode)


def strength_inputs() -> list[io.Input]:
    """Return the inputs for the strength and for what lies on the screen."""
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
        io.Combo.Input(
            "convergence_mode",
            options=[*CONVERGENCES, MANUAL],
            default="auto",
            tooltip=(
                "What lies on the screen. subject: what is large and near in the middle of the "
                "frame. median: the middle depth. Both follow each shot slowly and jump at cuts "
                "only. auto: subject. manual: the value below."
            ),
        ),
        io.Float.Input(
            "convergence",
            default=0.5,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip=(
                "Used when convergence_mode is manual: the depth that lies on the screen. 0 brings "
                "everything in front of it, 1 puts everything behind it."
            ),
        ),
    ]


def limit_inputs() -> list[io.Input]:
    """Return the inputs for how far things may leave the screen."""
    sides = {
        "max_front": ("comes in front of", MAX_FRONT),
        "max_behind": ("goes behind", MAX_BEHIND),
    }
    return [
        io.Float.Input(
            name,
            default=default,
            min=0.0,
            max=10.0,
            step=0.1,
            optional=True,
            tooltip=(
                f"Comfort: the most that anything {where} the screen, in % of the width. Only a "
                "shot that would exceed it is compressed. 10: no limit."
            ),
        )
        for name, (where, default) in sides.items()
    ]
