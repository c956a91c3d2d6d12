"""What travels between our nodes beside ComfyUI's own types, and the schema that they share."""

import dataclasses
from importlib.util import find_spec
from typing import Any

from comfy_api.latest import io

from .labels import label_inputs

Depth = io.Custom("DREAMSTEREO_DEPTH")
"""A `dreamstereo_core.depth.DepthEstimator`."""

DepthScale = io.Custom("DREAMSTEREO_SCALE")
"""A `ShotScale` for each frame of a clip."""

CoreDepth = io.Custom("DA3_MODEL")
"""What ComfyUI's own Load Depth Anything 3 gives: a `ModelPatcher`."""
CORE_HAS_DEPTH = find_spec("comfy.ldm.depth_anything_3") is not None
"""Newer cores have that node."""

Inpainter = io.Custom("DREAMSTEREO_INPAINTER")
"""What `dreamstereo_core.load_inpainter` returns."""

Disparity = io.Custom("DREAMSTEREO_DISPARITY")
"""`[T, 1, H, W]` signed pixels, x_left - x_right; > 0 in front of the screen."""

MODELS, STAGES, WAN = "models", "stages", "Wan"
"""Rooms of our category; the nodes that most people need stand at its door."""


def depth_model_input(otherwise: str = "") -> io.Input:
    """Return the input for a depth model, ours or the core's; `otherwise` says what else is."""
    types, tooltip = [Depth], "From Load Depth Model."
    if CORE_HAS_DEPTH:
        types, tooltip = [Depth, CoreDepth], "From Load Depth Model or Load Depth Anything 3."
    tooltip = f"{tooltip} {otherwise}".strip()
    return io.MultiType.Input("depth_model", types, optional=True, tooltip=tooltip)


def schema(
    node_id: str,
    *,
    room: str | None = None,
    aliases: tuple[str, ...] = (),
    essential: str | None = None,
    **fields: Any,
) -> io.Schema:
    """Return a schema in our category; search aliases and the like where the core knows them."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    newer = {"search_aliases": list(aliases), "essentials_category": essential}
    fields |= {name: value for name, value in newer.items() if name in known}
    label_inputs(fields.get("inputs", []))
    category = f"DreamStereo/{room}" if room else "DreamStereo"
    return io.Schema(node_id=f"DreamStereo{node_id}", category=category, **fields)
