"""The pieces of stopped conversions wait in the output folder, and not for ever."""

import importlib
import os

import pytest


@pytest.fixture
def unfinished(node_module, tmp_path, monkeypatch):
    paths = importlib.import_module("folder_paths")
    monkeypatch.setattr(paths, "output_directory", str(tmp_path / "output"))
    (tmp_path / "film.mp4").write_bytes(b"a film")
    return node_module("unfinished")


def folder(unfinished, tmp_path, fill=None, **how):
    fill = fill or {"name": "mini"}
    return unfinished.unfinished_folder(str(tmp_path / "film.mp4"), {"name": "mini"}, fill, how)


def test_the_same_film_and_options_find_their_folder_again(unfinished, tmp_path):
    first = folder(unfinished, tmp_path, crf=18)
    assert folder(unfinished, tmp_path, crf=18) == first
    assert folder(unfinished, tmp_path, crf=19) != first
    assert folder(unfinished, tmp_path, {"name": "mini", "narrow": 5}, crf=18) != first
    os.utime(tmp_path / "film.mp4", (1, 1))
    assert folder(unfinished, tmp_path, crf=18) != first
    assert first.parent == tmp_path / "output" / "dreamstereo_unfinished"


def test_few_are_kept(unfinished, tmp_path):
    made = []
    for number in range(6):
        made.append(folder(unfinished, tmp_path, crf=number))
        made[-1].mkdir()
        os.utime(made[-1], (number, number))
    folder(unfinished, tmp_path, crf=99)
    assert [path.exists() for path in made] == [False, False, False, True, True, True]
