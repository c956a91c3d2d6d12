"""The command's exit codes, and the one line that says what went wrong."""

from __future__ import annotations

import errno
import sys

import torch

from ..errors import DreamStereoError

DONE, FAILED, WRONG_USE = 0, 1, 2
OUT_OF_MEMORY = torch.cuda.OutOfMemoryError
ERRORS = (DreamStereoError, ValueError, ImportError, OSError, MemoryError, OUT_OF_MEMORY)
"""Errors of a conversion that are shown as one line, without a traceback."""
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class WrongUse(Exception):
    """An argument whose value makes no sense."""


def fail(error: object, code: int = FAILED) -> int:
    """Print one line that says why, and return the exit code."""
    line = " ".join((str(error) or type(error).__name__).split())
    print(f"dreamstereo: {line}", file=sys.stderr)
    return code


def is_full(error: BaseException) -> bool:
    """Tell whether an error comes from a disk without room, or from a quota."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) in _FULL:
            return True
        cause = cause.__cause__
    return False
