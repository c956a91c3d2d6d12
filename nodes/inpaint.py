"""The holes, filled."""

from collections.abc import Iterator
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import MaskedFrame
from ..dreamstereo_core.checks import check_finite, check_frames
from ..dreamstereo_core.fill import INPAINTERS, MirroredInpainter
from .layout import from_video, join, to_occlusion_mask, to_video
from .load_models import inpainter_on_device
from .memory import check_memory
from .messages import explained
from .options import (
    bars_input,
    convert_options,
    eye_input,
    fill_input,
    folded,
    moved_diffusion_inputs,
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
                        "From Warp to Other Eye, with the warped frames: tells the background from "
                        "the foreground, and that the holes are stretched over."
                    ),
                ),
                Inpainter.Input(
                    "inpainter",
                    optional=True,
                    tooltip="From Load Inpainter or Load DreamStereo Model.",
                ),
                *moved_diffusion_inputs(),
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
        frames, holes = len(warped), to_occlusion_mask(mask)
        like = to_video(warped[:1]).expand(frames, -1, -1, -1)
        check_frames("mask", holes, channels=1, like=like)
        check_finite("mask", holes)
        if warped_disparity is not None:
            check_frames("warped_disparity", warped_disparity, channels=1, like=like)
            check_finite("warped_disparity", warped_disparity)
        check_memory(warped, 3)
        filler = StoppableInpainter(inpainter or inpainter_on_device(fill), FrameBar(frames))
        if options.eye == "left":
            filler = MirroredInpainter(filler)

        def filled() -> Iterator[tuple[Tensor]]:
            for shot in clip_shots(warped, options):  # an inpainter must not look across a cut
                masked = _masked_frames(warped, holes, warped_disparity, shot)
                made = filler.stream(masked, options.fill)
                for t, video in zip(range(frames)[shot.frames], made, strict=True):
                    yield (from_video(shot.bars.paste(video, to_video(warped[t : t + 1]))),)

        return io.NodeOutput(*join(filled(), frames))


def _masked_frames(
    warped: Tensor, holes: Tensor, disparity: Tensor | None, shot: Shot
) -> Iterator[MaskedFrame]:
    """Yield what a shot's bars enclose; with the warp's disparity come its stretched holes."""
    crop = shot.bars.crop
    for t in range(len(warped))[shot.frames]:
        at = slice(t, t + 1)
        yield MaskedFrame(
            crop(to_video(warped[at])),
            crop(holes[at]),
            None if disparity is None else crop(disparity[at]),
            stretched=disparity is not None,
        )
