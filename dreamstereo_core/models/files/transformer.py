"""The files of transformers: public Wan files in every layout, and ours.

Names may be the original ones, bare or behind `diffusion_model.` or `model.diffusion_model.`, or
diffusers'. 8-bit weights are multiplied by their scales and computed in a wider type.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from ..config import PATCH, TransformerConfig
from ..transformer import Transformer
from .checkpoint_file import CheckpointError, CheckpointFile
from .describe import WAN_TRANSFORMER
from .load import Names, NetworkKind, Shapes
from .names import original_names

HEAD_DIM = 128
"""Width of a head in all Wan models, which shapes alone do not tell."""
SCALES = (".scale_weight", ".weight_scale")
"""ComfyUI's older and newer name for the factors of an 8-bit weight."""
QUANTIZATION = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
"""Tensors of 8-bit files that are not parameters."""
FLOAT32 = ("time_embedding.", "time_projection.")
"""Parameters that stay in float32, as the modulations do: they are used once, and cheaply."""


def detect_config(shapes: Shapes, path: Path | None = None) -> TransformerConfig:
    """Derive a config from the shapes of a Wan transformer under its original names.

    Raises:
        KeyError: one of the tensors that tell a size is missing.
        ValueError: the sizes are not a Wan model's.
    """
    dim, in_dim = shapes["patch_embedding.weight"][:2]
    if dim % HEAD_DIM:
        raise ValueError(f"a width of {dim} is no multiple of Wan's head width, {HEAD_DIM}")
    numbers = {m[1] for name in shapes if (m := re.match(r"blocks\.(\d+)\.", name))}
    if numbers != set(map(str, range(len(numbers)))):
        raise ValueError(f"blocks: expected {len(numbers)} of them counted from 0, got others")
    cross_attention = "text_embedding.0.weight" in shapes
    image = shapes.get("img_emb.proj.0.weight")
    context = shapes.get("context")
    sizes = {}
    if cross_attention:
        sizes["text_dim"] = shapes["text_embedding.0.weight"][1]
    if context is not None:
        sizes["text_len"] = context[1]
    return TransformerConfig(
        in_dim=in_dim,
        dim=dim,
        ffn_dim=shapes["blocks.0.ffn.0.weight"][0],
        num_heads=dim // HEAD_DIM,
        num_layers=len(numbers),
        out_dim=shapes["head.head.weight"][0] // (PATCH[1] * PATCH[2]),
        freq_dim=shapes["time_embedding.0.weight"][1],
        cross_attention=cross_attention,
        image_dim=image[0] if image else None,
        learned_context=context is not None,
        **sizes,
    )


def _read(file: CheckpointFile, names: Names, name: str, dtype: torch.dtype | None) -> Tensor:
    if name.startswith(FLOAT32) or name.endswith("modulation"):
        dtype = torch.float32
    module = name.removesuffix(".weight")
    scales = [module + suffix for suffix in SCALES if name != module and module + suffix in names]
    if not scales:
        return file.read_weight(names[name], dtype)
    tensor, scale = file.read_weight(names[name]), file.read(names[scales[0]]).float()
    rows = tensor.shape[: scale.ndim]
    if any(size not in (1, row) for size, row in zip(scale.shape, rows, strict=False)) or (
        scale.ndim > tensor.ndim
    ):
        raise CheckpointError(
            f"{file.path}: {scales[0]}: expected a factor for {list(tensor.shape)} or for each "
            f"of its rows, got {list(scale.shape)}"
        )
    # There is one factor for the weight, or one for each of its rows.
    tensor = tensor.float() * scale.reshape(*scale.shape, *[1] * (tensor.ndim - scale.ndim))
    return file.require_finite(name, tensor.to(dtype))


TRANSFORMER = NetworkKind(
    title="a Wan transformer of 1.3B (T2V, Fun-InP or DreamStereo)",
    mark="transformer",
    build=Transformer,
    parse=TransformerConfig.from_json,
    public=(WAN_TRANSFORMER,),
    detect=detect_config,
    names=original_names,
    unread=QUANTIZATION,
    blocks=lambda config: config.num_layers,
    # A large weight, since some files keep the small ones in another precision.
    dtype_of=lambda names: names["blocks.0.ffn.0.weight"],
    read=_read,
)
"""A Wan-class video transformer."""
