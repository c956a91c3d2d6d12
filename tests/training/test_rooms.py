"""Which room of training/ imports which: each only those that stand before it; none a command."""

import ast
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "training"
ORDER = ("data", "engine", "scenes", "making", "evaluation", "objectives", "benchmarks", "paper")
COMMANDS = {path.stem for path in TRAINING.glob("*.py")}


def imports(path):
    """Yield the first part of each absolute import."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_the_table_has_all_rooms():
    assert set(ORDER) == {path.parent.name for path in TRAINING.glob("*/__init__.py")}


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_those_before_it(room):
    later = {*ORDER[ORDER.index(room) + 1 :], *COMMANDS}
    for path in (TRAINING / room).glob("*.py"):
        assert not later & set(imports(path)), path.name


def test_a_command_imports_no_other():
    for path in TRAINING.glob("*.py"):
        assert "__main__" in path.read_text("utf-8"), path.name
        assert not COMMANDS & set(imports(path)), path.name
