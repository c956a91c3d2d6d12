"""Transformers from files: a user's own Wan files in every layout that is about, and ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import Attention, sdpa
from ..config import TransformerConfig
from ..transformer import Transformer
from .checkpoint_file import CheckpointError, CheckpointFile, open_checkpoint, save_checkpoint
from .identify import describe_file, describe_variant, detect_config
from .names import original_names

KIND = "transformer"
SCALES = (".scale_weight", ".weight_scale")
"""Factors of an 8-bit weight: ComfyUI's older and newer name."""
QUANTIZATION = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
"""Tensors of 8-bit files that are no parameters."""
FLOAT32 = ("time_embedding.", "time_projection.")
"""Parameters that stay in float32 like the modulations: they run once, and errors would stay."""
LISTED = 6
"""Names that an error lists before it counts the rest."""


def load_transformer(
    path: str | Path,
    *,
    config: TransformerConfig | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    operations: Any = nn,
    attention: Attention = sdpa,
) -> Transformer:
    """Load a transformer from safetensors (one file, shards or their folder) or a `.pth`.

    Names may be the original ones, bare or behind `diffusion_model.` or `model.diffusion_model.`,
    or diffusers'. 8-bit weights are multiplied by their scales and computed in `dtype`. The model
    comes back frozen and in evaluation mode.

    Args:
        path: the file, the index of its shards, or the folder.
        config: the sizes; None = the file's own, or what its shapes tell.
        device: where to put it.
        dtype: of the weights and the computation; None = the file's, bfloat16 for 8 bits.
        operations: as for `Transformer`.
        attention: as for `Transformer`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is corrupt, or of another model; names, shapes or values are not
            what they should be.
    """
    file = open_checkpoint(path)
    names = _transformer_names(file)
    config = config or _config(file, names)
    file.require_blocks(config.num_layers)
    with torch.device("meta"):
        model = Transformer(config, operations=operations, attention=attention)
    expected = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    _check_names(file, expected, names)
    dtype = dtype or _file_dtype(file, names)
    state = {
        name: _read(file, names, name, torch.float32 if _stays_float32(name) else dtype).to(device)
        for name in expected
    }
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def save_transformer(
    path: str | Path,
    model: Transformer,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a transformer with its config as one safetensors file, under the original names.

    Args:
        path: `*.safetensors`; an existing file is replaced at once.
        model: what to write.
        dtype: to store in; None = as it is.
        metadata: more texts to keep in the file.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {name: x.detach().to("cpu", dtype) for name, x in model.state_dict().items()}
    save_checkpoint(path, tensors, kind=KIND, config=model.config.to_json(), metadata=metadata)


def _transformer_names(file: CheckpointFile) -> dict[str, str]:
    if file.kind not in (None, KIND):
        raise CheckpointError(
            f"{file.path}: expected a Wan transformer; this is a DreamStereo {file.kind}"
        )
    names = original_names(file.shapes)
    if not names:
        raise CheckpointError(
            f"{file.path}: expected a Wan transformer; this is {describe_file(file.shapes)}"
        )
    return names


def _config(file: CheckpointFile, names: Mapping[str, str]) -> TransformerConfig:
    try:
        if file.config is not None:
            return TransformerConfig.from_json(file.config)
        shapes = {name: file.shapes[stored] for name, stored in names.items()}
        other = describe_variant(shapes)
        if other is not None:
            raise CheckpointError(
                f"{file.path}: expected a Wan2.1 1.3B T2V, Fun-InP or DreamStereo transformer; "
                f"this is {other}"
            )
        return detect_config(shapes)
    except CheckpointError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{file.path}: expected a Wan transformer with {error}") from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(
            f"{file.path}: expected the sizes of a Wan transformer ({error})"
        ) from error


def _check_names(
    file: CheckpointFile, expected: Mapping[str, tuple[int, ...]], names: Mapping[str, str]
) -> None:
    missing = [name for name in expected if name not in names]
    unexpected = [n for n in names if n not in expected and not n.endswith(QUANTIZATION)]
    shapes = {n: file.shapes[names[n]] for n in expected if n in names}
    wrong = [
        f"{name} {list(shape)} instead of {list(expected[name])}"
        for name, shape in shapes.items()
        if shape != expected[name]
    ]
    problems = [
        f"{what}: {list_some(items)}"
        for what, items in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", wrong),
        )
        if items
    ]
    if problems:
        raise CheckpointError(f"{file.path}: tensors do not fit the model; {'; '.join(problems)}")


def list_some(items: Iterable[str]) -> str:
    """Join the first names, and count the rest."""
    items = list(items)
    rest = len(items) - LISTED
    return ", ".join(items[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _file_dtype(file: CheckpointFile, names: Mapping[str, str]) -> torch.dtype:
    # A large weight, since some files keep the small ones in another precision.
    dtype = file.read(names["blocks.0.ffn.0.weight"]).dtype
    return dtype if dtype.itemsize > 1 else torch.bfloat16


def _stays_float32(name: str) -> bool:
    return name.startswith(FLOAT32) or name.endswith("modulation")


def _read(file: CheckpointFile, names: Mapping[str, str], name: str, dtype: torch.dtype) -> Tensor:
    tensor = file.read(names[name])
    if not tensor.is_floating_point():
        raise CheckpointError(
            f"{file.path}: {name}: expected floating point numbers, got {tensor.dtype}"
        )
    module = name.removesuffix(".weight")
    scales = [module + suffix for suffix in SCALES if name != module and module + suffix in names]
    if scales:
        scale = file.read(names[scales[0]]).float()
        rows = tensor.shape[: scale.ndim]
        if any(size not in (1, row) for size, row in zip(scale.shape, rows, strict=False)) or (
            scale.ndim > tensor.ndim
        ):
            raise CheckpointError(
                f"{file.path}: {scales[0]}: expected a factor for {list(tensor.shape)} or for each "
                f"of its rows, got {list(scale.shape)}"
            )
        # One factor for the weight, or one for each of its rows.
        tensor = tensor.float() * scale.reshape(*scale.shape, *[1] * (tensor.ndim - scale.ndim))
    return file.require_finite(name, tensor.to(dtype))
