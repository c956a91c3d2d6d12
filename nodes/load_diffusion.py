"""A diffusion inpainter from ComfyUI's model folders."""

from typing import Any, cast

import comfy.model_management
import comfy.ops
import folder_paths
import torch
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core import DiffusionInpainter, load_inpainter, load_vae
from ..dreamstereo_core.checks import read_size
from ..dreamstereo_core.fill import FillOptions
from ..dreamstereo_core.options import pick_options
from .managed import ManagedInpainter, comfy_attention, compute_dtype
from .messages import explained
from .options import diffusion_inputs
from .wire_types import MODELS, Inpainter, schema

NO_LORA = "none"


class LoadModel(io.ComfyNode):
    """Loads transformer, LoRA and autoencoder as one inpainter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "LoadModel",
            display_name="Load DreamStereo Model",
            description=(
                "Loads a video diffusion model that fills the holes: a DreamStereo model, or Wan "
                "2.1 Fun-InP 1.3B, with its VAE and a LoRA."
            ),
            room=MODELS,
            aliases=("inpaint model", "wan", "diffusion inpainter", "sasi"),
            inputs=[
                io.Combo.Input(
                    "diffusion_model",
                    options=folder_paths.get_filename_list("diffusion_models"),
                    tooltip=(
                        "The transformer, from models/diffusion_models: a DreamStereo model, Wan "
                        "2.1 Fun-InP 1.3B, or Wan 2.1 T2V 1.3B together with a DreamStereo LoRA."
                    ),
                ),
                io.Combo.Input(
                    "vae",
                    options=folder_paths.get_filename_list("vae"),
                    tooltip=(
                        "The video autoencoder, from models/vae: wan_2.1_vae, a distilled "
                        "DreamStereo one, taew2_1, lighttaew2_1 or lightvaew2_1."
                    ),
                ),
                io.Combo.Input(
                    "lora",
                    options=[NO_LORA, *folder_paths.get_filename_list("loras")],
                    default=NO_LORA,
                    tooltip="From models/loras; merged into the transformer.",
                ),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much of the LoRA is added; 1 as it was trained.",
                ),
                io.Conditioning.Input(
                    "context",
                    optional=True,
                    tooltip=(
                        "From CLIP Text Encode with Wan's text encoder (umT5). Without it: the "
                        "model's own, else none. A DreamStereo model needs none."
                    ),
                ),
                *diffusion_inputs(),
                io.String.Input(
                    "fill_size",
                    default="",
                    placeholder="1280x768",
                    optional=True,
                    tooltip=(
                        "Width x height into which frames are scaled while the model fills them, "
                        "so that it works at the size that it was trained at; the film stays as "
                        "large as it is. Empty: the film's size."
                    ),
                ),
            ],
            outputs=[
                Inpainter.Output(
                    display_name="inpainter_model", tooltip="For Inpaint Holes or Convert."
                )
            ],
        )

    @classmethod
    @explained
    def execute(
        cls,
        diffusion_model: str,
        vae: str,
        lora: str,
        lora_strength: float,
        context: list | None = None,
        fill_size: str = "",
        **given: Any,
    ) -> io.NodeOutput:
        """Load into ordinary memory; ComfyUI takes it to its device when it runs."""
        device = comfy.model_management.get_torch_device()
        offload_device = comfy.model_management.unet_offload_device()
        dtype = compute_dtype(device)
        loras = []
        if lora != NO_LORA:
            loras = [(folder_paths.get_full_path_or_raise("loras", lora), lora_strength)]
        inpainter = load_inpainter(
            folder_paths.get_full_path_or_raise("diffusion_models", diffusion_model),
            load_vae(
                folder_paths.get_full_path_or_raise("vae", vae),
                device=offload_device,
                dtype=comfy.model_management.vae_dtype(device, [torch.bfloat16, torch.float16]),
                operations=comfy.ops.manual_cast,
            ),
            device=offload_device,
            dtype=dtype,
            loras=loras,
            context=None if context is None else first_context(context),
            operations=comfy.ops.manual_cast,
            attention=comfy_attention,
            fill_size=read_size("fill_size", fill_size.strip()) if fill_size.strip() else None,
        )
        inpainter = cast(DiffusionInpainter, inpainter)  # as is every one that comes from a file
        options = pick_options(FillOptions, given)
        return io.NodeOutput(ManagedInpainter(inpainter, device, offload_device, options))


def first_context(conditioning: list) -> Tensor:
    """Take the text encoder's output `[1, L, text_dim]` from a CONDITIONING.

    Raises:
        ValueError: it holds none.
    """
    context = conditioning[0][0] if conditioning else None
    if not isinstance(context, Tensor) or context.ndim != 3:
        got = "none" if context is None else list(context.shape)
        raise ValueError(f"context: expected a CONDITIONING with text [1, L, 4096], got {got}")
    return context[:1]
