"""Read configs from untrusted files: check types and sizes before anything is built."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

LARGEST = 1 << 20
"""The largest size that a model may have here."""
LONGEST = 1 << 20
"""Most characters of a text that is read as a config."""
ENTRIES = 64
"""Most entries of a list in a config."""

T = TypeVar("T")


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: the text is no JSON object, is too long, or is nested too deeply.
    """
    if len(text) > LONGEST:
        raise ValueError(f"expected JSON of at most {LONGEST} characters, got {len(text)}")
    try:
        values: Any = json.loads(text)
    except RecursionError as error:
        raise ValueError("expected a JSON object, got one that nests too deep") from error
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got a {type(values).__name__}")
    return values


def read_config(kind: type[T], text: str) -> T:
    """Return the dataclass that a JSON object is of.

    Raises:
        ValueError: as `parse_object` and `build_config`.
    """
    return build_config(kind, parse_object(text))


def build_config(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return a dataclass of these values; each must have the type that its field declares.

    Raises:
        ValueError: an entry is unknown, missing, of another type, or beyond any model's size.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    required = [name for name, field in known.items() if _is_required(field)]
    if missing := [name for name in required if name not in values]:
        raise ValueError(f"{missing[0]}: expected in a {kind.__name__}, it is missing")
    if unknown := [name for name in values if name not in known]:
        raise ValueError(f"{unknown[0][:40]!r}: expected only entries of a {kind.__name__}")
    return kind(**{name: _typed(name, value, hints[name]) for name, value in values.items()})


def check_sizes(sizes: Mapping[str, int | None], least: int = 1, most: int = LARGEST) -> None:
    """Require whole numbers from `least` to `most`; None stands for an absent part and passes.

    Raises:
        ValueError: a number is another one; the message names the first.
    """
    for name, size in sizes.items():
        if size is not None and not least <= size <= most:
            raise ValueError(f"{name}: expected {least} to {most}, got {size}")


def check_statistics(mean: Iterable[float], std: Iterable[float], channels: int) -> None:
    """Require a finite mean and a positive deviation for each channel.

    Raises:
        ValueError: one is missing; the message names it.
    """
    mean, std = tuple(mean), tuple(std)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise ValueError(f"{name}: expected {channels} numbers, got {len(values)}")
        if not all(map(math.isfinite, values)):
            raise ValueError(f"{name}: expected finite numbers, got {values}")
    if min(std) <= 0:
        raise ValueError(f"std: expected positive numbers, got {min(std):g}")


def _is_required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _typed(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= ENTRIES:
            raise ValueError(f"{name}: expected a list of 1 to {ENTRIES}, got {_short(value)}")
        return tuple(_typed(name, item, get_args(hint)[0]) for item in value)
    if is_dataclass(hint) and isinstance(value, dict):
        return build_config(hint, value)  # pyright: ignore[reportArgumentType]
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if hint is float and type(value) is int and abs(value) <= LARGEST:
        return float(value)
    # A bool is an int in Python, and a JSON number may be infinite.
    fits = type(value) is hint and (hint is not float or math.isfinite(value))
    if not fits or (hint is int and abs(value) > LARGEST):
        raise ValueError(f"{name}: expected {_describe(hint)}, got {_short(value)}")
    return value


def _describe(hint: Any) -> str:
    if hint is int:
        return f"a whole number up to {LARGEST}"
    names = {float: "a finite number", bool: "true or false", str: "a text"}
    return names.get(hint, "an object")


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
