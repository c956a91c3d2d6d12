"""Video files in and out, on PyAV."""

from .color import ColorTags
from .decode import Frame, read_frames
from .info import VideoInfo, probe
from .source import Source, VideoError

__all__ = [
    "ColorTags",
    "Frame",
    "Source",
    "VideoError",
    "VideoInfo",
    "probe",
    "read_frames",
]
