"""What a clip in memory will take, said before the work begins."""

import logging

import psutil
from torch import Tensor

from .messages import executing_node, say

STAGE_VALUES = 18
"""Values for each pixel of what the nodes behind Estimate Depth give: 1 disparity, 5 warp (picture,
holes, disparity), 3 inpainted, 3 blended, 6 packed side by side. ComfyUI keeps them all."""

_BYTES = 4
_GB = 1e9
_WORTH_SAYING = 1 * _GB
_ADVICE = "Convert 2D Video to 3D takes no more for a long film than for a short one."

_log = logging.getLogger(__name__)


def check_memory(images: Tensor, values: int, *, behind: int = 0) -> None:
    """Say what a node's outputs will take, where that is much; warn where it is too much.

    Args:
        images: the clip, an IMAGE.
        values: for each pixel, in the outputs of this node.
        behind: the same for the nodes that usually come behind it.

    Raises:
        MemoryError: this node's outputs alone are larger than the computer's memory.
    """
    frames, height, width = images.shape[:3]
    here, later = (frames * height * width * n * _BYTES for n in (values, behind))
    free = psutil.virtual_memory().available
    room = psutil.virtual_memory().total + psutil.swap_memory().total
    clip = f"{frames} frames of {width}x{height} take {here / _GB:.1f} GB of memory here"
    if later:
        clip += f" and {later / _GB:.1f} GB in the stages behind"
    if here > room:
        raise MemoryError(f"images: {clip}, this computer has {room / _GB:.1f} GB. {_ADVICE}")
    if here + later > free:
        _log.warning("%s, %.1f GB are free. %s", clip, free / _GB, _ADVICE)
    elif here + later > _WORTH_SAYING and (node := executing_node()) is not None:
        say(f"{clip}; {free / _GB:.1f} GB are free", node)
