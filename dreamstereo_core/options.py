"""Make the core's option dataclasses from the named values of a form or a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

Options = TypeVar("Options")


def pick_options(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Make `kind`, a dataclass, from those entries of `given` that have its fields' names.

    Fields that are not given keep their defaults; entries with other names are ignored.

    Raises:
        ValueError: an option is out of its range, as `kind` says.
    """
    names = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    return kind(**{name: value for name, value in given.items() if name in names})
