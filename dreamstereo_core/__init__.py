from .blend import blend
from .disparity import inverse_depth_to_disparity, resize_disparity
from .fill import ClassicInpainter, Inpainter, MaskedFrame, load_inpainter
from .gapw import gapw_warp
from .packing import LAYOUTS, pack_stereo
from .pbdp import build_pair
