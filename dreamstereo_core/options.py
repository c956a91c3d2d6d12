"""Options by name: what a form or a command line gives, as the dataclasses that the core takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

Options = TypeVar("Options")


def pick_options(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Make `kind`, a dataclass, of the entries of `given` that bear its fields' names.

    What is not given keeps the dataclass' default; what bears no field's name is left out.

    Raises:
        ValueError: an option is out of its range, as `kind` says.
    """
    names = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    return kind(**{name: value for name, value in given.items() if name in names})
