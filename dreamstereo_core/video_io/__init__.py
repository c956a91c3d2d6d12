"""Video files in and out, on PyAV."""

from ..errors import VideoError
from .color import ColorTags
from .containers import suggest_suffix
from .count import count_frames
from .decode import Frame, read_frames
from .decode_options import DecodeOptions
from .encode import VideoWriter
from .encode_options import EncodeOptions
from .hdr import HdrMetadata
from .info import VideoInfo
from .mark import is_own
from .names import stereo_name
from .photos import separate_pictures
from .probe import probe
from .source import Source

__all__ = [
    "ColorTags",
    "DecodeOptions",
    "EncodeOptions",
    "Frame",
    "HdrMetadata",
    "Source",
    "VideoError",
    "VideoInfo",
    "VideoWriter",
    "count_frames",
    "is_own",
    "probe",
    "read_frames",
    "separate_pictures",
    "stereo_name",
    "suggest_suffix",
]
