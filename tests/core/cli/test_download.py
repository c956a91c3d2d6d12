"""Getting a better depth: the command, what `auto` then is, and the line that tells of it."""

from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from dreamstereo_core.cli import main
from dreamstereo_core.cli.download import MODELS, tell_of_better_depth
from dreamstereo_core.depth import (
    DEFAULT_MODEL,
    VIDEO_MODEL,
    best_there,
    transformers_depth,
    video_depth_checkpoint,
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub in a folder; what was fetched over the network is in the list."""
    fetched = []

    def place(name: str) -> Path:
        return tmp_path / name.replace("/", "--")

    def get(name, path, local_files_only):
        if not path.exists():
            if local_files_only:
                raise LocalEntryNotFoundError("not there")
            fetched.append(name)
            path.parent.mkdir(exist_ok=True)
            path.write_text("")
        return path

    def snapshot(name, *, local_files_only, allow_patterns):
        path = get(name, place(name) / "config.json", local_files_only)
        (path.parent / "model.safetensors").touch()
        return str(path.parent)

    def file(name, file, *, local_files_only):
        return str(get(name, place(name) / file, local_files_only))

    def cached(name, file):
        path = place(name) / file
        return str(path) if path.exists() else None

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(transformers_depth, "snapshot_download", snapshot)
    monkeypatch.setattr(video_depth_checkpoint, "hf_hub_download", file)
    monkeypatch.setattr(video_depth_checkpoint, "try_to_load_from_cache", cached)
    return fetched


@pytest.fixture
def picture(tmp_path):
    import cv2
    import numpy as np

    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.full((32, 48, 3), 90, np.uint8))
    return path


@pytest.fixture
def terminal(monkeypatch, capsys):
    monkeypatch.setattr("dreamstereo_core.cli.download._at_terminal", lambda: True)
    return capsys


def test_download_fetches_once_and_auto_takes_the_best(hub, capsys):
    assert best_there() == "embedded" and not hub
    assert main(["download", "depth"]) == 0
    assert Path(capsys.readouterr().out.strip()).is_dir()
    assert best_there() == DEFAULT_MODEL
    assert main(["download", "depth"]) == 0
    assert main(["download", "video-depth"]) == 0
    assert best_there() == VIDEO_MODEL
    assert hub == [DEFAULT_MODEL, "depth-anything/Video-Depth-Anything-Small"]


@pytest.mark.parametrize("name", MODELS)
def test_without_a_connection_one_line_says_so(name, monkeypatch, capsys):
    def offline(*names, **options):
        raise LocalEntryNotFoundError("no connection\nat all")

    monkeypatch.setattr(transformers_depth, "snapshot_download", offline)
    monkeypatch.setattr(video_depth_checkpoint, "hf_hub_download", offline)
    assert main(["download", name]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "could not be downloaded (no connection) to" in line


def test_another_name_is_wrong_use(capsys):
    assert main(["download", "everything"]) == 2
    assert "'depth', 'video-depth'" in capsys.readouterr().err


def test_a_terminal_is_told_of_a_better_depth(hub, terminal, picture):
    assert main(["convert", str(picture), "--layout", "depth"]) == 0
    line = terminal.readouterr().err
    assert line.count("\n") == 1
    assert "dreamstereo download depth (100 MB, once)" in line and not hub


@pytest.mark.parametrize("more", [["--quiet"], ["--depth", "embedded"]])
def test_nothing_is_said_to_who_wants_no_more(hub, terminal, picture, more):
    assert main(["convert", str(picture), "--layout", "depth", *more]) == 0
    assert "download" not in terminal.readouterr().err


class TestSilence:
    """Where the line would be noise."""

    @pytest.fixture
    def said(self, terminal):
        from argparse import Namespace

        def call():
            tell_of_better_depth(Namespace(depth="auto", allow_download=False, quiet=False))
            return terminal.readouterr().err

        return call

    def test_a_better_one_is_there(self, hub, said):
        assert said()
        main(["download", "depth"])
        assert said().count("dreamstereo") == 0

    def test_no_terminal(self, hub, said, monkeypatch):
        monkeypatch.setattr("dreamstereo_core.cli.download._at_terminal", lambda: False)
        assert said() == ""

    def test_the_hub_is_switched_off(self, hub, said, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert said() == ""
