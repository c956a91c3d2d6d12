"""2D video to stereoscopic 3D in plain torch: depth, warp, stereo inpainting, packing."""

from . import interrupts as interrupts  # first: it arms the command before torch is imported
from .blend import blend
from .convert import Progress, convert_file
from .depth import DepthEstimator, load_depth
from .disparity import inverse_depth_to_disparity, resize_disparity
from .fill import ClassicInpainter, DiffusionInpainter, Inpainter, MaskedFrame, load_inpainter
from .gapw import gapw_warp
from .models.sparse import select_tokens
from .models.vae.checkpoint import load_vae
from .packing import LAYOUTS, pack_stereo
from .pbdp import build_pair
from .pipeline import FILE_LAYOUTS, ConvertOptions, StereoPipeline
from .types import InpaintingPair, StereoVideo, WarpResult
from .video_io import DecodeOptions, EncodeOptions, VideoError, VideoInfo, probe, read_frames

__all__ = [
    "FILE_LAYOUTS",
    "LAYOUTS",
    "ClassicInpainter",
    "ConvertOptions",
    "DecodeOptions",
    "DepthEstimator",
    "DiffusionInpainter",
    "EncodeOptions",
    "Inpainter",
    "InpaintingPair",
    "MaskedFrame",
    "Progress",
    "StereoPipeline",
    "StereoVideo",
    "VideoError",
    "VideoInfo",
    "WarpResult",
    "blend",
    "build_pair",
    "convert_file",
    "gapw_warp",
    "inverse_depth_to_disparity",
    "load_depth",
    "load_inpainter",
    "load_vae",
    "pack_stereo",
    "probe",
    "read_frames",
    "resize_disparity",
    "select_tokens",
]
