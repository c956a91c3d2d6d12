"""The holes, filled."""

from collections.abc import Iterator

import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core.checks import check_finite, check_frames
from ..dreamstereo_core.fill import INPAINTERS, MirroredInpainter
from ..dreamstereo_core.shots import ShotDetector
from ..dreamstereo_core.types import Eye, Video
from .layout import from_video, to_occlusion_mask, to_video
from .load_models import inpainter_on_device
from .runtime import StoppableInpainter
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
                    "inpainter",
                    optional=True,
                    tooltip="From Load Inpainter or Load DreamStereo Model. Without it: mini.",
                ),
                *diffusion_inputs(),
                io.Combo.Input(
                    "eye",
                    options=["right", "left"],
                    default="right",
                    optional=True,
                    tooltip=(
                        "The eye that was made, as in Warp to Other Eye: tells on which side of "
                        "near things the holes lie."
                    ),
                ),
            ],
            outputs=[io.Image.Output(display_name="inpainted", tooltip="The filled frames.")],
        )

    @classmethod
    def execute(
        cls,
        warped: Tensor,
        mask: Tensor,
        warped_disparity: Tensor | None = None,
        inpainter=None,
        num_steps: int = 1,
        dilation: int = 5,
        seed: int = 0,
        eye: Eye = "right",
    ) -> io.NodeOutput:
        """Fill the whole clip, shot by shot, so that frames can learn from their neighbours."""
        video, holes = to_video(warped), to_occlusion_mask(mask)
        check_frames("mask", holes, channels=1, like=video)
        if warped_disparity is not None:
            check_frames("warped_disparity", warped_disparity, channels=1, like=video)
            check_finite("warped_disparity", warped_disparity)
        filler = StoppableInpainter(inpainter or inpainter_on_device(INPAINTERS[0]))
        if eye == "left":
            filler = MirroredInpainter(filler)
        filled = [
            filler.inpaint(
                video[shot],
                holes[shot],
                disparity=None if warped_disparity is None else warped_disparity[shot],
                num_steps=num_steps,
                dilation=dilation,
                seed=seed,
            )
            for shot in shots(video)
        ]
        return io.NodeOutput(from_video(torch.cat(filled)))


def diffusion_inputs() -> list[io.Input]:
    """Return the inputs that only a diffusion inpainter looks at."""
    return [
        io.Int.Input(
            "num_steps",
            default=1,
            min=1,
            max=100,
            optional=True,
            tooltip=(
                "Denoising steps of a diffusion inpainter: 1 for a DreamStereo model, some 20 for "
                "plain Wan."
            ),
        ),
        io.Int.Input(
            "dilation",
            default=5,
            min=1,
            max=31,
            step=2,
            optional=True,
            tooltip=(
                "How far around the holes a diffusion inpainter looks: side of a square in tokens "
                "of 16 pixels, odd. Larger: better context, slower."
            ),
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=2**32 - 1,
            control_after_generate=False,
            optional=True,
            tooltip="Of a diffusion inpainter's noise.",
        ),
    ]


def shots(video: Video) -> Iterator[slice]:
    """Cut a clip `[T, 3, H, W]` into shots: an inpainter must not look across a cut."""
    cuts, _ = ShotDetector().cuts(video)
    starts = cuts.nonzero().flatten().tolist()
    for start, stop in zip(starts, [*starts[1:], len(video)], strict=True):
        yield slice(start, stop)
