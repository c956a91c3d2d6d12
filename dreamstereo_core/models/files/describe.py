"""Describe a model file by its own mark, or by the names and shapes of its tensors."""

from __future__ import annotations

import re

from ..config import INPAINTING_CHANNELS, LATENT_CHANNELS
from .checkpoint_file import CheckpointFile
from .names import PREFIXES

WAN_TRANSFORMER = "a Wan transformer"
WAN_VAE = "a VAE for Wan 2.1"
TINY_VAE = "a tiny VAE"
LORA = "a LoRA"
VIDEO_DEPTH = "a Video-Depth-Anything"

_OWN = {"vae": "VAE", "depth": "depth network"}
_LORA = re.compile(r"\.(lora[_.](A|B|down|up)\b|(diff|diff_b|diff_m|set_weight)$|hada_|lokr_)")
_BLOCK = r"blocks[._]\d+[._](self_attn|cross_attn|attn\d|ffn|modulation|norm\d)"
_TABLE = (
    (r"(blocks\.\d+\.(self_attn\.q|attn1\.to_q)\.|patch_embedding\.weight$)", WAN_TRANSFORMER),
    (r"decoder\.mid(_block)?\.(block_1\.|resnets\.0\.norm1\.weight)", "a VAE of an image model"),
    (r"decoder\.upsamples\.0\.upsamples\.|encoder\.down_blocks\.0\.resnets\.", "a Wan 2.2 VAE"),
    (r"(encoder|decoder)\.((down|up)samples\.\d|middle\.\d|.*\.gamma$)", WAN_VAE),
    (r"(encoder|decoder)\.(conv1|conv_in|(down|up)_?blocks|mid_block)\b", "a VAE of another model"),
    (r"(first_stage_model|vae)\.", "a VAE in another model's file"),
    (r"(encoder|decoder)\.\d+\.", TINY_VAE),
    (
        r"(encoder\.block\.|shared\.weight|token_embedding\.weight|text_model\.|blocks\.0\.attn\.q\.)",
        "a text encoder",
    ),
    (r"(vision_model|visual)\.", "a CLIP vision model"),
    (r"head\.motion_modules\.", VIDEO_DEPTH),
    (r"depth_head\.", "a Depth Anything for single images (for depth, give its id on the hub)"),
    (r"(backbone|neck|dinov2)\.", "a depth model of transformers (for depth, give its folder)"),
    (r"pretrained\.", "a Video-Depth-Anything without its attention over time"),
    (r"blocks\.0\.ls1\.gamma$", "a DINOv2 without a depth head"),
    (r"(.*\.)?(input|double|joint|down|transformer)_blocks\.", "another diffusion model"),
    (r"context$", "a context for a transformer"),
)
"""Beginnings of names, and what they mean; the first row that fits any name counts."""
_VARIANTS = (
    (r"vace_", "a VACE model"),
    (r"(face_adapter|motion_encoder|pose_patch)", "a Wan Animate model"),
    (r"(audio_|casual_audio)", "a speech-to-video model"),
    (r"control_adapter", "a camera-control model"),
    (r"ref_conv", "a Fun-Control model"),
)
"""The same for models that have all tensors of a Wan transformer, and more."""
_WIDTHS = {5120: "a 14B model", 3072: "a 5B model (Wan 2.2)"}
_PREFIX = f"({'|'.join(re.escape(prefix) for prefix in PREFIXES if prefix)})?"


def describe_file(file: CheckpointFile) -> str:
    """Return in words what a file holds, independent of what was expected."""
    if file.kind is not None:
        return f"a DreamStereo {_OWN.get(file.kind, file.kind)}"
    if not file.shapes:
        return "an empty file"
    if any(_LORA.search(name) for name in file.shapes):
        known = any(re.search(_BLOCK, name) for name in file.shapes)
        return f"{LORA} for {WAN_TRANSFORMER if known else 'another model'}"
    what = _find(file, _TABLE)
    if what == WAN_TRANSFORMER:
        return _find(file, _VARIANTS) or _wan_size(file) or what
    return what or f"an unknown model ({', '.join(sorted(file.shapes)[:3])}, ...)"


def _find(file: CheckpointFile, table: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, what in table:
        beginning = re.compile(_PREFIX + pattern)
        if any(beginning.match(name) for name in file.shapes):
            return what
    return None


def _wan_size(file: CheckpointFile) -> str | None:
    """Return which Wan transformer it is, if it has a size that does not run here."""
    for prefix in PREFIXES:
        dim, channels, *_ = (*file.shapes.get(f"{prefix}patch_embedding.weight", ()), 0, 0)
        if dim in _WIDTHS:
            return _WIDTHS[dim]
        if channels and channels not in (LATENT_CHANNELS, INPAINTING_CHANNELS):
            return f"a model of {channels} input channels"
    return None
