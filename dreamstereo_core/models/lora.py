"""LoRA files on a transformer: PEFT's, ComfyUI's and kohya's names.

"LoRA: Low-Rank Adaptation of Large Language Models" (2021): W + strength * alpha / rank * B A.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import INPAINTING_CHANNELS, LATENT_CHANNELS
from .files.checkpoint_file import CheckpointError, CheckpointFile, open_checkpoint
from .files.describe import LORA, describe_file
from .files.load import list_some
from .files.names import to_diffusers
from .files.stored_config import parse_object
from .fp8 import Fp8Linear
from .transformer import Transformer

PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.")
KOHYA = "lora_unet_"
CONTEXT = "context"
"""Name of the learned context, in a LoRA or in `context.safetensors` beside it."""
MOST_AXES = 8
"""Most axes of a shape in a file; no parameter has as many."""

_LOW_RANK = re.compile(r"(.+)\.lora[_.](A|B|down|up)(?:\.default)?(?:\.weight)?")
_DIFFUSERS_KEY = "lora_adapter_metadata"
_WHOLE = re.compile(r"(.+)\.(alpha|diff|diff_b|diff_m|set_weight|reshape_weight)")
_PARTS = {"A": "down", "B": "up"}


_SAME_RUN = ("base", "steps")
"""What the metadata of a LoRA and of the context beside it have in common."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patch:
    """The change of one parameter by a LoRA."""

    down: Tensor | None = None
    """`[rank, in, ...]`, A."""
    up: Tensor | None = None
    """`[out, rank, ...]`, B."""
    scale: float = 1.0
    """alpha / rank."""
    diff: Tensor | None = None
    """A difference to add; the smaller of it and the weight is padded with zeros: a T2V model's
    noise channels are the first of an inpainting one."""
    value: Tensor | None = None
    """The whole new weight, independent of the strength."""
    shape: tuple[int, ...] | None = None
    """The shape to which the weight is padded with zeros."""

    def apply(self, weight: Tensor, strength: float) -> Tensor:
        """Return the patched weight in float32."""
        result = (weight if self.value is None else self.value.to(weight.device)).float()
        result = _pad(result, self.target_shape(result.shape))
        if self.diff is not None:
            result = result + strength * _pad(self.diff.to(result), result.shape)
        if self.up is not None and self.down is not None:
            delta = self.up.to(result).flatten(1) @ self.down.to(result).flatten(1)
            result = result + strength * self.scale * delta.reshape(result.shape)
        return result

    def target_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of a weight of this shape after the patch."""
        if self.shape is not None:
            return self.shape
        if self.diff is None or self.diff.ndim != len(shape):
            return tuple(shape if self.diff is None else self.diff.shape)
        return tuple(map(max, shape, self.diff.shape))

    def fits(self, shape: Sequence[int]) -> bool:
        """Return whether the patch fits a parameter of this shape."""
        if self.value is not None:
            shape = self.value.shape
        target = self.target_shape(shape)
        # Only input channels of a convolution may be added, up to those of an inpainting model.
        larger = target == tuple(shape) or (
            len(target) == len(shape) == 5
            and _but_inputs(target) == _but_inputs(shape)
            and shape[1] <= target[1] <= INPAINTING_CHANNELS
        )
        if self.shape is not None and (self.up is None and self.diff is None):
            return False
        if self.diff is not None and tuple(self.diff.shape) != target:
            inputs = (LATENT_CHANNELS, INPAINTING_CHANNELS)
            of_noise = len(target) == 5 and (self.diff.shape[1], target[1]) == inputs
            if not of_noise or _but_inputs(self.diff.shape) != _but_inputs(target):
                return False
        if self.up is None or self.down is None:
            return larger and self.up is self.down
        rank = self.down.shape[0] if self.down.ndim else 0
        up = tuple(self.up.shape)
        return (
            rank > 0
            and math.isfinite(self.scale)
            and larger
            and up[:1] == target[:1]
            and math.prod(up[1:]) == rank
            and self.down.numel() == rank * math.prod(target[1:])
        )


def _but_inputs(shape: Sequence[int]) -> tuple[int, ...]:
    return (shape[0], *shape[2:])


@dataclass(frozen=True)
class Lora:
    """A LoRA file, read for one kind of model."""

    path: Path
    patches: Mapping[str, Patch]
    """The patches by the names of their parameters."""
    context: Tensor | None = None
    """`[1, L, text_dim]`, learned with the LoRA; None where there is none."""


def load_lora(path: str | Path, model: Transformer) -> Lora:
    """Read a LoRA for a model: a file, or a PEFT folder with its adapter_config.json.

    A learned context is taken from the file, else from `context.safetensors` beside it if both are
    of one training.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is no LoRA, or names and shapes that the message lists do not fit
            the model.
    """
    file = open_checkpoint(path)
    if not (what := describe_file(file)).startswith(LORA):
        raise CheckpointError(f"{file.path}: expected a LoRA for a Wan transformer; this is {what}")
    parts, unmatched = _collect(file, _targets(model))
    if unmatched:
        raise CheckpointError(
            f"{file.path}: expected a LoRA for this model; this is {what}, with unmatched names: "
            f"{list_some(unmatched)}"
        )
    default_scale = _peft_scale(file)
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    patches = {name: _patch(values, default_scale) for name, values in parts.items()}
    wrong = [name for name, patch in patches.items() if not patch.fits(shapes[name])]
    if wrong:
        raise CheckpointError(
            f"{file.path}: expected a LoRA of this model's shapes; others, or half a pair: "
            f"{list_some(wrong)}"
        )
    return Lora(file.path, patches, _find_context(file, model))


def merge_loras(model: Transformer, loras: Sequence[tuple[Lora, float]]) -> None:
    """Add LoRAs, each with its strength, to the weights.

    A LoRA's context becomes the model's own, whatever the strength; of several the last one.
    """
    merged = [(lora, strength) for lora, strength in loras if strength]
    for lora, strength in merged:
        for name, patch in lora.patches.items():
            _merge(model, name, patch, strength)
    learned = [(lora.path, lora.context) for lora, _ in merged if lora.context is not None]
    if learned:
        path, context = learned[-1]
        set_context(model, context)
        if len(learned) > 1:
            _log.warning("%s: its learned context is taken, not the other LoRAs'", path)


def set_context(model: Transformer, context: Tensor) -> None:
    """Make a context `[1, L, text_dim]` the model's own, which is saved with it.

    Raises:
        ValueError: it is not one of this model's.
    """
    config, shape = model.config, tuple(context.shape)
    fits = len(shape) == 3 and shape[0] == 1 and 1 <= shape[1] <= config.text_len
    if not config.cross_attention or not fits or shape[2] != config.text_dim:
        raise ValueError(
            f"context: expected [1, up to {config.text_len}, {config.text_dim}] for a model with "
            f"cross-attention, got {list(shape)}"
        )
    weight = model.patch_embedding.weight
    padded = F.pad(context, (0, 0, 0, config.text_len - shape[1])).to(weight.device, model.dtype)
    model.context = nn.Parameter(padded, requires_grad=weight.requires_grad)
    model.config = replace(config, learned_context=True)


def _find_context(file: CheckpointFile, model: Transformer) -> Tensor | None:
    """Return the context that was learned with a LoRA."""
    beside = file.path.with_name(f"{CONTEXT}.safetensors")
    if CONTEXT not in file.shapes:
        if not beside.exists() or any(key not in file.metadata for key in _SAME_RUN):
            return None
        other = open_checkpoint(beside)
        if any(other.metadata.get(key) != file.metadata[key] for key in _SAME_RUN):
            return None
        file = other
    shape, config = file.shapes.get(CONTEXT, ()), model.config
    fits = len(shape) == 3 and shape[0] == 1 and 1 <= shape[1] <= config.text_len
    if not config.cross_attention or not fits or shape[2] != config.text_dim:
        raise CheckpointError(
            f"{file.path}: expected a context of this model's, [1, up to {config.text_len}, "
            f"{config.text_dim}], got {list(shape)}"
        )
    return file.read_weight(CONTEXT)


@torch.no_grad()
def _merge(model: Transformer, name: str, patch: Patch, strength: float) -> None:
    module = model.get_submodule(name.rpartition(".")[0])
    compressed = isinstance(module, Fp8Linear) and module.factor is not None
    if isinstance(module, Fp8Linear) and compressed:
        module.expand(model.dtype)
    parameter = model.get_parameter(name)
    parameter.data = patch.apply(parameter.data, strength).to(parameter.dtype)
    if isinstance(module, Fp8Linear) and compressed:
        module.compress()
    if name == "patch_embedding.weight":
        model.config = replace(model.config, in_dim=parameter.shape[1])


def _pad(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    extra = [
        amount
        for size, wanted in zip(reversed(weight.shape), reversed(shape), strict=True)
        for amount in (0, wanted - size)
    ]
    return F.pad(weight, extra) if any(extra) else weight


def _targets(model: Transformer) -> dict[str, str]:
    """Map every name that a LoRA may use for a module or parameter to the parameter's own."""
    targets = {}
    for parameter, _ in model.named_parameters():
        module = parameter.removesuffix(".weight")
        for name in (to_diffusers(module), module):
            targets[name] = parameter
            targets[KOHYA + name.replace(".", "_")] = parameter
    return targets


def _collect(
    file: CheckpointFile, targets: Mapping[str, str]
) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
    """Sort a file's tensors by parameter and part; also return the names that fit nowhere."""
    parts: dict[str, dict[str, Tensor]] = {}
    unmatched = []
    for name in file.shapes:
        if name == CONTEXT:
            continue
        match = _LOW_RANK.fullmatch(name) or _WHOLE.fullmatch(name)
        target, part = (match[1], _PARTS.get(match[2], match[2])) if match else (name, "")
        for prefix in PREFIXES:
            target = target.removeprefix(prefix)
        parameter = targets.get(target)
        if part == "diff_m":  # of a block or the head, which are no parameters
            part = "diff"
            parameter = targets.get(f"{target}.modulation") or targets.get(f"{target}_modulation")
        if part == "diff_b" and parameter is not None:
            part = "diff"
            parameter = targets.get(f"{target}.bias") or targets.get(f"{target}_bias")
        if match is None or parameter is None:
            unmatched.append(name)
        else:
            whole = part == "reshape_weight"  # sizes, not weights
            tensor = file.read(name) if whole else file.read_weight(name)
            parts.setdefault(parameter, {})[part] = tensor
    return parts, unmatched


def _patch(values: Mapping[str, Tensor], default_scale: Callable[[int], float]) -> Patch:
    down, shape = values.get("down"), values.get("reshape_weight")
    scale = 1.0
    if down is not None and down.ndim and down.shape[0]:
        rank = down.shape[0]
        alpha = values.get("alpha")
        scale = default_scale(rank) if alpha is None else _alpha(alpha) / rank
    return Patch(
        down=down,
        up=values.get("up"),
        scale=scale,
        diff=values.get("diff"),
        value=values.get("set_weight"),
        shape=None if shape is None else tuple(int(size) for size in shape.flatten()[:MOST_AXES]),
    )


def _alpha(tensor: Tensor) -> float:
    return float(tensor) if tensor.numel() == 1 else math.nan


def _peft_scale(file: CheckpointFile) -> Callable[[int], float]:
    """Return the scale for each rank where there is no `.alpha`: from PEFT's config, else 1.

    The config lies beside the file, or in its metadata as diffusers writes it.
    """
    path, prefix = file.path.with_name("adapter_config.json"), ""
    embedded = file.metadata.get(_DIFFUSERS_KEY, "")
    if not path.exists():
        if not embedded:
            return lambda rank: 1.0
        path, prefix = file.path, "transformer."
    try:
        text = embedded if prefix else path.read_text(encoding="utf-8")
        config = {key.removeprefix(prefix): value for key, value in parse_object(text).items()}
        alpha, power = float(config["lora_alpha"]), 0.5 if config.get("use_rslora") else 1.0
        special = [key for key in ("use_dora", "alpha_pattern") if config.get(key)]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path}: expected PEFT's config with lora_alpha") from error
    if not math.isfinite(alpha):
        raise CheckpointError(f"{path}: lora_alpha: expected a finite number, got {alpha}")
    if special:
        raise CheckpointError(f"{path}: expected a plain LoRA, got {', '.join(special)}")
    return lambda rank: alpha / rank**power


def parse_lora(text: str) -> tuple[str, float]:
    """Read "FILE" or "FILE:STRENGTH"; return both, the strength 1 if there is none."""
    path, colon, strength = text.rpartition(":")
    try:
        return (path, float(strength)) if colon else (text, 1.0)
    except ValueError:  # the colon belongs to the path
        return text, 1.0
