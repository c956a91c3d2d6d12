"""Names on the command line: which are inputs, what is replaced, what is left out."""

import pytest

from dreamstereo_core import VideoError
from dreamstereo_core.cli import arguments as cli_arguments
from dreamstereo_core.cli import convert as cli
from dreamstereo_core.cli import main
from dreamstereo_core.cli.jobs import make_plan, split_names
from dreamstereo_core.cli.outcome import WrongUse
from dreamstereo_core.video_io import is_own, read_frames

from ..pictures import ramp, save
from ..sound import film

CHEAP = ["--fill", "classic", "--depth", "cues", "--quiet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two films that nobody here made, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    film("a.mp4", [], seconds=1)
    film("b.mp4", [], seconds=1)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What the command would convert."""
    calls = []

    def remember(source, target, **options):
        calls.append((str(source), None if target is None else str(target)))
        if "broken" in str(source):
            raise VideoError(f"{source}: is broken")
        return (source,)

    monkeypatch.setattr(cli, "convert_file", remember)
    return calls


def plan(*names, output=None, layout="full_sbs", recursive=False, overwrite=False):
    return make_plan(names, output, layout, recursive=recursive, overwrite=overwrite)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("options", [["--overwrite"], []])
def test_a_star_over_two_films_destroys_none(folder, asked, options):
    before = (folder / "b.mp4").read_bytes()
    assert main(["convert", "a.mp4", "b.mp4", *options, *CHEAP]) == 0
    assert asked == [("a.mp4", None), ("b.mp4", None)]
    assert (folder / "b.mp4").read_bytes() == before


@pytest.mark.parametrize("extra", [["a.mp4"], ["-o", "a.mp4"], ["link.mp4"], ["-o", "hard.mp4"]])
def test_a_film_is_never_its_own_target(folder, capsys, extra):
    (folder / "link.mp4").symlink_to("a.mp4")
    (folder / "hard.mp4").hardlink_to("a.mp4")
    before = (folder / "a.mp4").read_bytes()
    assert main(["convert", "a.mp4", *extra, "--overwrite", *CHEAP]) == 1
    assert "is the file that is read" in capsys.readouterr().err
    assert (folder / "a.mp4").read_bytes() == before


def test_a_depth_is_never_the_target(folder, capsys):
    before = (folder / "b.mp4").read_bytes()
    arguments = ["-o", "b.mp4", "--depth", "b.mp4", "--fill", "classic", "--overwrite"]
    assert main(["convert", "a.mp4", *arguments]) == 1
    assert "is the file that is read" in capsys.readouterr().err
    assert (folder / "b.mp4").read_bytes() == before


def test_what_was_made_here_is_replaced_when_asked(folder, capsys):
    few = ["--frames", "0:3", *CHEAP]
    assert main(["convert", "a.mp4", "out.mp4", *few]) == 0
    assert is_own(folder / "out.mp4")
    assert main(["convert", "a.mp4", "out.mp4", *few]) == 1
    assert "out.mp4: exists already" in capsys.readouterr().err
    assert main(["convert", "a.mp4", "--layout", "half_sbs", "out.mp4", "--overwrite", *few]) == 0
    assert next(read_frames("out.mp4")).pixels.shape[2] == 64
    assert names(folder) == ["a.mp4", "b.mp4", "out.mp4"]


def test_a_film_is_replaced_only_by_its_option(folder):
    assert main(["convert", "a.mp4", "-o", "b.mp4", "--frames", "0:3", *CHEAP]) == 1
    assert main(["convert", "a.mp4", "-o", "b.mp4", "--frames", "0:3", "--overwrite", *CHEAP]) == 0
    assert next(read_frames("b.mp4")).pixels.shape[2] == 128


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".mkv", ".mov", ".mp4"])
def test_the_mark(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", ramp(1))
    assert is_own(path)
    assert len(list(read_frames(path))) == 1
    assert not is_own(film(tmp_path / "b.mp4", []))


def test_what_is_no_film_may_be_replaced(folder):
    (folder / "old.mkv").write_bytes(b"the old target " * 100)
    inputs, output = split_names(["a.mp4", "old.mkv"], None)
    assert ([str(p) for p in inputs], str(output)) == (["a.mp4"], "old.mkv")


@pytest.mark.parametrize("place", range(4))
def test_options_stand_anywhere(folder, asked, place):
    arguments = ["a.mp4", "out.mp4"]
    arguments[min(place, 2) : min(place, 2)] = ["--layout", "half_sbs"]
    assert main(["convert", *arguments, *CHEAP]) == 0
    assert asked == [("a.mp4", "out.mp4")]


def test_several_inputs_go_to_a_folder(folder, asked, capsys):
    assert main(["convert", "a.mp4", "b.mp4", "new", *CHEAP]) == 0
    assert asked == [("a.mp4", "new"), ("b.mp4", "new")]
    film("c.mp4", [], seconds=1)
    assert main(["convert", "a.mp4", "b.mp4", "d.mp4", *CHEAP]) == 2
    assert "several inputs need a folder, got d.mp4" in capsys.readouterr().err
    assert main(["convert", "a.mp4", "b.mp4", "c.mp4", *CHEAP]) == 0
    assert asked[2:] == [("a.mp4", None), ("b.mp4", None), ("c.mp4", None)]


def test_one_that_fails_does_not_stop_the_others(folder, asked, capsys):
    film("broken.mp4", [], seconds=1)
    assert main(["convert", "a.mp4", "broken.mp4", "b.mp4", *CHEAP]) == 1
    assert [source for source, _ in asked] == ["a.mp4", "broken.mp4", "b.mp4"]
    assert capsys.readouterr().err == "dreamstereo: broken.mp4: is broken\n"
    (folder / "bad.mp4").write_bytes(b"no film")
    assert main(["convert", "a.mp4", "bad.mp4", "b.mp4", *CHEAP]) == 1


def test_a_folder_of_films_in_and_out(folder):
    deep = folder / "films" / "deep"
    deep.mkdir(parents=True)
    for name in ("films/x.mp4", "films/deep/y.mkv", "films/._x.mp4"):
        film(name, [], seconds=1)
    (folder / "films" / "notes.txt").touch()
    flat = plan("films", "out")
    assert [(str(j.source), str(j.target)) for j in flat.jobs] == [("films/x.mp4", "out")]
    whole = plan("films", output="out", recursive=True)
    assert [(str(j.source), str(j.target)) for j in whole.jobs] == [
        ("films/x.mp4", "out"),
        ("films/deep/y.mkv", "out/deep"),
    ]
    assert main(["convert", "films", "out", "--recursive", "--frames", "0:2", *CHEAP]) == 0
    assert names(folder / "out") == ["deep", "x_3D_LRF_FSBS_SBS.mp4"]
    again = plan("films", "out", recursive=True)
    assert not again.jobs
    assert list(again.skipped.values()) == [
        "out/x_3D_LRF_FSBS_SBS.mp4 exists already",
        "out/deep/y_3D_LRF_FSBS_SBS.mp4 exists already",
    ]
    assert main(["convert", "films", "out", "--recursive", *CHEAP]) == 0
    assert len(plan("films", "out", recursive=True, overwrite=True).jobs) == 2


def test_results_beside_their_films_are_no_inputs(folder):
    assert main(["convert", ".", "--frames", "0:2", *CHEAP]) == 0
    assert names(folder) == ["a.mp4", "a_3D_LRF_FSBS_SBS.mp4", "b.mp4", "b_3D_LRF_FSBS_SBS.mp4"]
    again = plan(".", overwrite=True)
    assert [j.source.name for j in again.jobs] == ["a.mp4", "b.mp4"]


def test_two_results_of_one_name_are_refused(folder):
    film("a.mkv", [], seconds=1)
    with pytest.raises(WrongUse, match=r"would both become a_3D_LRF_FSBS_SBS.mp4"):
        plan("a.mp4", "a.mkv", "b.mp4")


def test_a_depth_file_serves_one_film(folder, capsys):
    arguments = ["--depth", "a.mp4", "--fill", "classic"]
    assert main(["convert", "a.mp4", "b.mp4", "new", *arguments]) == 2
    assert "belongs to one film" in capsys.readouterr().err


def test_numbered_images_and_folders_of_them(folder):
    few = ["--frames", "0:3", *CHEAP]
    assert main(["convert", "a.mp4", "seq/f_%04d.png", *few]) == 0
    assert names(folder / "seq") == ["f_0001.png", "f_0002.png", "f_0003.png"]
    assert main(["convert", "a.mp4", "seq/f_%04d.png", *few]) == 1
    assert main(["convert", "a.mp4", "seq/f_%04d.png", "--overwrite", *few]) == 0
    assert main(["convert", "seq", "more", *few]) == 0
    assert names(folder / "more") == [f"frame_0000{i}.png" for i in (1, 2, 3)]
    assert main(["convert", "seq", "seq", "--overwrite", *few]) == 1
    assert main(["convert", "a.mp4", "more", *few]) == 0
    assert (folder / "more" / "a_3D_LRF_FSBS_SBS.mp4").exists()
    assert main(["convert", "a.mp4", "--layout", "separate", "s/%d.jpg", *few]) == 0
    assert names(folder / "s") == [f"{i}_{eye}.jpg" for i in (1, 2, 3) for eye in ("left", "right")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4"], "nowhere.mp4: no such file"),
        (["a.mp4", "out.avi"], "out.avi: expected a name ending in"),
        (["a.mp4", "absent/out.mp4"], "absent/out.mp4: cannot be created"),
        (["a.mp4", "x" * 300 + ".mp4"], "cannot be created"),
        (["x" * 300 + ".mp4"], "no such file"),
    ],
)
def test_refusals_come_before_work(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(cli_arguments, "load_depth", lambda *_, **__: pytest.fail("work"))
    assert main(["convert", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_name_of_a_long_name_fits(folder):
    name = "映" * 83 + ".mp4"
    (folder / "a.mp4").rename(name)
    assert main(["convert", name, "--frames", "0:2", *CHEAP]) == 0
    (made,) = [p for p in folder.iterdir() if p.name.endswith("映_3D_LRF_FSBS_SBS.mp4")]
    assert len(made.name.encode()) <= 255
