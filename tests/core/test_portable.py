"""What Windows and macOS have not, or have otherwise, is not used without a guard."""

import ast
import io
import sys
from pathlib import Path

import pytest

from dreamstereo_core.cli import main

ROOT = Path(__file__).parents[2]
PARTS = ("dreamstereo_core", "nodes", "training")
FILES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))
POSIX_MODULES = {"fcntl", "grp", "posix", "pwd", "pty", "resource", "termios", "tty"}
POSIX_NAMES = {
    "os": {"fork", "geteuid", "getuid", "getpgid", "killpg", "mkfifo", "nice", "setsid", "statvfs"}
    | {"uname", "wait", "sched_getaffinity", "posix_fallocate", "O_DIRECTORY"},
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "alarm", "pause"}
    | {"pthread_sigmask", "setitimer", "sigwait"},
}
TEXT_CALLS = {"read_text": 0, "write_text": 1}
"""Methods, and how many arguments stand before the encoding."""
ASCII = {"evaluate.py", "evaluate_shots.py", "machine.py"}
"""Files whose texts have no other letters."""
GUARDED: set[tuple[str, str]] = set()
"""(file, name) of uses that stand behind a question for the system."""


def complaints(path):
    """Yield what in a file runs on some systems only."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body:  # within a function it may be guarded
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        yield from (f"line {node.lineno}: import {name}" for name in names if name in POSIX_MODULES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = node.value.id, node.attr
            if name in POSIX_NAMES.get(module, ()) and (path.name, name) not in GUARDED:
                yield f"line {node.lineno}: {module}.{name}; ask by getattr"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            before = TEXT_CALLS.get(node.func.attr, -1)
            named = any(word.arg == "encoding" for word in node.keywords)
            if len(node.args) <= before and not named and path.name not in ASCII:
                yield f"line {node.lineno}: {node.func.attr} without an encoding"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_of_one_system_alone(path):
    assert not list(complaints(path))


def test_a_console_that_lacks_a_letter(monkeypatch, tmp_path):
    said = io.BytesIO()
    console = io.TextIOWrapper(said, encoding="cp1252")
    monkeypatch.setattr(sys, "stderr", console)
    assert main(["convert", str(tmp_path / "映画.mp4")]) == 1
    console.flush()
    assert b"\\u6620\\u753b.mp4" in said.getvalue()
    assert said.getvalue().count(b"\n") == 1
