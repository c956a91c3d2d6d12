"""The holes, filled."""

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core.checks import check_finite, check_frames
from ..dreamstereo_core.fill import INPAINTERS, MirroredInpainter
from .layout import from_video, to_occlusion_mask, to_video
from .load_models import inpainter_on_device
from .messages import explained
from .options import (
    bars_input,
    convert_options,
    diffusion_inputs,
    eye_input,
    fill_input,
    folded,
    shots_input,
)
from .runtime import FrameBar, StoppableInpainter
from .shots import Shot, clip_shots
from .wire_types import STAGES, Disparity, Inpainter, schema


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
            room=STAGES,
            aliases=("fill holes", "disocclusion", "inpaint"),
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
                    "inpainter",
                    optional=True,
                    tooltip="From Load Inpainter or Load DreamStereo Model.",
                ),
                *folded(*diffusion_inputs()),
                eye_input(
                    "The eye that was made, as in Warp to Other Eye: tells on which side of near "
                    "things the holes lie.",
                    optional=True,
                ),
                fill_input(optional=True),
                *folded(shots_input(), bars_input()),
            ],
            outputs=[io.Image.Output(display_name="inpainted", tooltip="The filled frames.")],
        )

    @classmethod
    @explained
    def execute(
        cls,
        warped: Tensor,
        mask: Tensor,
        warped_disparity: Tensor | None = None,
        inpainter=None,
        fill: str = INPAINTERS[0],
        **given: Any,
    ) -> io.NodeOutput:
        """Fill the whole clip, shot by shot, so that frames can learn from their neighbours."""
        options = convert_options(given)
        video, holes = to_video(warped), to_occlusion_mask(mask)
        check_frames("mask", holes, channels=1, like=video)
        if warped_disparity is not None:
            check_frames("warped_disparity", warped_disparity, channels=1, like=video)
            check_finite("warped_disparity", warped_disparity)
        bar = FrameBar(len(video))
        filler = StoppableInpainter(inpainter or inpainter_on_device(fill), bar)
        if options.eye == "left":
            filler = MirroredInpainter(filler)
        parts = []
        for shot in clip_shots(video, options):  # an inpainter must not look across a cut

            def inside(frames: Tensor, shot: Shot = shot) -> Tensor:
                return shot.bars.crop(frames[shot.frames])

            filled = filler.inpaint(
                inside(video),
                inside(holes),
                disparity=None if warped_disparity is None else inside(warped_disparity),
                num_steps=options.num_steps,
                dilation=options.dilation,
                seed=options.seed,
            )
            parts.append(shot.bars.paste(filled, video[shot.frames]))
        return io.NodeOutput(from_video(torch.cat(parts)))
