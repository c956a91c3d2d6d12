"""The main node: a film in, a stereo film out, without ever holding it in memory."""

from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from comfy_api.latest import Input, InputImpl, io

from ..dreamstereo_core import FILE_LAYOUTS, DecodeOptions, EncodeOptions, convert_file
from ..dreamstereo_core.options import pick_options
from ..dreamstereo_core.plan import make_plan
from ..dreamstereo_core.subtitles import SubtitleOptions
from ..dreamstereo_core.video_io import stereo_name
from .file_names import film_name, name_output, part_name, saved_name
from .film_inputs import (
    chroma_input,
    encoder_input,
    encoding_inputs,
    field_of_view_input,
    part_inputs,
    reading_inputs,
    subtitles_input,
)
from .load_models import connected_depth, inpainter_on_device
from .managed import kept_together
from .messages import explained
from .options import (
    bars_input,
    comfort_inputs,
    convert_options,
    eye_input,
    feather_input,
    fill_input,
    folded,
    moved_diffusion_inputs,
    shots_input,
    strength_inputs,
)
from .pack import LAYOUT_TOOLTIP
from .runtime import NodeProgress, StoppableDepth, StoppableInpainter
from .sources import stream_source, temp_directory
from .unfinished import unfinished_folder
from .wire_types import Inpainter, depth_model_input, schema

# Save Video copies the two layers of MV-HEVC without the boxes that tell of them.
LAYOUTS = [layout for layout in FILE_LAYOUTS if layout not in ("separate", "mv_hevc")]


class ConvertVideo(io.ComfyNode):
    """Converts a film chunk by chunk."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "ConvertVideo",
            display_name="Convert 2D Video to 3D",
            description=(
                "Turns a 2D video of any length into stereoscopic 3D. It is decoded, converted "
                "and encoded piece by piece, so memory stays small; sound, frame rate and colours"
                " are kept."
            ),
            essential="Video Tools",
            aliases=(
                "2d to 3d",
                "3d video",
                "stereoscopic",
                "stereo",
                "sbs",
                "side by side",
                "top bottom",
                "vr",
                "anaglyph",
                "depth to stereo",
            ),
            inputs=[
                io.Video.Input("video", tooltip="The 2D film, of any length."),
                io.Combo.Input(
                    "layout",
                    options=LAYOUTS,
                    default=EncodeOptions.layout,
                    tooltip=(
                        f"{LAYOUT_TOOLTIP} depth, mask: the estimated depth, the holes. ..._rgbd: "
                        "the film beside its depth. frame_sequential: one eye after the other."
                    ),
                ),
                *strength_inputs(),
                *folded(eye_input()),
                io.Combo.Input(
                    "depth",
                    options=["auto", "embedded"],
                    default="auto",
                    tooltip=(
                        "auto: Video Depth Anything Small or Depth Anything V2 Small where they "
                        "are on this computer, else the embedded one. "
                        "embedded: always the embedded one. A connected depth_model"
                        " goes before it."
                    ),
                ),
                *folded(fill_input(), feather_input(), *encoding_inputs()),
                depth_model_input("It goes before the choice above."),
                Inpainter.Input(
                    "inpainter",
                    optional=True,
                    tooltip="From Load Inpainter or Load DreamStereo Model.",
                ),
                *folded(*comfort_inputs()),
                *moved_diffusion_inputs(),
                *folded(
                    shots_input(),
                    bars_input(),
                    chroma_input(),
                    *reading_inputs(),
                    subtitles_input(),
                    field_of_view_input(),
                    *part_inputs(),
                    encoder_input(),
                ),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="The stereo film. Save Video keeps it as it is."
                ),
                name_output("The film's name"),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, codec: str | None = None, crf: int | None = None) -> bool | str:
        """Refuse a quality that the codec does not have before the run."""
        return wrong_quality(codec, crf) or True

    @classmethod
    @explained
    def execute(
        cls,
        video: Input.Video,
        depth: str,
        fill: str,
        depth_model=None,
        inpainter=None,
        start_frame: int = 0,
        frame_count: int = 0,
        **given: Any,
    ) -> io.NodeOutput:
        """Convert the film into ComfyUI's temp folder, or go on where a run was ended."""
        # Save Video writes .mp4, which does not hold a camera's PCM sound.
        encode = pick_options(EncodeOptions, {**given, "audio": "copy_or_aac"})
        part = (start_frame, start_frame + frame_count if frame_count else None)
        whole = part == (0, None)
        film = film_name(video) if whole else part_name(film_name(video), start_frame)
        name = saved_name(film, encode.layout)
        progress = NodeProgress(cls.hidden.unique_id)
        estimator = connected_depth(depth_model, depth)
        inpainter = inpainter or inpainter_on_device(fill)
        with stream_source(video) as source, kept_together(estimator, inpainter):
            how = {
                "options": convert_options(given),
                "encode": encode,
                "decode": pick_options(DecodeOptions, given),
                "subtitles": pick_options(SubtitleOptions, given),
                "frames": part,
            }
            # With its plan a part is what it is in the whole film.
            look = partial(make_plan, source, how["options"], how["decode"])
            plan = None if whole else look(on_frame=progress.look_at)
            (path,) = convert_file(
                source,
                temp_target(encode.layout),
                depth=StoppableDepth(estimator),
                inpainter=StoppableInpainter(inpainter),
                on_progress=progress,
                plan=plan,
                work=unfinished_folder(source, estimator.about, inpainter.about, how),
                **how,
            )
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), name)


def wrong_quality(codec: str | None, crf: int | None) -> str | None:
    """Return what is wrong with the quality for the codec, None where that is nothing.

    None as an input: it comes over a wire, and is known when the node runs.
    """
    if codec is None or crf is None:
        return None
    try:
        EncodeOptions(codec=codec, crf=crf)
    except ValueError as error:
        return str(error)
    return None


def temp_target(layout: str) -> Path:
    """Return a free name in ComfyUI's temp folder."""
    return stereo_name(temp_directory() / f"dreamstereo_{uuid4().hex[:12]}.mp4", layout)
