"""2D video to stereoscopic 3D in plain torch: depth, warp, stereo inpainting, packing."""

from . import interrupts as interrupts  # first: it arms the command before torch is imported
from .blend import blend
from .convergence import Convergence
from .convert import convert_file
from .convert_options import ConvertOptions
from .depth import DepthEstimator, load_depth
from .disparity import inverse_depth_to_disparity, resize_disparity
from .errors import CheckpointError, DepthError, DreamStereoError, VideoError
from .fill import (
    ClassicInpainter,
    DiffusionInpainter,
    Inpainter,
    MaskedFrame,
    MiniInpainter,
    load_inpainter,
)
from .film import Progress
from .gapw import gapw_warp
from .models.sparse import select_tokens
from .models.vae.checkpoint import load_vae
from .packing import FILE_LAYOUTS, LAYOUTS, pack_stereo
from .pbdp import build_pair
from .pipeline import StereoPipeline
from .types import (
    CoordMap,
    Disparity,
    Eye,
    InpaintingPair,
    InverseDepth,
    Latent,
    LatentMask,
    OcclusionMask,
    StereoVideo,
    TokenIndex,
    Video,
    WarpResult,
)
from .version import read_version
from .video_io import DecodeOptions, EncodeOptions, VideoInfo, probe, read_frames

__version__ = read_version()

__all__ = [
    "FILE_LAYOUTS",
    "LAYOUTS",
    "CheckpointError",
    "ClassicInpainter",
    "Convergence",
    "ConvertOptions",
    "CoordMap",
    "DecodeOptions",
    "DepthError",
    "DepthEstimator",
    "DiffusionInpainter",
    "Disparity",
    "DreamStereoError",
    "EncodeOptions",
    "Eye",
    "Inpainter",
    "InpaintingPair",
    "InverseDepth",
    "Latent",
    "LatentMask",
    "MaskedFrame",
    "MiniInpainter",
    "OcclusionMask",
    "Progress",
    "StereoPipeline",
    "StereoVideo",
    "TokenIndex",
    "Video",
    "VideoError",
    "VideoInfo",
    "WarpResult",
    "__version__",
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
