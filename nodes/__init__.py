"""ComfyUI's side of DreamStereo: forms and adapters around `dreamstereo_core`."""

from comfy_api.latest import ComfyExtension, io

from .blend import Blend
from .comfort import ComfortReport
from .convert import ConvertVideo
from .depth import EstimateDepth
from .disparity import DepthToDisparity
from .geometry import GeometryDepth
from .inpaint import Inpaint
from .inpaint_conditioning import InpaintConditioning
from .join import JoinVideos
from .load_diffusion import LoadModel
from .load_models import LoadDepth, LoadInpainter
from .load_video import LoadVideoOrExample, put_example
from .pack import Pack
from .preview import PreviewSheet
from .sparse_patch import SparseTokens
from .warp import Warp

NODES: list[type[io.ComfyNode]] = [
    ConvertVideo,
    JoinVideos,
    PreviewSheet,
    ComfortReport,
    LoadVideoOrExample,
    LoadDepth,
    LoadInpainter,
    LoadModel,
    EstimateDepth,
    GeometryDepth,
    DepthToDisparity,
    Warp,
    Inpaint,
    Blend,
    Pack,
    InpaintConditioning,
    SparseTokens,
]


class DreamStereoExtension(ComfyExtension):
    """The nodes that ComfyUI registers."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return every node of this pack; the example clip is there for them, and for the page."""
        put_example()  # Not in `on_load`, which older cores do not call.
        return NODES
