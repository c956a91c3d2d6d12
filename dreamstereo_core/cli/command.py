"""The `dreamstereo` command: its parser and its exit codes."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

from ..interrupts import INTERRUPTED, LINE, interruptible
from .convert import add_convert
from .download import add_download
from .info import add_info
from .outcome import ERRORS, WRONG_USE, WrongUse, fail
from .plan import add_plan
from .preview import add_preview
from .report import add_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 done, 1 could not, 2 wrong use, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console's encoding may lack what a name has
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="dreamstereo: %(message)s", level=logging.WARNING)
    try:
        with interruptible():
            options = _parse(sys.argv[1:] if arguments is None else list(arguments))
            return options.run(options)
    except SystemExit as exit_:  # argparse has said why
        return int(exit_.code or 0)
    except KeyboardInterrupt as stop:
        return fail(str(stop) or LINE, INTERRUPTED)
    except WrongUse as error:
        return fail(error, WRONG_USE)
    except ERRORS as error:
        return fail(error)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(WRONG_USE, f"dreamstereo: {message}; see {self.prog} --help\n")


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Read the arguments; options may stand before, between and after names."""
    parser = _Parser("dreamstereo", description="Turn 2D video into stereoscopic 3D.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for add in (add_convert, add_preview, add_plan, add_report, add_download, add_info):
        add(commands)
    if arguments and arguments[0] in commands.choices:
        return commands.choices[arguments[0]].parse_intermixed_args(arguments[1:])
    return parser.parse_args(arguments)
