"""The commands of README, docs, config headers and scripts, as they are written there."""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dreamstereo_core.cli import main
from engine import first_look, recipe

ROOT = Path(__file__).parents[2]
SOURCES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "dreamstereo_core" / "weights" / "README.md",
    *sorted((ROOT / "training" / "configs").glob("*.yaml")),
    *sorted((ROOT / "training").rglob("*.py")),
]
SCRIPTS = sorted(
    path for path in (ROOT / "training").glob("*.py") if "__main__" in path.read_text("utf-8")
)
PROGRAM = re.compile(r"(?:python3? training/|accelerate launch |(?:\S*[/\\])?dreamstereo (?=\w))")


def commands():
    """Return each file's commands: of lines that begin with one, and of `code`."""
    listed = []
    for source in SOURCES:
        text = source.read_text("utf-8").replace("\\\n", " ")
        found = [part for part in re.findall(r"`([^`\n]+)`", text) if PROGRAM.match(part)]
        for line in text.splitlines():
            line = line.strip().lstrip("#").strip()
            found += [part for part in re.split(r" && |; ", line) if PROGRAM.match(part)]
        for command in found:
            listed.append(pytest.param(command, id=f"{source.name}: {command[:70]}"))
    return listed


def words(command):
    """Split a command; take comments, and what is in brackets as optional, out of it."""
    command = re.sub(r"\s#.*", "", command)
    while "[" in command and not re.search(r'["\'][^"\']*\[', command):
        shorter = re.sub(r"\[[^\[\]]*\]", "", command)
        if shorter == command:
            break
        command = shorter
    return [word.removesuffix("...") for word in shlex.split(command) if word != "..."]


class Parsed(Exception):
    """The arguments were taken."""


@pytest.fixture
def no_work(monkeypatch):
    """Let everything stop where its work would begin."""
    parse = argparse.ArgumentParser.parse_args
    parse_intermixed = argparse.ArgumentParser.parse_intermixed_args
    main_of = recipe.main_of

    def parse_and_stop(self, args=None, namespace=None):
        options = parse(self, args, namespace)
        if sys._getframe(1).f_code is main_of.__code__:
            return options  # its settings are still to be read
        raise Parsed

    def stop(settings, folder):
        raise Parsed

    def parse_intermixed_and_stop(self, args=None, namespace=None):
        parse_intermixed(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_intermixed_args", parse_intermixed_and_stop)
    monkeypatch.setattr(
        recipe, "main_of", lambda cls, train, text, **more: main_of(cls, stop, text, **more)
    )
    monkeypatch.setattr(recipe, "missing_files", lambda settings: [])
    monkeypatch.setattr(first_look, "tell_what_is_missing", lambda default: None)
    monkeypatch.chdir(ROOT)
    return monkeypatch


@pytest.mark.parametrize("command", commands())
def test_a_command_is_taken_as_it_is_written(command, no_work):
    parts = words(command)
    if parts[-1] in ("--depth", "--fill") or parts == ["dreamstereo", "convert"]:
        return  # prose about the option or the command
    if parts[0].endswith("dreamstereo"):
        with pytest.raises(Parsed):
            code = main(parts[1:])
            assert code == 0
            raise Parsed  # `info` has nothing to stop at
        return
    script = next((part for part in parts if part.startswith("training/") and ".py" in part), None)
    if script is None:  # `accelerate launch` alone, in prose
        assert len(parts) <= 3 or "N" in parts
        return
    arguments = parts[parts.index(script) + 1 :]
    if not arguments and script not in ("training/benchmark.py", "training/train_lora.py"):
        arguments = ["--help"]  # only named, not used
    no_work.setattr(sys, "argv", [script, *arguments])
    with pytest.raises((Parsed, SystemExit)) as stopped:
        sys.exit(runpy.run_path(str(ROOT / script), run_name="__main__") and 0)
    if isinstance(stopped.value, SystemExit):
        # Without a config a recipe lists what it needs, which is what that command is for.
        assert stopped.value.code == (0 if arguments else 2)


def test_there_are_commands():
    assert len(commands()) > 50


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(script), run_name="__main__")
    assert stopped.value.code == 0
    assert "usage" in capsys.readouterr().out


WITHOUT_EXTRAS = """
import runpy, sys
from pathlib import Path

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"PIL", "accelerate", "cv2", "matplotlib", "peft", "yaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
for script in sys.argv[1:]:
    folder = str(Path(script).parent)
    sys.path.insert(0, folder)
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit:
        print("fine", file=sys.stderr)
    except ModuleNotFoundError as error:
        sys.excepthook(type(error), error, None)
    for name, module in list(sys.modules.items()):
        if name != "engine.extras" and str(getattr(module, "__file__", "")).startswith(folder):
            del sys.modules[name]
"""


def test_a_missing_package_is_one_line():
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *map(str, SCRIPTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=ROOT)
    lines = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == len(SCRIPTS), done.stderr
    for script, line in zip(SCRIPTS, lines, strict=True):
        missing = line.startswith(f"{script.name}: expected the package ")
        assert line == "fine" or (missing and "pip install -e .[train]" in line)
    assert sum(line != "fine" for line in lines) > 10


def test_a_recipe_alone_lists_what_it_needs(no_work, capsys, tmp_path):
    no_work.undo()
    script = str(ROOT / "training" / "distill_step.py")
    no_work.setattr(sys, "argv", [script])
    no_work.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    for part in ("distill_step.yaml", "pairs: pairs", "vae: models/"):
        assert part in said
    config = str(ROOT / "training" / "configs" / "distill_step.yaml")
    no_work.setattr(sys, "argv", [script, config])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "expected these, which are not there" in said and "vae: models/" in said
