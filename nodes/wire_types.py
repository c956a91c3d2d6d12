"""What travels between our nodes beside ComfyUI's own types, and the schema that they share."""

import dataclasses
from typing import Any

from comfy_api.latest import io

Depth = io.Custom("DREAMSTEREO_DEPTH")
"""A `dreamstereo_core.depth.DepthEstimator`."""

Inpainter = io.Custom("DREAMSTEREO_INPAINTER")
"""What `dreamstereo_core.load_inpainter` returns."""

Disparity = io.Custom("DREAMSTEREO_DISPARITY")
"""`[T, 1, H, W]` signed pixels, x_left - x_right; > 0 in front of the screen."""

SEARCH_ALIASES = ["2d to 3d", "stereo", "stereoscopic", "sbs", "side by side", "vr", "anaglyph"]


def schema(node_id: str, *, aliases: tuple[str, ...] = (), **fields: Any) -> io.Schema:
    """Return a schema in our category, with search aliases where the core knows them."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    if "search_aliases" in known:
        fields["search_aliases"] = [*SEARCH_ALIASES, *aliases]
    return io.Schema(node_id=f"DreamStereo{node_id}", category="DreamStereo", **fields)
