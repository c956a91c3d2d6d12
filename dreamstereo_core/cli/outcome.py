"""The command's exit codes, and the one line that says what went wrong."""

from __future__ import annotations

import sys

from ..errors import DreamStereoError

DONE, FAILED, WRONG_USE = 0, 1, 2
ERRORS = (DreamStereoError, ValueError, ImportError, OSError, MemoryError)
"""Errors of a conversion that are shown as one line, without a traceback."""


class WrongUse(Exception):
    """An argument whose value makes no sense."""


def fail(error: object, code: int = FAILED) -> int:
    """Print one line that says why, and return the exit code."""
    line = " ".join((str(error) or type(error).__name__).split())
    print(f"dreamstereo: {line}", file=sys.stderr)
    return code
