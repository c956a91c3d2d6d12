"""The files of a transformers model, looked at before transformers builds what they ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import errors as hub_errors
from safetensors import SafetensorError

from ..models.files.checkpoint_file import CheckpointError, CheckpointFile, open_checkpoint
from ..models.files.load import list_some
from ..models.files.stored_config import LARGEST, parse_object
from .estimator import DepthError

KINDS = ("depth_anything", "prompt_depth_anything", "zoedepth", "glpn", "depth_pro", "dpt")
"""The model types whose output is known: metres or inverse depth."""

_LAYERS = re.compile(r"(num|n|number_of)_?\w*(layers|blocks)|depths")
_LARGEST_SIDE = 8192  # px
_LARGEST_MULTIPLE = 512  # px
_SPARE = 2  # models share weights, and keep some that the file has not
# A config of the wrong types fails in transformers wherever it is used first.
_MISFITS = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError),
    *(ArithmeticError, AssertionError, ImportError, MemoryError, SafetensorError),
    getattr(hub_errors, "StrictDataclassError", ValueError),  # newer versions have it
)
# The first of DPT's fusion layers has nothing to add; published files leave its weights out.
_UNUSED = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.|position_ids$|num_batches")


def load_model(folder: Path, name: str) -> Any:
    """Load a depth model of transformers from a folder, in float32.

    Raises:
        DepthError: a file is missing or damaged, its config is of no model that is known here or
            does not fit the weights, or a weight is not finite.
    """
    # Imported here: transformers takes seconds, and the other estimators do without.
    from transformers import AutoConfig, AutoModelForDepthEstimation

    try:
        weights = _open_weights(folder)
        _check_config(folder / "config.json", len(weights.shapes))
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            empty = AutoModelForDepthEstimation.from_config(config, trust_remote_code=False)
        _check_size(empty, weights)
        model, report = AutoModelForDepthEstimation.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        _check_loaded(model, report["missing_keys"])
    except _MISFITS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DepthError(
            f"{name}: expected a depth model (config.json, model.safetensors) in {folder}: {reason}"
        ) from error
    return model


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """Read what preprocessor_config.json says; empty where there is none.

    Raises:
        DepthError: it cannot be read, or says what cannot be.
    """
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return {}
    try:
        values = parse_object(path.read_text(encoding="utf-8"))
        values = {name: value for name, value in values.items() if value is not None}
        size = values.get("size", {})
        for name, side in (size if isinstance(size, dict) else {"size": size}).items():
            _check_whole(name, side, _LARGEST_SIDE)
        for name in ("ensure_multiple_of", "size_divisor"):
            _check_whole(name, values.get(name, 1), _LARGEST_MULTIPLE)
        for name in ("image_mean", "image_std"):
            _check_colour(name, values.get(name, [1, 1, 1]), positive=name == "image_std")
    except (ValueError, OSError) as error:
        raise DepthError(
            f"{path}: expected the settings of an image processor ({error})"
        ) from error
    return values


def _open_weights(folder: Path) -> CheckpointFile:
    single = folder / "model.safetensors"
    try:
        return open_checkpoint(single if single.is_file() else folder)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it and get it again") from error


def _check_config(path: Path, tensors: int) -> None:
    """Require a known kind of model, and numbers that the weights can be of."""
    values = parse_object(path.read_text(encoding="utf-8"))
    kind = values.get("model_type")
    if kind not in KINDS:
        raise ValueError(f"expected a known kind of depth model, got model_type {str(kind)[:40]!r}")
    layers = 0
    for name, number in _numbers("", values):
        if not abs(number) <= LARGEST:
            raise ValueError(f"{path.name}: {name}: expected at most {LARGEST}, got {number:g}")
        layers += number if _LAYERS.fullmatch(name) else 0
    if layers > tensors:
        raise ValueError(f"{path.name}: expected layers of {tensors} tensors, got {layers:g}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield the numbers in a JSON value, each by the nearest name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(key, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(name, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # A number beyond what a float holds is too large for anything.
        yield name, value if abs(value) < 1e300 else math.inf


def _check_size(empty: torch.nn.Module, weights: CheckpointFile) -> None:
    wanted = sum(parameter.numel() for parameter in empty.parameters())
    there = sum(math.prod(shape) for shape in weights.shapes.values())
    if wanted > _SPARE * there:
        raise ValueError(
            f"expected the {wanted} weights that config.json asks for, got {there} in the file"
        )


def _check_loaded(model: torch.nn.Module, missing: Collection[str]) -> None:
    """Refuse a model of which a part is random, or not finite."""
    lost = [key for key in missing if not _UNUSED.search(key)]
    if lost:
        raise ValueError(f"expected all of the model's weights, no {list_some(sorted(lost))}")
    weights = model.state_dict().items()
    broken = [key for key, weight in weights if not torch.isfinite(weight).all()]
    if broken:
        raise ValueError(f"expected finite weights, not in {list_some(broken)}")


def _check_whole(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 0 < value <= most:
        raise ValueError(f"{name}: expected a whole number from 1 to {most}, got {str(value)[:40]}")


def _check_colour(name: str, value: Any, *, positive: bool) -> None:
    numbers = isinstance(value, list) and all(type(part) in (int, float) for part in value)
    fits = numbers and len(value) == 3 and all(abs(part) < 1e6 for part in value)
    if not fits or (positive and min(value) <= 0):
        raise ValueError(f"{name}: expected three numbers, got {str(value)[:40]}")
