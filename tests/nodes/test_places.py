"""A workflow of a stranger reads nothing outside ComfyUI's folders."""

import importlib
import os

import pytest


@pytest.fixture
def base(tmp_path, monkeypatch):
    """ComfyUI's folders, and a file beside them."""
    paths = importlib.import_module("folder_paths")
    for name in ("input", "output", "temp", "models"):
        (tmp_path / name).mkdir()
    for name in ("input", "output", "temp"):
        monkeypatch.setattr(paths, f"{name}_directory", str(tmp_path / name))
    monkeypatch.setattr(paths, "models_dir", str(tmp_path / "models"))
    more = ([str(tmp_path / "elsewhere")], {".safetensors"})
    listed = {"vae": more, "custom_nodes": ([str(tmp_path / "custom_nodes")], set())}
    monkeypatch.setattr(paths, "folder_names_and_paths", listed)
    (tmp_path / "secret.mp4").touch()
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "code.mp4").touch()
    return tmp_path


@pytest.fixture
def places(node_module):
    return node_module("places")


def test_files_of_the_folders(base, places):
    (base / "input" / "film.mp4").touch()
    assert places.media_path("film.mp4") == str(base / "input" / "film.mp4")
    assert places.media_path("film.mp4 [output]") == str(base / "output" / "film.mp4")
    assert places.media_path("a/../film.mp4") == str(base / "input" / "film.mp4")


def test_lines_and_patterns_name_files_of_the_folders(base, places):
    made = [base / "output" / name for name in ("b.mp4", "a.mp4")] + [base / "input" / "c.mp4"]
    for path in made:
        path.touch()
    assert places.media_files("*.mp4\n\n c.mp4 [input]") == [str(made[n]) for n in (1, 0, 2)]
    for wrong in ("none*.mp4", "../secret.mp4", "../*.mp4", "{base}/*.mp4"):
        with pytest.raises(ValueError, match="parts: expected files in ComfyUI's output"):
            places.media_files(wrong.format(base=base))


OUTSIDE = ["../secret.mp4", "a/../../secret.mp4", "{base}/secret.mp4", "../inputs/x.mp4", "", ".."]


@pytest.mark.parametrize("name", [*OUTSIDE, "../secret.mp4 [output]"])
def test_files_outside_are_refused(base, places, node_module, name):
    name = name.format(base=base)
    with pytest.raises(ValueError, match="file: expected a file in ComfyUI's input"):
        places.media_path(name)
    node = node_module("load_video").LoadVideoOrExample
    assert "expected a file" in node.validate_inputs(name)
    with pytest.raises(ValueError):
        node.execute(name)


def test_depth_models_of_comfyuis_folder(base, places, node_module):
    load = node_module("load_models")
    assert load.depth_files() == []
    folder = base / "models" / "geometry_estimation"
    folder.mkdir()
    for name in ("vda.pth", "vda.safetensors", "notes.txt"):
        (folder / name).touch()
    assert load.depth_files() == ["vda.pth", "vda.safetensors"]
    inputs = {i.id: i for i in load.LoadDepth.define_schema().inputs}
    assert inputs["model"].options[-2:] == ["vda.pth", "vda.safetensors"]
    assert places.depth_spec("vda.pth") == str(folder / "vda.pth")


class TestExample:
    def test_it_is_put_there_once(self, base, node_module, caplog):
        load = node_module("load_video")
        load.put_example()
        copy = base / "input" / "dreamstereo_example.mp4"
        assert copy.read_bytes() == load.EXAMPLE_PATH.read_bytes()
        copy.write_bytes(b"mine")
        load.put_example()
        assert copy.read_bytes() == b"mine"
        assert load.video_path("dreamstereo_example.mp4") == str(copy)
        assert caplog.records == []

    def test_a_folder_that_cannot_be_written(self, base, node_module, monkeypatch, caplog):
        load = node_module("load_video")

        def refuse(*args):
            raise PermissionError("read only")

        monkeypatch.setattr(load.shutil, "copyfile", refuse)
        load.put_example()
        assert "could not be put" in caplog.text
        for name in ("dreamstereo_example.mp4", "DreamStereo example"):
            assert load.video_path(name) == str(load.EXAMPLE_PATH)
            assert load.LoadVideoOrExample.validate_inputs(name) is True


def test_depths_by_name_hub_id_or_place(base, places):
    for spec in ("auto", "embedded", "video-depth-anything", "depth-anything/Depth-Large-hf"):
        assert places.depth_spec(f" {spec} ") == spec
    for folder, name in (("input", "depth.mp4"), ("output", "d.png"), ("models", "m.pth")):
        (base / folder / name).touch()
        assert places.depth_spec(name) == places.depth_spec(str(base / folder / name))
        assert places.depth_spec(name) == str(base / folder / name)
    (base / "input" / "frames").mkdir()
    assert places.depth_spec("frames/f_%05d.png") == str(base / "input" / "frames" / "f_%05d.png")
    (base / "elsewhere").mkdir()
    (base / "elsewhere" / "more.pth").touch()
    assert places.depth_spec(str(base / "elsewhere" / "more.pth")).endswith("more.pth")


@pytest.mark.parametrize(
    "spec", [*OUTSIDE, "{base}/custom_nodes/code.mp4", "/etc/passwd", "nothing.mp4", "a\0b"]
)
def test_depths_outside_are_refused(base, places, spec):
    with pytest.raises(ValueError, match="depth: expected"):
        places.depth_spec(spec.format(base=base))


def test_what_lies_where_comfyui_was_started_is_no_hub_id(base, places, monkeypatch):
    (base / "own").mkdir()
    (base / "own" / "film.mp4").touch()
    monkeypatch.chdir(base)
    with pytest.raises(ValueError):
        places.depth_spec("own/film.mp4")


def test_nodes_that_take_a_name_from_a_wire(base, node_module):
    load = node_module("load_models")
    with pytest.raises(ValueError, match="depth: expected"):
        load.depth_on_device(str(base / "secret.mp4"))
    with pytest.raises(ValueError, match="inpainter: expected one of"):
        load.inpainter_on_device(str(base / "secret.mp4"))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_links_of_the_user_are_followed(base, places):
    (base / "disk").mkdir()
    (base / "disk" / "film.mp4").touch()
    (base / "input" / "link").symlink_to(base / "disk", target_is_directory=True)
    assert places.media_path("link/film.mp4") == str(base / "input" / "link" / "film.mp4")
