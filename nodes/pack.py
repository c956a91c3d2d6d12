"""Two views in one picture."""

import math

from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import LAYOUTS, EncodeOptions, pack_stereo
from ..dreamstereo_core.packing import packed_size
from .file_names import NAMELESS, name_output, saved_name
from .layout import from_video, join, to_video
from .memory import check_memory
from .messages import explained
from .runtime import chunks
from .wire_types import STAGES, schema

LAYOUT_TOOLTIP = (
    "full_sbs: side by side, twice as wide (VR players). half_sbs: side by side, squeezed (3D"
    " TVs). full_tb, half_tb: top-bottom. anaglyph...: for red-cyan glasses. left, right: one"
    " eye only. cross_eyed: for viewing without a device. row_interleaved, column_interleaved:"
    " polarised monitors. vr180: half a sphere for headsets."
)


class Pack(io.ComfyNode):
    """Packs two views."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "Pack",
            display_name="Pack Stereo",
            description=(
                "Puts the two views into one picture: side by side, top-bottom or anaglyph."
            ),
            room=STAGES,
            aliases=("sbs", "side by side", "top bottom", "anaglyph", "red cyan", "stereo", "vr"),
            inputs=[
                io.Image.Input("left", tooltip="What the left eye sees."),
                io.Image.Input("right", tooltip="What the right eye sees."),
                io.Combo.Input(
                    "layout",
                    options=list(LAYOUTS),
                    default=EncodeOptions.layout,
                    tooltip=LAYOUT_TOOLTIP,
                ),
                io.Boolean.Input(
                    "swap_eyes",
                    default=False,
                    tooltip="Exchange left and right (cross-eyed viewing).",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The packed frames."),
                name_output("A name"),
            ],
        )

    @classmethod
    @explained
    def execute(cls, left: Tensor, right: Tensor, layout: str, swap_eyes: bool) -> io.NodeOutput:
        """Pack chunk by chunk."""
        if swap_eyes:
            left, right = right, left
        frames = len(left)
        if left.shape[:3] != right.shape[:3]:
            raise ValueError(
                f"right: expected as many frames of the same size as left, {list(left.shape)},"
                f" got {list(right.shape)}"
            )
        height, width = left.shape[1:3]
        packed_width, packed_height = packed_size(width, height, layout)
        check_memory(left, math.ceil(3 * packed_width * packed_height / (width * height)))

        def packed(part: slice) -> tuple[Tensor]:
            return (from_video(pack_stereo(to_video(left[part]), to_video(right[part]), layout)),)

        (images,) = join(map(packed, chunks(frames)), frames)
        return io.NodeOutput(images, saved_name(NAMELESS, layout, swapped=swap_eyes))
