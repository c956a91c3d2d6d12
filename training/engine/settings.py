"""YAML files to dataclasses: every key known, every value of its type."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")


class SettingsError(ValueError):
    """A settings file is not what the recipe needs; the text is one line that names the key."""


def load_settings(cls: type[T], path: str | Path, overrides: Sequence[str] = ()) -> T:
    """Read a YAML file as the dataclass `cls`, nested ones included.

    Args:
        cls: the recipe's settings.
        path: the file.
        overrides: `key=value`, `section.key=value`, or in a list of sections `data.0.key=value` and
            `data.*.key=value`; values in YAML.

    Raises:
        FileNotFoundError: there is no such file.
        SettingsError: it is no mapping, a key is unknown or missing, or a value of another type.
    """
    return _build(cls, read_values(path, overrides), str(path))


def read_values(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML file as it is written, with overrides in place, as `load_settings` does.

    Raises:
        FileNotFoundError: there is no such file.
        SettingsError: it is no mapping, or an override leads nowhere.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such settings file")
    values = _parse(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected a mapping of keys and values")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise SettingsError(f"--set {override}: expected key=value")
        _set(values, key.split("."), _parse(text, f"--set {override}"), f"--set {override}")
    return values


def _set(place: Any, keys: Sequence[str], value: Any, where: str) -> None:
    """Put a value where the keys lead; in a list a key is a number from 0 on, or * for all."""
    key, *more = keys
    if isinstance(place, list):
        if key != "*" and not (key.isdigit() and int(key) < len(place)):
            raise SettingsError(
                f"{where}: expected a number from 0 to {len(place) - 1}, or *, got {key!r}"
            )
        for index in range(len(place)) if key == "*" else [int(key)]:
            if more:
                _set(place[index], more, value, where)
            else:
                place[index] = value
    elif isinstance(place, dict):
        if more:
            _set(place.setdefault(key, {}), more, value, where)
        else:
            place[key] = value
    else:
        raise SettingsError(f"{where}: what {key} is to be in is no section")


def settings_text(settings: Any) -> str:
    """Return the settings as YAML that `load_settings` reads."""
    return yaml.safe_dump(_plain(asdict(settings)), sort_keys=False, width=100)


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: not YAML ({' '.join(str(error).split())})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _build(cls: Any, values: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}
    unknown = [key for key in values if key not in known]
    if unknown:
        raise SettingsError(
            f"{where}: unknown key {unknown[0]!r}; known ones are {', '.join(known)}"
        )
    for field in known.values():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if field.name not in values and not optional:
            raise SettingsError(f"{where}: expected the key {field.name!r}, which is missing")
    built = {key: _value(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**built)
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, choices = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in choices:
            return None
        return _value(next(c for c in choices if c is not type(None)), value, where)
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise SettingsError(f"{where}: expected a section of keys, got {value!r}")
        return _build(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{where}: expected a list, got {value!r}")
        items = choices[:1] * len(value) if choices[1:] == (...,) else choices
        if len(items) != len(value):
            raise SettingsError(f"{where}: expected {len(items)} values, got {len(value)}")
        return tuple(_value(t, v, where) for t, v in zip(items, value, strict=True))
    if origin is Literal:
        if value not in choices:
            raise SettingsError(f"{where}: expected one of {', '.join(choices)}, got {value!r}")
        return value
    return _scalar(hint, value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 4e-5 as a text
        except ValueError:
            pass
    elif type(value) is hint:
        return value
    raise SettingsError(f"{where}: expected {hint.__name__}, got {value!r}")
