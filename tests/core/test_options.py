"""Options by name, the errors' one family, the version that is stated once."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

import dreamstereo_core
from dreamstereo_core import (
    CheckpointError,
    ConvertOptions,
    DecodeOptions,
    DepthError,
    DreamStereoError,
    EncodeOptions,
    VideoError,
)
from dreamstereo_core.cli.command import _parse
from dreamstereo_core.cli.outcome import ERRORS
from dreamstereo_core.options import pick_options
from dreamstereo_core.version import read_version

ROOT = Path(__file__).parents[2]
KINDS = (ConvertOptions, EncodeOptions, DecodeOptions)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_given_is_the_default(kind):
    assert pick_options(kind, {"of no field": 1}) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_all_fields_arrive(kind):
    assert pick_options(kind, {**vars(kind()), "of no field": 1}) == kind()


def test_what_is_given_arrives_and_is_checked():
    given = {"max_disparity": 5, "layout": "half_tb", "source_eye": "left"}
    assert pick_options(ConvertOptions, given) == ConvertOptions(max_disparity=5)
    assert pick_options(EncodeOptions, given) == EncodeOptions(layout="half_tb")
    assert pick_options(DecodeOptions, given) == DecodeOptions(source_eye="left")
    with pytest.raises(ValueError, match="layout: expected one of full_sbs"):
        pick_options(EncodeOptions, {"layout": "cube"})


@pytest.mark.parametrize(("command", "kinds"), [("convert", KINDS), ("preview", KINDS[::2])])
def test_the_command_has_the_defaults_of_the_options(command, kinds):
    given = vars(_parse([command, "film.mp4"]))
    for kind in kinds:
        assert pick_options(kind, given) == kind()
        assert set(vars(kind())) <= set(given)


@pytest.mark.parametrize("name", ["--num-steps", "--steps"])
def test_an_argument_has_the_name_of_its_field(name):
    given = vars(_parse(["convert", "film.mp4", name, "7", "--keep-bars"]))
    assert pick_options(ConvertOptions, given) == ConvertOptions(num_steps=7, bars=False)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [(VideoError, ValueError), (CheckpointError, ValueError), (DepthError, RuntimeError)],
)
def test_the_errors_are_one_family(kind, builtin):
    assert issubclass(kind, DreamStereoError)
    assert issubclass(kind, builtin)
    assert issubclass(kind, ERRORS)


def test_the_errors_stay_where_they_were():
    from dreamstereo_core.depth.estimator import DepthError as depth
    from dreamstereo_core.models.files.checkpoint_file import CheckpointError as checkpoint
    from dreamstereo_core.video_io.source import VideoError as video

    assert (video, depth, checkpoint) == (VideoError, DepthError, CheckpointError)


def test_all_public_names_are_there():
    names = dreamstereo_core.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(dreamstereo_core, name) for name in names)


class TestVersion:
    def test_the_projects_own(self):
        stated = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
        assert stated
        assert dreamstereo_core.__version__ == stated[1]

    def test_an_installed_one_has_its_metadata(self, tmp_path):
        assert read_version(tmp_path / "pyproject.toml") == version("dreamstereo")

    def test_another_project_beside_it_says_nothing(self, tmp_path):
        other = tmp_path / "pyproject.toml"
        other.write_text('[project]\nname = "other"\nversion = "9.9"\n', "utf-8")
        assert read_version(other) == version("dreamstereo")

    def test_a_copy_that_nobody_installed(self, tmp_path, monkeypatch):
        monkeypatch.setattr("dreamstereo_core.version.NAME", "dreamstereo-that-nobody-installed")
        assert read_version(tmp_path / "pyproject.toml") == "unknown"


@pytest.mark.parametrize(
    "written, name",
    [("sbs", "full_sbs"), ("HTB", "half_tb"), ("half-sbs", "half_sbs"), ("anaglyph", "anaglyph")],
)
def test_a_layout_has_short_names(written, name):
    assert _parse(["convert", "film.mp4", "--layout", written]).layout == name
