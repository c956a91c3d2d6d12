"""The depth model and the inpainter, loaded once and handed to the nodes that use them."""

import os
from typing import Any

import comfy.model_management
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..dreamstereo_core import Inpainter as EmbeddedInpainter
from ..dreamstereo_core import load_depth, load_inpainter
from ..dreamstereo_core.checks import check_choice
from ..dreamstereo_core.depth import DepthEstimator
from ..dreamstereo_core.fill import INPAINTERS
from .geometry import load_core_depth, steady_core_depth
from .managed import managed_depth
from .messages import explained
from .places import depth_spec
from .wire_types import MODELS, Depth, Inpainter, schema

DEPTH_MODELS = [
    "auto",
    "embedded",
    "video-depth-anything",
    "depth-anything/Depth-Anything-V2-Small-hf",
    "depth-anything/Depth-Anything-V2-Base-hf",
    "depth-anything/Depth-Anything-V2-Large-hf",
    "Intel/dpt-large",
]

DEPTH_FOLDER = "geometry_estimation"


class LoadDepth(io.ComfyNode):
    """Loads a depth estimator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "LoadDepth",
            display_name="Load Depth Model",
            description=(
                "Loads what tells near from far: a depth model, or a depth video that you have "
                "already."
            ),
            room=MODELS,
            aliases=("depth anything", "video depth anything", "depth model"),
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[*DEPTH_MODELS, *depth_files()],
                    default="auto",
                    tooltip=(
                        "auto: Video Depth Anything Small or Depth Anything V2 Small where they "
                        "are on this computer, else the embedded one. "
                        "embedded: needs no download. Files lie in "
                        "models/geometry_estimation (Video-Depth-Anything; on newer ComfyUIs Depth "
                        "Anything 3). The others come from "
                        "the Hugging Face hub, if allow download is on."
                    ),
                ),
                io.String.Input(
                    "custom",
                    default="",
                    placeholder="hub id, model folder, depth video ...",
                    tooltip=(
                        "Used instead of the choice above: another hub id, a folder with a "
                        "transformers depth model, a depth video, or a depth image sequence "
                        "(folder or frame_%05d.png; PNG, EXR ...). Files lie in ComfyUI's input, "
                        "output or models folder."
                    ),
                ),
                io.Boolean.Input(
                    "allow_download",
                    default=False,
                    tooltip="Let a model that is not on this computer be downloaded from the hub.",
                ),
                io.Boolean.Input(
                    "invert",
                    default=False,
                    tooltip="For a depth video or sequence in which dark is near.",
                ),
                io.Boolean.Input(
                    "metric",
                    default=False,
                    optional=True,
                    tooltip=(
                        "For a depth video or sequence of distances, large = far; EXR: in metres."
                    ),
                ),
            ],
            outputs=[Depth.Output(display_name="depth_model", tooltip="The loaded depth model.")],
        )

    @classmethod
    @explained
    def execute(
        cls, model: str, custom: str, allow_download: bool, invert: bool, metric: bool = False
    ) -> io.NodeOutput:
        """Load it for the device that ComfyUI computes on."""
        spec = custom.strip() or model
        options = {"allow_download": allow_download, "invert": invert, "metric": metric}
        return io.NodeOutput(depth_on_device(spec, **options))


class LoadInpainter(io.ComfyNode):
    """Loads an inpainter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "LoadInpainter",
            display_name="Load Inpainter",
            description="Loads what fills the holes beside near objects.",
            room=MODELS,
            aliases=("inpaint", "fill"),
            inputs=[
                io.Combo.Input(
                    "inpainter",
                    options=list(INPAINTERS),
                    default=INPAINTERS[0],
                    tooltip=(
                        "mini: the embedded network, which corrects classic. classic: extends the "
                        "background and uses what neighbouring frames show; faster."
                    ),
                )
            ],
            outputs=[
                Inpainter.Output(display_name="inpainter_model", tooltip="The loaded inpainter.")
            ],
        )

    @classmethod
    @explained
    def execute(cls, inpainter: str) -> io.NodeOutput:
        """Load it for the device that ComfyUI computes on."""
        return io.NodeOutput(inpainter_on_device(inpainter))


def depth_files() -> list[str]:
    """Return the weight files in ComfyUI's folder of depth models, which older cores lack."""
    if DEPTH_FOLDER not in folder_paths.folder_names_and_paths:
        path = os.path.join(folder_paths.models_dir, DEPTH_FOLDER)
        folder_paths.add_model_folder_path(DEPTH_FOLDER, path)
    names = folder_paths.get_filename_list(DEPTH_FOLDER)
    return [name for name in names if name.endswith((".safetensors", ".pth"))]


def inpainter_on_device(name: str) -> EmbeddedInpainter:
    """Load an embedded inpainter for the device that ComfyUI computes on.

    Small as it is, ComfyUI need not move it about.

    Raises:
        ValueError: there is none of that name; files are for Load DreamStereo Model.
    """
    check_choice("inpainter", name, INPAINTERS)
    return load_inpainter(name, device=comfy.model_management.get_torch_device())


def depth_on_device(
    spec: str, *, allow_download: bool = False, invert: bool = False, metric: bool = False
) -> DepthEstimator:
    """Load a depth estimator that computes where ComfyUI does; it waits where ComfyUI says.

    Raises:
        ValueError: the name is a path outside ComfyUI's folders.
    """
    device = comfy.model_management.get_torch_device()
    offload_device = comfy.model_management.unet_offload_device()
    spec = depth_spec(spec)
    if (core_depth := load_core_depth(spec)) is not None:
        return core_depth
    estimator = load_depth(
        spec,
        device=offload_device,
        dtype=torch.float16 if device.type == "cuda" else None,
        allow_download=allow_download,
        invert=invert,
        metric=metric,
    )
    return managed_depth(estimator, device, offload_device)


def connected_depth(model: Any, otherwise: str = "auto") -> DepthEstimator:
    """Return the estimator that is wired to a node, or load the one that its form names."""
    if isinstance(model, ModelPatcher):  # from ComfyUI's own Load Depth Anything 3
        return steady_core_depth(model)
    return model or depth_on_device(otherwise)
