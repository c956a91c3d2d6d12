"""Folders, patterns and lists: films and photographs, what is done already, what is broken."""

import os
from pathlib import Path

import pytest
from PIL import Image

from dreamstereo_core import VideoError
from dreamstereo_core.cli import convert as cli
from dreamstereo_core.cli import main
from dreamstereo_core.cli.jobs import make_plan
from dreamstereo_core.cli.outcome import WrongUse, is_full

from ..sound import film

LOUD = ["--fill", "classic", "--depth", "cues"]
CHEAP = [*LOUD, "--quiet"]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A film, a photograph beside it, a folder of photographs, and one of a film's frames."""
    monkeypatch.chdir(tmp_path)
    for name in ("lib/photos.2024", "lib/frames"):
        (tmp_path / name).mkdir(parents=True)
    film("lib/a.mp4", [], seconds=1)
    picture("lib/poster.png", (48, 32))
    picture("lib/photos.2024/p1.jpg", (48, 32))
    picture("lib/photos.2024/p2.jpg", (32, 48))
    for number in range(3):
        picture(f"lib/frames/f_{number}.png", (48, 32))
    return tmp_path


def picture(path, size):
    Image.linear_gradient("L").convert("RGB").resize(size).save(path)


def plan(*names, output=None, layout="full_sbs", recursive=True, overwrite=False, **options):
    return make_plan(names, output, layout, recursive=recursive, overwrite=overwrite, **options)


def sources(plan):
    return [job.source.as_posix() for job in plan.jobs]


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


EACH = [
    "lib/a.mp4",
    "lib/poster.png",
    "lib/frames",
    "lib/photos.2024/p1.jpg",
    "lib/photos.2024/p2.jpg",
]
RESULTS = [
    "a_3D_LRF_FSBS_SBS.mp4",
    "frames/frame_00001.png",
    "frames/frame_00002.png",
    "frames/frame_00003.png",
    "photos.2024/p1_3D_LRF_FSBS_SBS.jpg",
    "photos.2024/p2_3D_LRF_FSBS_SBS.jpg",
    "poster_3D_LRF_FSBS_SBS.png",
]


def test_a_library_goes_to_the_same_places_and_only_once(library, capsys):
    assert sources(plan("lib")) == EACH
    assert sources(plan("lib", recursive=False)) == EACH[:2]
    few = ["--recursive", "--frames", "0:3"]
    assert main(["convert", "lib", "out", *few, *LOUD]) == 0
    assert files(library / "out") == RESULTS
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 5
    assert told.err.splitlines()[-1] == "5 done"
    os.remove("out/photos.2024/p1_3D_LRF_FSBS_SBS.jpg")
    assert main(["convert", "lib", "out", *few, *LOUD]) == 0
    assert files(library / "out") == RESULTS
    told = capsys.readouterr()
    assert told.out.split() == [str(Path("out/photos.2024/p1_3D_LRF_FSBS_SBS.jpg"))]
    assert told.err.splitlines()[-1] == "1 done, 4 left out"
    assert "lib/frames" in told.err


def test_results_within_the_library_are_no_inputs(library):
    assert main(["convert", "lib", "lib/3d", "--recursive", "--frames", "0:3", *CHEAP]) == 0
    again = plan("lib", "lib/3d", overwrite=True)
    assert sources(again) == EACH
    assert set(again.skipped.values()) == {"made by DreamStereo"}


def test_results_beside_their_sources(library):
    assert main(["convert", "lib", "--recursive", "--frames", "0:3", *CHEAP]) == 0
    made = [name for name in files(library) if "LRF" in name]
    assert made == [
        "lib/a_3D_LRF_FSBS_SBS.mp4",
        "lib/frames_3D_LRF_FSBS_SBS.mp4",
        "lib/photos.2024_3D_LRF_FSBS_SBS/p1_3D_LRF_FSBS_SBS.jpg",
        "lib/photos.2024_3D_LRF_FSBS_SBS/p2_3D_LRF_FSBS_SBS.jpg",
        "lib/poster_3D_LRF_FSBS_SBS.png",
    ]
    assert not plan("lib").jobs


def test_broken_ones_are_named_and_passed_over(library, capsys):
    (library / "lib" / "bad.mp4").write_bytes(b"no film")
    (library / "lib" / "photos.2024" / "p0.jpg").write_bytes(b"\xff\xd8 no photograph")
    assert main(["convert", "lib", "out", "--recursive", "--frames", "0:3", *LOUD]) == 1
    assert files(library / "out") == RESULTS
    *_, one, other, sums = capsys.readouterr().err.splitlines()
    assert sums == "5 done, 2 failed"
    assert {line.split()[0] for line in (one, other)} == {"lib/bad.mp4", "lib/photos.2024/p0.jpg"}
    assert "cannot be read as video" in one + other


def test_photographs_for_two_eyes(library):
    arguments = ["--layout", "separate", "--recursive", "--frames", "0:1"]
    assert main(["convert", "lib/photos.2024", "out", *arguments, *CHEAP]) == 0
    assert files(library / "out") == ["p1_left.jpg", "p1_right.jpg"]
    assert not plan("lib/photos.2024", "out", layout="separate", frames=(0, 1)).jobs


def test_photographs_whose_results_would_have_one_name(library):
    picture("lib/photos.2024/p1.bmp", (40, 40))
    picture("lib/photos.2024/p1.png", (40, 40))
    targets = [str(job.target) for job in plan("lib/photos.2024", "out").jobs]
    assert len(set(targets)) == 4


def test_films_whose_results_would_have_one_name(library, capsys):
    film("lib/a.mkv", [], seconds=1)
    found = plan("lib")
    assert "lib/a.mp4" not in sources(found)
    (told,) = found.refused.values()
    assert "lib/a.mkv and lib/a.mp4 would both become" in told
    with pytest.raises(WrongUse, match="would both become"):
        plan("lib/a.mp4", "lib/a.mkv")


def test_patterns_and_lists(library):
    film("lib/b.mp4", [], seconds=1)
    film("lib/[c].mp4", [], seconds=1)
    assert sources(plan("lib/?.mp4", "out")) == ["lib/a.mp4", "lib/b.mp4"]
    assert sources(plan("lib/?.mp4", "lib/photos.2024/*.jpg")) == [
        *("lib/a.mp4", "lib/b.mp4"),
        *("lib/photos.2024/p1.jpg", "lib/photos.2024/p2.jpg"),
    ]
    assert sources(plan("lib/[c].mp4", "out")) == ["lib/[c].mp4"]  # a name that is there
    (library / "list.txt").write_text("# mine\nlib/b.mp4\n\n  lib/photos.2024 \nlib/b.mp4\n")
    assert sources(plan("@list.txt")) == ["lib/b.mp4", *EACH[-2:]]
    assert str(plan("@list.txt", "out").jobs[0].target) == "out"
    (library / "list.txt").write_text("# none\n")
    with pytest.raises(WrongUse, match="expected a name in each line"):
        plan("@list.txt", "out")


def test_a_pattern_that_nothing_matches(library, capsys):
    assert main(["convert", "lib/*.mov", "out", *CHEAP]) == 1
    assert "lib/*.mov: no such file" in capsys.readouterr().err


def test_a_link_back_and_unfinished_work_are_passed_over(library):
    (library / "lib" / "frames" / "loop").symlink_to(library / "lib")
    work = library / "lib" / "a_3D_LRF_FSBS_SBS.mp4.dreamstereo"
    work.mkdir()
    film(work / "x.mp4", [], seconds=1)
    assert sources(plan("lib")) == EACH


def test_a_folder_that_cannot_be_read_is_named(library, monkeypatch):
    listed = type(library).iterdir

    def refuse(path):
        if path.name == "frames":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(type(library), "iterdir", refuse)
    found = plan("lib")
    assert sources(found) == [name for name in EACH if "frames" not in name]
    assert list(found.refused.values()) == ["lib/frames: cannot be read (Permission denied)"]


def test_a_depth_for_each_photograph(library):
    (library / "depth").mkdir()
    for number in range(2):
        picture(f"depth/d{number}.png", (48, 32))
    arguments = ["--depth", "depth", "--fill", "classic", "--quiet"]
    assert main(["convert", "lib/photos.2024", "out", *arguments]) == 0
    assert main(["convert", "lib", "out", "--recursive", *arguments]) == 2


def test_a_full_disk_ends_the_run(library, monkeypatch, capsys):
    film("lib/b.mp4", [], seconds=1)

    def full(source, target, **options):
        raise VideoError(f"{source}: cannot be written") from OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "convert_file", full)
    assert main(["convert", "lib", "out", *LOUD]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "dreamstereo: no room is left, so the rest is not begun" in lines
    assert lines[-1] == "1 failed, 2 not begun"
    assert not is_full(VideoError("other"))


def test_of_many_only_those_that_failed_are_listed(library, monkeypatch, capsys):
    for number in range(60):
        picture(f"lib/photos.2024/q{number}.jpg", (8 + number, 8))

    def convert(source, target, **options):
        if source.name == "q7.jpg":
            raise VideoError(f"{source}: is broken")
        return (target,)

    monkeypatch.setattr(cli, "convert_file", convert)
    assert main(["convert", "lib/photos.2024", "out", *LOUD]) == 1
    named, row, sums = capsys.readouterr().err.splitlines()
    assert named == "dreamstereo: lib/photos.2024/q7.jpg: is broken"
    assert row.split() == ["lib/photos.2024/q7.jpg", "failed", "is", "broken"]
    assert sums == "61 done, 1 failed"
