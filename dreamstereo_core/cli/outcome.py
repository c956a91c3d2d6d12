"""How the command ends: its exit codes, and the one line that says why."""

from __future__ import annotations

import sys

from ..errors import DreamStereoError

DONE, FAILED, WRONG_USE = 0, 1, 2
ERRORS = (DreamStereoError, ValueError, ImportError, OSError, MemoryError)
"""What a conversion may raise: one line to people, no traceback."""


class WrongUse(Exception):
    """An argument whose value makes no sense."""


def fail(error: object, code: int = FAILED) -> int:
    """Say why in one line, and return the exit code."""
    line = " ".join((str(error) or type(error).__name__).split())
    print(f"dreamstereo: {line}", file=sys.stderr)
    return code
