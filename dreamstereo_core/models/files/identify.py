"""Which model a file holds, told by the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ..config import INPAINTING_CHANNELS, LATENT_CHANNELS, PATCH, TransformerConfig

HEAD_DIM = 128
"""Of all Wan models; shapes alone do not tell it."""

Shapes = Mapping[str, tuple[int, ...]]

LORA = re.compile(r"\.(lora_(A|B|down|up)\b|diff(_b)?$|hada_|lokr_)")
FILES = (
    (r"(encoder|decoder)\.(conv1|conv_in|middle|mid_block|downsamples|upsamples)\b", "a VAE"),
    (r"(first_stage_model|vae)\.", "a VAE"),
    (r"(encoder|decoder)\.\d+\.", "a tiny VAE (taew2_1 or a relative)"),
    (r"(encoder\.block|shared\.weight|token_embedding\.weight|text_model)", "a text encoder"),
    (r"(vision_model|visual)\.", "a CLIP vision model"),
    (r"(backbone\.embeddings|pretrained\.|depth_head)", "a depth model"),
    (r"(.*\.)?(input_blocks|double_blocks|joint_blocks|down_blocks)\.", "another diffusion model"),
)
"""Beginnings of names, and what they tell; the first that is found counts."""
VARIANTS = (
    (r"vace_", "a VACE model"),
    (r"(face_adapter|motion_encoder|pose_patch)", "a Wan Animate model"),
    (r"(audio_|casual_audio)", "a speech-to-video model"),
    (r"control_adapter", "a camera-control model"),
    (r"ref_conv", "a Fun-Control model"),
)
"""The same of models that have all that a Wan transformer has, and more."""
WIDTHS = {5120: "a 14B model", 3072: "a 5B model (Wan 2.2)"}


def describe_file(names: Collection[str]) -> str:
    """Say what a file without a Wan transformer holds."""
    if any(LORA.search(name) for name in names):
        return "a LoRA"
    for pattern, what in FILES:
        if any(re.match(pattern, name) for name in names):
            return what
    if not names:
        return "an empty file"
    return f"an unknown model ({', '.join(sorted(names)[:3])}, ...)"


def describe_variant(shapes: Shapes) -> str | None:
    """Say which Wan transformer this is where it is none that runs here; None where it is one."""
    if any(LORA.search(name) for name in shapes):
        return "a LoRA"
    for pattern, what in VARIANTS:
        if any(re.match(pattern, name) for name in shapes):
            return what
    dim, in_dim = shapes["patch_embedding.weight"][:2]
    if dim in WIDTHS:
        return WIDTHS[dim]
    if in_dim not in (LATENT_CHANNELS, INPAINTING_CHANNELS):
        return f"a model of {in_dim} input channels"
    return None


def detect_config(shapes: Shapes) -> TransformerConfig:
    """Read a config off the shapes of a Wan transformer under its original names.

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
