"""The command: exit codes, one-line errors, what it writes."""

import pytest
import torch

from dreamstereo_core import DepthError, VideoError, probe
from dreamstereo_core.cli import arguments as cli_arguments
from dreamstereo_core.cli import convert, main, preview
from dreamstereo_core.cli import info as info_command
from dreamstereo_core.models.fp8 import FP8

from ...models.fakes import SMALL_VAE, TINY


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def image(tmp_path):
    import cv2
    import numpy as np

    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (96, 64), interpolation=cv2.INTER_CUBIC))
    return path


def test_convert_writes_beside_the_input_and_names_the_file(run, image):
    code, out, _ = run("convert", image, "--layout", "half_sbs")
    target = image.with_name("photo_3D_LR_H-SBS.png")
    assert (code, out.strip()) == (0, str(target))
    assert probe(target).width == 96


def test_options_reach_the_conversion(run, image, tmp_path):
    target = tmp_path / "out.png"
    arguments = [
        "--max-disparity",
        "5",
        "--convergence",
        "0.3",
        "--eye",
        "left",
        "--depth",
        "embedded",
        "--shots",
        "histogram",
        "--keep-bars",
    ]
    code, *_ = run("convert", image, target, "--layout", "anaglyph", *arguments, "--quiet")
    assert code == 0
    assert target.exists()


@pytest.mark.parametrize("command", ["convert", "preview"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("auto", 2.0, 3.0, False)),
        (["--convergence", "median", "--max-front", "none"], ("median", None, 3.0, False)),
        (["--convergence", "1", "--max-behind", "0.5"], (1.0, 2.0, 0.5, False)),
        (["--floating-window"], ("auto", 2.0, 3.0, True)),
    ],
)
def test_comfort_reaches_the_conversion(run, image, monkeypatch, command, arguments, expected):
    asked = []

    def remember(*paths, options, **keywords):
        asked.append(options)
        raise VideoError("enough")

    monkeypatch.setattr(convert, "convert_file", remember)
    monkeypatch.setattr(preview, "preview_sheet", remember)
    run(command, image, *arguments, "--depth", "embedded")
    got = asked[0]
    assert (got.convergence, got.max_front, got.max_behind, got.floating_window) == expected


def test_preview_writes_a_sheet(run, image):
    code, out, _ = run("preview", image)
    target = image.with_name("photo_preview.png")
    assert (code, out.strip()) == (0, str(target))
    info = probe(target)
    assert (info.width, info.height) == (480, 3 * 320)


def test_info_names_versions_and_models(run):
    code, out, _ = run("info")
    assert code == 0
    for word in ("torch", "devices", "mini", "classic", "embedded", "Depth-Anything-V2-Small"):
        assert word in out


def test_memory_8_bits_and_size_reach_the_inpainter(run, image, monkeypatch):
    asked = []

    def remember(*given, **keywords):
        asked.append(keywords)
        raise VideoError("enough")

    monkeypatch.setattr(cli_arguments, "load_inpainter", remember)
    run("convert", image, "--depth", "cues", "--memory", "7.5", "--fp8", "--fill-size", "1280x768")
    run("convert", image, "--depth", "cues")
    assert [keywords["memory"] for keywords in asked] == [7.5, None]
    assert [keywords["fill_size"] for keywords in asked] == [(768, 1280), None]
    assert [keywords["operations"] for keywords in asked] == [FP8, torch.nn]


def test_a_plan_says_what_fits(run, monkeypatch):
    monkeypatch.setitem(info_command.TRANSFORMERS, info_command.DREAMSTEREO, TINY)
    monkeypatch.setattr(info_command, "PRESETS", {"small": SMALL_VAE})
    code, out, _ = run("info", "--plan", "128x64")
    rows = [line.split() for line in out.splitlines()[3:]]
    assert (code, len(rows)) == (0, 9)
    assert [rows[0][:4], rows[-1][:4]] == [
        ["small", "21", "whole", "no"],
        ["small", "6", "256", "yes"],
    ]
    code, out, _ = run("info", "--plan", "128x64", "--memory", "1")
    assert (code, out.splitlines()[3].split()[:4]) == (0, ["small", "21", "whole", "no"])
    code, out, _ = run("info", "--plan", "128x64", "--memory", "0.001")
    assert code == 1 and "nothing fits into 0.001" in out
    code, out, _ = run("info", "--plan", "1280x640", "--fill-size", "128x128")
    assert (code, out.split(",")[0]) == (0, "1280x640 filled at 128x64")
    plan = out.splitlines()[3].split()
    assert float(plan[-2]) < 0.2 < 2 < float(plan[-1])  # in main memory the frames are whole


@pytest.mark.parametrize("size", ["1280", "axb", "0x9", "1280x768x2"])
def test_a_size_that_is_none(run, size):
    code, _, err = run("info", "--plan", size)
    assert code == 2 and f"expected WxH in pixels, such as 1280x720, got {size!r}" in err


def test_a_fill_of_any_size_takes_no_size(run, image):
    code, _, err = run("convert", image, "--depth", "cues", "--fill-size", "64x32")
    assert code == 1 and len(err.splitlines()) == 1
    assert "fill_size: expected a diffusion transformer with it, got mini" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "--plan", "wide"], 2, "1280x720"),
        (["info", "--memory", "8"], 2, "--plan"),
        (["convert"], 2, "INPUT"),
        (["paint", "x"], 2, "paint"),
        (["convert", "{image}", "--layout", "cube"], 2, "cube"),
        (["convert", "{image}", "--max-disparity", "500"], 2, "max_disparity: expected"),
        (["convert", "{image}", "--convergence", "near"], 2, "--convergence: expected auto, "),
        (["convert", "{image}", "--convergence", "1.5"], 2, "convergence: expected a value"),
        (["convert", "{image}", "--max-front", "-1"], 2, "max_front: expected a value in"),
        (["convert", "{image}", "--max-behind", "much"], 2, "--max-behind: expected none or"),
        (["convert", "{image}", "--frames", "5:2"], 2, "--frames: expected A:B"),
        (["convert", "{image}", "--frames", "5"], 2, "--frames: expected A:B"),
        (["convert", "{image}", "--frames=-3:"], 2, "--frames: expected A:B"),
        (["convert", "{image}", "--piece", "-2"], 2, "--piece: expected seconds, 0 or more"),
        (["convert", "{image}", "--piece", "inf"], 2, "--piece: expected seconds, 0 or more"),
        (["convert", "{image}", "--workers", "0"], 2, "--workers: expected a whole number"),
        (["convert", "{image}", "--field-of-view", "80"], 2, "field_of_view: expected the layout"),
        (["convert", "{image}", "--lora", "a.safetensors"], 2, "lora: expected a CHECKPOINT"),
        (["convert", "{image}", "--fill", "classic", "--vae", "wan"], 2, "vae: expected a CHECKP"),
        (["convert", "{image}", "--device", "banana"], 1, "device: expected auto"),
        (["convert", "{image}", "--plan", "none.json"], 1, "none.json: cannot be read as a plan"),
        (["convert", "{image}", "--crf", "99"], 2, "crf: expected"),
        (["convert", "nowhere.mp4"], 1, "nowhere.mp4"),
        (["convert", "{image}", "{image}"], 1, "exists already"),
        (["convert", "{image}", "/nowhere/out.png"], 1, "/nowhere/out.png"),
        (["convert", "{image}", "out.avi"], 1, "out.avi: expected a name ending in"),
        (["convert", "{image}", "--depth", "no-such-file"], 1, "no-such-file"),
        (["convert", "{image}", "--depth", "nobody/no-model"], 1, "nobody/no-model"),
    ],
)
def test_errors_are_one_readable_line(run, image, arguments, code, message):
    got, out, error = run(*(a.format(image=image) for a in arguments))
    assert (got, out) == (code, "")
    assert message in error
    assert error.startswith("dreamstereo: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_a_file_without_suffix_is_no_folder(run, image, tmp_path):
    (tmp_path / "notes").write_text("mine")
    code, _, error = run("convert", image, "-o", tmp_path / "notes", "--overwrite")
    assert code == 1 and error.count("\n") == 1
    assert f"{tmp_path / 'notes'}: expected a folder or a name with a suffix" in error
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_a_file_that_is_no_video(run, tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    code, _, error = run("convert", path)
    assert code == 1
    assert error.count("\n") == 1
    assert "broken.mp4" in error
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_exits_with_130(run, image, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "convert_file", interrupted)
    code, _, error = run("convert", image)
    assert code == 130
    assert error == "dreamstereo: interrupted; nothing was written\n"


def test_a_supplied_depth_skips_the_same_frames(run, image, monkeypatch):
    asked = {}

    def remember(spec, **keywords):
        asked.update(keywords, spec=spec)
        raise DepthError("enough")

    monkeypatch.setattr(cli_arguments, "load_depth", remember)
    arguments = ["--frames", "7:9", "--depth", "depth.mkv", "--invert-depth"]
    assert run("convert", image, *arguments)[0] == 1
    assert (asked["spec"], asked["start"], asked["invert"]) == ("depth.mkv", 7, True)
