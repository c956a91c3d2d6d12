"""ComfyUI's own Depth Anything 3, and what its nodes give, as inverse depth."""

import os
from typing import Any

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core.depth import ClipDepth, DepthEstimator, SteadyDepth
from ..dreamstereo_core.depth.estimator import invert_meters
from ..dreamstereo_core.models.files.checkpoint_file import open_checkpoint
from ..dreamstereo_core.types import Video
from .layout import from_inverse_depth, join, to_frames
from .managed import bring
from .messages import explained
from .runtime import FrameBar, StoppableDepth
from .wire_types import CORE_HAS_DEPTH, STAGES, schema

# Newer cores have nodes that give it; on older ones nothing connects to the input.
Geometry = io.Custom("DA3_GEOMETRY")
_SKY = 0.5  # probability from which on a pixel is sky
_OF_CORE_DEPTH = "head.scratch.refinenet1.out_conv.weight"  # a tensor of each of its files


class GeometryDepth(io.ComfyNode):
    """Turns DA3_GEOMETRY into inverse depth, one scale per shot."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "GeometryDepth",
            display_name="Depth from DA3 Geometry",
            description=(
                "Turns the geometry of ComfyUI's Depth Anything 3 into a depth picture: white is "
                "near, the sky is black, one scale per shot."
            ),
            room=STAGES,
            aliases=("depth anything 3", "da3", "geometry"),
            inputs=[
                Geometry.Input("da3_geometry", tooltip="From Run Depth Anything 3, on a clip.")
            ],
            outputs=[
                io.Image.Output(
                    display_name="inverse_depth",
                    tooltip="Grey, white = near, for Depth to Disparity.",
                )
            ],
        )

    @classmethod
    @explained
    def execute(cls, da3_geometry: dict[str, Any]) -> io.NodeOutput:
        """Invert the distances of the whole clip, so that its shots share one scale."""
        raw = _inverse(da3_geometry["depth"], da3_geometry.get("sky"))
        images = da3_geometry["image"]
        estimator = StoppableDepth(ClipDepth(raw), FrameBar(len(images)))
        deep = estimator.estimate_frames(to_frames(images))
        depths = ((from_inverse_depth(frame.inverse_depth),) for frame in deep)
        return io.NodeOutput(*join(depths, len(images)))


class CoreDepthModel(DepthEstimator):
    """ComfyUI's Depth Anything 3, frame by frame at the size at which its own node runs it."""

    name = "Depth Anything 3"
    normalized = False

    def __init__(self, patcher: ModelPatcher):
        self.patcher = patcher

    @torch.inference_mode()
    def predict(
        self, video: Video, state: None = None, *, new_shot: bool = False
    ) -> tuple[Tensor, None]:
        """Return raw inverse depth `[n, 1, h, w]`, and no state."""
        bring(self.patcher)
        return torch.cat([self._predict_frame(frame) for frame in video.split(1)]), None

    def _predict_frame(self, frame: Video) -> Tensor:
        # Older cores have no such module, and nothing that gives a model to come here with.
        from comfy.ldm.depth_anything_3.preprocess import preprocess_image

        network: Any = self.patcher.model.diffusion_model
        pixels = preprocess_image(frame.movedim(1, -1).to(self.patcher.load_device))
        found = network(pixels.to(network.dtype or torch.float32))
        return _inverse(found["depth"], found.get("sky")).to(frame.device)


def steady_core_depth(patcher: ModelPatcher) -> DepthEstimator:
    """Return ComfyUI's Depth Anything 3 as an estimator that is steady along a shot."""
    return SteadyDepth(CoreDepthModel(patcher))


def load_core_depth(path: str) -> DepthEstimator | None:
    """Have ComfyUI load its Depth Anything 3; None if the file is another or the core too old."""
    is_file = CORE_HAS_DEPTH and path.endswith(".safetensors") and os.path.isfile(path)
    if not is_file or _OF_CORE_DEPTH not in open_checkpoint(path).shapes:
        return None
    return steady_core_depth(comfy.sd.load_diffusion_model(path))


def _inverse(depth: Tensor, sky: Tensor | None) -> Tensor:
    """Return raw inverse depth `[T, 1, h, w]` of distances `[T, h, w]`; the sky is infinitely far.

    `sky`: `[T, h, w]`, the probability that a pixel is sky.
    """
    raw = invert_meters(depth[:, None].float())
    return raw if sky is None else torch.where(sky[:, None] > _SKY, 0.0, raw)
