"""Files of tensors: whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


class DataError(ValueError):
    """Training data cannot be read or written; the text is one line that names the file."""


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a file beside its place, then rename it: it is whole or not there.

    Raises:
        DataError: it cannot be written (a full disk); nothing is left behind.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, metadata=metadata)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be written ({error}); what was finished stays") from error
    finally:
        temporary.unlink(missing_ok=True)
