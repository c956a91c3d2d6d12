"""What a LoRA training learned, as a file that the core and ComfyUI apply to the native model.

Low-rank pairs go under `diffusion_model.<module>.lora_A/B.weight` with `.alpha`. The widened patch
embedding goes as a pair of full rank with `.reshape_weight`, by which both loaders pad the base's
weight before they add (a `.diff` of another shape is dropped by ComfyUI). The context that the
training used lies under `context`, and once more in a file of its own: ComfyUI's loader skips it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from data.files import write_safetensors

PREFIX = "diffusion_model."
ADAPTER = "default"
"""PEFT's name for the first adapter."""


def lora_tensors(
    trained: Mapping[str, Tensor], base: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """Return the tensors of the file.

    Args:
        trained: trained parameters by PEFT's names, as `blocks.0.ffn.0.lora_A.default.weight`.
        base: `patch_embedding.weight` and `.bias` of the base, before it was widened.
        alpha: of all low-rank pairs.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in trained.items():
        value = value.detach().cpu().float()
        for half in ("lora_A", "lora_B"):
            module, found, _ = name.partition(f".{half}.{ADAPTER}.weight")
            if found:
                tensors[f"{PREFIX}{module}.{half}.weight"] = value.contiguous()
                tensors[f"{PREFIX}{module}.alpha"] = torch.tensor(float(alpha))
    name = "patch_embedding.weight"
    if name in trained:
        tensors |= _full_rank(trained[name].detach().cpu().float(), base[name].cpu().float())
    name = "patch_embedding.bias"
    if name in trained:
        difference = trained[name].detach().cpu().float() - base[name].cpu().float()
        tensors[f"{PREFIX}patch_embedding.diff_b"] = difference
    return tensors


def export_lora(
    path: Path,
    trained: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    alpha: float,
    metadata: Mapping[str, str],
) -> None:
    """Write the LoRA with its `context`, if there is one, and `context.safetensors` beside it.

    Raises:
        DataError: a file cannot be written.
    """
    metadata = {"format": "pt", **metadata}
    context = {}
    if "context" in trained:
        context = {"context": trained["context"].detach().cpu().float().contiguous()}
        write_safetensors(path.with_name("context.safetensors"), context, metadata)
    write_safetensors(path, lora_tensors(trained, base, alpha) | context, metadata)


def _full_rank(weight: Tensor, base: Tensor) -> dict[str, Tensor]:
    """Write the difference to the padded base as a product with the identity: nothing is lost."""
    padding = [0, 0] * (weight.ndim - 2) + [0, weight.shape[1] - base.shape[1]]
    difference = (weight - F.pad(base, padding)).flatten(1)
    rows, columns = difference.shape
    if rows < columns:
        down, up = difference, torch.eye(rows)
    else:
        down, up = torch.eye(columns), difference
    name = f"{PREFIX}patch_embedding"
    return {
        f"{name}.lora_A.weight": down.contiguous(),
        f"{name}.lora_B.weight": up.contiguous(),
        f"{name}.alpha": torch.tensor(float(len(down))),
        f"{name}.reshape_weight": torch.tensor(weight.shape),
    }
