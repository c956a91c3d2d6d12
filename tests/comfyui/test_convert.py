"""The streaming node: what it makes of a film, and of a user who changes his mind."""

import re

import av
import numpy as np
import pytest

from .media import describe, write_film


def prompt_for(file: str, **settings) -> dict:
    """LoadVideo -> ConvertVideo -> SaveVideo on a file of the input folder."""
    widgets = {
        "layout": "full_sbs",
        "max_disparity": 3.0,
        "convergence_mode": "auto",
        "convergence": 0.5,
        "eye": "right",
        "depth": "embedded",
        "fill": "classic",
        "feather": 4,
        "codec": "h264",
        "crf": 18,
    }
    convert = widgets | {"video": ["1", 0]} | settings
    save = {"video": ["2", 0], "filename_prefix": "video/out", "format": "auto", "codec": "auto"}
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": file}},
        "2": {"class_type": "DreamStereoConvertVideo", "inputs": convert},
        "3": {"class_type": "SaveVideo", "inputs": save},
    }


def saved(comfy, run) -> dict:
    run.check_success()
    return describe(comfy.output_path(run.outputs["3"]["images"][0]))


@pytest.fixture(scope="module")
def film(comfy):
    return write_film(comfy.base / "input" / "film.mp4").name


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        ("full_sbs", (192, 64)),
        ("half_sbs", (96, 64)),
        ("full_tb", (96, 128)),
        ("anaglyph", (96, 64)),
    ],
)
def test_layouts_keep_frames_and_sound(comfy, film, layout, size):
    made = saved(comfy, comfy.run(prompt_for(film, layout=layout)))
    assert made["size"] == size
    assert made["frames"] == 12
    assert made["rate"] == 12
    assert made["audio"] == ["aac"]


def test_a_cameras_pcm_sound_becomes_aac(comfy):
    camera = write_film(comfy.base / "input" / "camera.mov", sound="pcm_s16le")
    assert describe(camera)["audio"] == ["pcm_s16le"]
    run = comfy.run(prompt_for(camera.name))
    assert saved(comfy, run)["audio"] == ["aac"]
    path = comfy.output_path(run.outputs["3"]["images"][0])
    with av.open(str(path)) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert len(sound) / 48000 == pytest.approx(1, abs=0.03)
    assert np.abs(sound[4800:43200]).max() == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_save_video_keeps_the_codec(comfy, film, codec):
    assert saved(comfy, comfy.run(prompt_for(film, codec=codec, crf=30)))["codec"] == codec


def test_the_user_sees_progress_a_picture_and_the_time_left(comfy, film):
    run = comfy.run(prompt_for(film, crf=20))
    saved(comfy, run)
    values = [data["value"] for data in run.of("progress") if data["node"] == "2"]
    assert values == sorted(values)
    assert values[-1] == 12
    assert run.previews > 0
    assert re.fullmatch(r"frame 12/12, ETA 0:00", run.texts[-1])


def test_connected_models_are_used(comfy, film):
    prompt = prompt_for(film, depth_model=["4", 0], inpainter=["5", 0])
    settings = {"model": "embedded", "custom": "", "allow_download": False, "invert": False}
    prompt["4"] = {"class_type": "DreamStereoLoadDepth", "inputs": settings}
    prompt["5"] = {"class_type": "DreamStereoLoadInpainter", "inputs": {"inpainter": "classic"}}
    assert saved(comfy, comfy.run(prompt))["frames"] == 12


def test_a_video_made_of_images_keeps_its_sound(comfy, film):
    prompt = prompt_for(film, video=["5", 0])
    prompt["4"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}}
    parts = {"images": ["4", 0], "audio": ["4", 1], "fps": ["4", 2]}
    prompt["5"] = {"class_type": "CreateVideo", "inputs": parts}
    before = comfy.temp_files()
    made = saved(comfy, comfy.run(prompt))
    assert made["size"] == (192, 64)
    assert made["frames"] == 12
    assert made["audio"] == ["aac"]
    assert len(comfy.temp_files() - before) == 1, "only the result stays in temp"


def test_interrupt_leaves_no_file_and_the_next_run_works(comfy, film):
    long = write_film(comfy.base / "input" / "long.mp4", frames=2000, width=320, height=180)
    before = comfy.temp_files()
    progress_after_stop = []

    def stop_early(name, data):
        if name == "progress" and data["node"] == "2" and data["value"] > 0:
            progress_after_stop.append(data["value"])
            if len(progress_after_stop) == 1:
                comfy.post("/interrupt")

    run = comfy.run(prompt_for(long.name), on_event=stop_early)
    assert run.end == "execution_interrupted"
    assert run.of("execution_interrupted")[0]["node_id"] == "2"
    assert len(progress_after_stop) <= 3
    assert progress_after_stop[-1] < 2000
    assert comfy.temp_files() == before
    assert saved(comfy, comfy.run(prompt_for(film, feather=3)))["frames"] == 12


class TestBadInput:
    """One readable line on the node, nothing left behind."""

    def failure(self, comfy, prompt) -> str:
        before = comfy.temp_files()
        run = comfy.run(prompt)
        assert run.end == "execution_error"
        assert run.of("execution_error")[0]["node_id"] == "2"
        assert comfy.temp_files() == before
        assert "\n" not in run.error
        return run.error

    def test_corrupt_video(self, comfy):
        (comfy.base / "input" / "corrupt.mp4").write_bytes(b"\x00\x01 not a film" * 100)
        assert "corrupt.mp4" in self.failure(comfy, prompt_for("corrupt.mp4"))

    def test_empty_file(self, comfy):
        (comfy.base / "input" / "empty.mp4").touch()
        assert "empty.mp4" in self.failure(comfy, prompt_for("empty.mp4"))

    def test_no_video_stream(self, comfy):
        film = write_film(comfy.base / "input" / "both.mp4")
        sound_only(film, comfy.base / "input" / "sound.mp4")
        message = self.failure(comfy, prompt_for("sound.mp4"))
        assert "sound.mp4" in message
        assert "video" in message

    def test_an_error_has_a_plain_name_and_a_short_path(self, comfy):
        (comfy.base / "input" / "noise.mp4").write_bytes(b"noise" * 100)
        run = comfy.run(prompt_for("noise.mp4"))
        (failure,) = run.of("execution_error")
        assert failure["exception_type"] == "ValueError"
        assert run.error.startswith("noise.mp4: ")

    def test_a_model_that_is_not_here(self, comfy, film):
        prompt = prompt_for(film, depth_model=["4", 0])
        settings = {"model": "auto", "custom": "nobody/nothing", "allow_download": False}
        inputs = settings | {"invert": False}
        prompt["4"] = {"class_type": "DreamStereoLoadDepth", "inputs": inputs}
        run = comfy.run(prompt)
        assert run.end == "execution_error"
        assert "nobody/nothing" in run.error

    def test_a_missing_file_is_refused_before_the_run(self, comfy):
        prompt = prompt_for("film.mp4")
        prompt["1"] = {"class_type": "DreamStereoLoadVideo", "inputs": {"file": "gone.mp4"}}
        reply = comfy.post("/prompt", prompt=prompt)
        assert reply.status_code == 400
        (error,) = reply.json()["node_errors"]["1"]["errors"]
        assert "gone.mp4" in error["details"]

    @pytest.mark.parametrize(("codec", "crf"), [("h264", 60), ("av1", 64), ("gif", 20)])
    def test_a_quality_that_the_codec_has_not(self, comfy, film, codec, crf):
        reply = comfy.post("/prompt", prompt=prompt_for(film, codec=codec, crf=crf))
        assert reply.status_code == 400
        errors = reply.json()["node_errors"]["2"]["errors"]
        assert all("expected" in error["details"] for error in errors)

    def test_an_older_graph_keeps_its_quality(self, comfy, film):
        assert saved(comfy, comfy.run(prompt_for(film, codec="av1", crf=60)))["codec"] == "av1"

    def test_a_coloured_depth_picture(self, comfy, film):
        prompt = {
            "1": {"class_type": "LoadVideo", "inputs": {"file": film}},
            "4": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
            "2": {
                "class_type": "DreamStereoDisparity",
                "inputs": {
                    "inverse_depth": ["4", 0],
                    "max_disparity": 3.0,
                    "convergence_mode": "manual",
                    "convergence": 0.5,
                    "foreground_dilation": 1,
                },
            },
            "5": {
                "class_type": "DreamStereoWarp",
                "inputs": {
                    "images": ["4", 0],
                    "disparity": ["2", 0],
                    "eye": "right",
                    "stretch_threshold": 1.5,
                },
            },
            "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
        }
        assert "grey" in self.failure(comfy, prompt)


def sound_only(film, target) -> None:
    """Copy a film's sound into a file without pictures."""
    with av.open(str(film)) as given, av.open(str(target), "w") as made:
        sound = given.streams.audio[0]
        stream = made.add_stream_from_template(sound)
        for packet in given.demux(sound):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
