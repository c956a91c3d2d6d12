"""The inputs for how a film is read and its file written; names and places as in `options`."""

from comfy_api.latest import io

from ..dreamstereo_core import DecodeOptions, EncodeOptions
from ..dreamstereo_core.equirectangular import Vr180
from ..dreamstereo_core.subtitles.settings import SUBTITLES, SubtitleOptions
from ..dreamstereo_core.video_io.decode_options import DEINTERLACING, SOURCE_EYES, SOURCE_LAYOUTS
from ..dreamstereo_core.video_io.encode_options import AUTO, CHROMA, CODECS, ENCODERS
from .options import choice


def encoding_inputs() -> list[io.Input]:
    """Return the inputs for the file that is written."""
    return [
        choice(
            "codec",
            [AUTO, *CODECS],
            EncodeOptions.codec,
            "auto: h264, which plays everywhere, for 8 bits and up to 4096 pixels; else"
            " hevc, since devices play no larger or deeper h264.",
            optional=False,
        ),
        io.Int.Input(
            "crf",
            default=CODECS["h264"].crf,
            min=0,
            max=min(codec.crf_max for codec in CODECS.values()),
            tooltip=(
                "Quality of the encoded video: lower is better and larger; 18 is visually"
                " lossless for h264."
            ),
        ),
    ]


def chroma_input() -> io.Input:
    """Return the input for the colour's resolution."""
    return choice(
        "chroma",
        CHROMA,
        EncodeOptions.chroma,
        "444 keeps the colour of each pixel, for screen recordings; few devices play it.",
    )


def encoder_input() -> io.Input:
    """Return the input for what encodes the video."""
    return choice(
        "encoder",
        ENCODERS,
        EncodeOptions.encoder,
        "software: x264, x265, SVT-AV1. nvenc: NVIDIA's encoder in the card, several times "
        "faster, and larger at the same quality. auto: nvenc where it works.",
    )


def subtitles_input() -> io.Input:
    """Return the input for what becomes of text subtitles."""
    return choice(
        "subtitles",
        SUBTITLES,
        SubtitleOptions.subtitles,
        "keep: as tracks. burn: the film's own text subtitles are drawn into both eyes, in "
        "front of what they cover.",
    )


def field_of_view_input() -> io.Input:
    """Return the input for how wide a picture hangs before a headset."""
    return io.Float.Input(
        "field_of_view",
        default=Vr180.field_of_view,
        min=10.0,
        max=170.0,
        step=1.0,
        optional=True,
        tooltip="Layout vr180: degrees that the picture's width takes before the eyes.",
    )


def reading_inputs() -> list[io.Input]:
    """Return the inputs for films that want to be read in a way of their own."""
    return [
        choice(
            "deinterlace",
            DEINTERLACING,
            DecodeOptions.deinterlace,
            "auto: frames that are tagged as interlaced become whole pictures. on: all frames.",
        ),
        io.String.Input(
            "background",
            default=DecodeOptions.background,
            optional=True,
            tooltip="What transparent parts lie on: black, white, grey or RRGGBB.",
        ),
        choice(
            "source_eye",
            SOURCE_EYES,
            DecodeOptions.source_eye,
            "Of a film that is 3D already: the eye to begin with.",
        ),
        choice(
            "source_layout",
            SOURCE_LAYOUTS,
            DecodeOptions.source_layout,
            "How the two eyes of such a film lie in it. auto: as its tags say. 2d: it is no such "
            "film.",
        ),
    ]


def part_inputs() -> list[io.Input]:
    """Return the inputs that choose a part of the film."""
    return [
        io.Int.Input(
            "start_frame",
            default=0,
            min=0,
            max=2**31 - 1,
            optional=True,
            tooltip=(
                "Converts a part of the film only, from this frame on, so that several machines "
                "share a film: the frames are what they are in the whole. Join Videos puts the "
                "parts together."
            ),
        ),
        io.Int.Input(
            "frame_count",
            default=0,
            min=0,
            max=2**31 - 1,
            optional=True,
            tooltip="How many frames to convert; 0: all to the film's end.",
        ),
    ]
