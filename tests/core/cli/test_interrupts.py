"""Ctrl-C, docker stop, a closed terminal: exit 130, one line, nothing left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dreamstereo_core.cli import convert as cli
from dreamstereo_core.cli import main

from ..sound import film

ROOT = Path(__file__).parents[3]
ONE_LINE = "dreamstereo: interrupted; nothing was written\n"
SIGNALS = [s for s in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, s)]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows knows no signals to others")


@pytest.fixture(autouse=True)
def _signals_are_heard():
    """A shell's background ignores SIGINT, and nohup SIGHUP; children inherit it."""
    handlers = {getattr(signal, name): signal.SIG_DFL for name in SIGNALS}
    handlers[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_as_ctrl_c_does(tmp_path, monkeypatch, capsys, name):
    source = film(tmp_path / "a.mp4", [], seconds=1)

    def interrupted(*_, on_progress, **__):
        (tmp_path / "begun").touch()
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(5)

    before = signal.getsignal(getattr(signal, name))
    monkeypatch.setattr(cli, "convert_file", interrupted)
    assert main(["convert", str(source), "--fill", "classic", "--depth", "cues"]) == 130
    assert capsys.readouterr().err == ONE_LINE
    assert (tmp_path / "begun").exists()
    assert signal.getsignal(getattr(signal, name)) is before


def test_a_swallowed_interrupt_comes_up_again(tmp_path, monkeypatch, capsys):
    source = film(tmp_path / "a.mp4", [], seconds=1)

    def swallowed(*_, on_progress, **__):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            on_progress(None)
        pytest.fail("went on")

    monkeypatch.setattr(cli, "convert_file", swallowed)
    assert main(["convert", str(source), "--fill", "classic", "--depth", "cues"]) == 130
    assert capsys.readouterr().err == ONE_LINE


def test_of_several_inputs_it_says_how_many_are_done(tmp_path, monkeypatch, capsys):
    sources = [str(film(tmp_path / f"{name}.mp4", [], seconds=1)) for name in "abc"]

    def second(source, *_, **__):
        if source.name == "b.mp4":
            raise KeyboardInterrupt
        return (source,)

    monkeypatch.setattr(cli, "convert_file", second)
    options = ["--fill", "classic", "--depth", "cues", "--quiet"]
    assert main(["convert", *sources, *options]) == 130
    assert capsys.readouterr().err == "dreamstereo: interrupted; 1 of 3 are done\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_during_the_imports(name):
    """torch waits in the import for the signal."""
    slow = f"""
import os, runpy, signal, sys, threading, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.{name})
            time.sleep(30)
sys.meta_path.insert(0, Slow())
sys.argv = ["dreamstereo", "info"]
runpy.run_module("dreamstereo_core.cli", run_name="__main__")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", slow], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, ONE_LINE)


@pytest.mark.timeout(120)
def test_a_stopped_command_leaves_nothing(tmp_path):
    source = film(tmp_path / "a.mp4", seconds=8)
    target = tmp_path / "b.mp4"
    command = [sys.executable, "-m", "dreamstereo_core.cli", "convert", str(source), str(target)]
    process = subprocess.Popen(
        [*command, "--fill", "classic", "--depth", "cues"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob(".*.part")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, ONE_LINE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
