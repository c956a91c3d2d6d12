"""End the command in the same way on Ctrl-C, `docker stop` and a closed terminal.

Importing this module makes the command react during the seconds in which torch is imported. In
other programs it changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType

INTERRUPTED = 130
LINE = "interrupted; nothing was written"
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has no SIGHUP
    if hasattr(signal, name)
]
_requested: list[int] = []


def raise_if_interrupted() -> None:
    """Raise an interrupt again that a callback may have swallowed.

    Raises:
        KeyboardInterrupt: there was a signal.
    """
    if _requested:
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal; during the cleanup after it, only at Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        again = bool(_requested)
        _requested.append(number)
        if not again or number == signal.SIGINT:
            raise KeyboardInterrupt

    _requested.clear()
    before = _install(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            # The command has done its work, so a signal would change no file any more.
            signal.signal(number, signal.SIG_IGN if is_command() else handler)
        _requested.clear()


def is_command() -> bool:
    """Tell whether this process is the `dreamstereo` command."""
    return (
        bool(sys.argv) and Path(sys.argv[0]).stem == "dreamstereo"
    ) or f"{__package__}.cli" in sys.orig_argv


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once, since a module that is being imported might swallow an exception."""
    os.write(2, f"dreamstereo: {LINE}\n".encode())
    os._exit(INTERRUPTED)


def _install(handler: Callable[[int, FrameType | None], None]) -> dict:
    """Handle the signals that are not ignored (as by nohup); return their old handlers."""
    if current_thread() is not main_thread():
        return {}
    wanted = [s for s in _SIGNALS if signal.getsignal(s) not in (signal.SIG_IGN, None)]
    return {number: signal.signal(number, handler) for number in wanted}


if is_command():
    _install(_leave)
