"""A Wan transformer's parameter names: the original ones, which are ours, and diffusers'."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PREFIXES = ("", "diffusion_model.", "model.diffusion_model.", "transformer.", "module.")
"""What may stand before the names in a file."""

MODEL = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
}
"""Original -> diffusers, outside the blocks."""
ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}
SAME = {"norm_q": "norm_q", "norm_k": "norm_k"}
IMAGE = {"k_img": "add_k_proj", "v_img": "add_v_proj", "norm_k_img": "norm_added_k"}
BLOCK = {
    "modulation": "scale_shift_table",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    **{f"self_attn.{ours}": f"attn1.{theirs}" for ours, theirs in (ATTENTION | SAME).items()},
    **{
        f"cross_attn.{ours}": f"attn2.{theirs}"
        for ours, theirs in (ATTENTION | SAME | IMAGE).items()
    },
}
"""Original -> diffusers, within a block."""

_BLOCK_NAME = re.compile(r"(blocks\.\d+\.)(.+)")


def to_diffusers(name: str) -> str:
    """Rename one parameter, original -> diffusers; a name of neither stays as it is."""
    return _rename(name, MODEL, BLOCK)


def to_original(name: str) -> str:
    """Rename one parameter, diffusers -> original; a name of neither stays as it is."""
    return _rename(name, _inverse(MODEL), _inverse(BLOCK))


def _inverse(table: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in table.items()}


def _rename(name: str, model: Mapping[str, str], block: Mapping[str, str]) -> str:
    match = _BLOCK_NAME.fullmatch(name)
    prefix, rest, table = (match[1], match[2], block) if match else ("", name, model)
    for source, target in table.items():
        if rest == source or rest.startswith(source + "."):
            return prefix + target + rest.removeprefix(source)
    return name


def find_prefix(names: Iterable[str]) -> str | None:
    """Return what stands before a transformer's names, or None where there is no transformer."""
    names = set(names)
    # Depth Anything and others have a patch_embedding too; no one has these two.
    for prefix in PREFIXES:
        if f"{prefix}patch_embedding.weight" in names and (
            f"{prefix}head.modulation" in names or f"{prefix}scale_shift_table" in names
        ):
            return prefix
    return None


def original_names(names: Iterable[str]) -> dict[str, str]:
    """Map original names to the names in a file of any of the known layouts.

    Names that do not start with the transformer's prefix belong to other models of the file (a text
    encoder, a VAE) and are left out. The mapping is empty where there is no transformer.
    """
    names = list(names)
    prefix = find_prefix(names)
    if prefix is None:
        return {}
    inner = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    if "scale_shift_table" in inner:
        return {to_original(name): stored for name, stored in inner.items()}
    return inner
