"""A film in pieces: the same frames however often the run is ended, and what can go wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    load_inpainter,
)
from dreamstereo_core.depth.supplied import SuppliedDepth
from dreamstereo_core.film import Progress
from dreamstereo_core.pieces import WORK_SUFFIX
from dreamstereo_core.video_io import read_frames

RATE, EVERY = 24, 10
FRAMES = 42


class Ended(Exception):
    """The run was ended from outside."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots with bars, a moving square before a moving background, and sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    rng = np.random.default_rng(0)
    grounds = [rng.integers(0, 255, (8, 20, 3)).repeat(8, 0).repeat(8, 1) for _ in range(2)]
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 128, 80, "yuv420p"
        sound = output.add_stream("aac", rate=8000, layout="mono")
        for i in range(FRAMES):
            picture = np.zeros((80, 128, 3), np.uint8)
            picture[8:72] = grounds[i >= 17][:64, i % 17 : i % 17 + 128]
            picture[30:60, 20 + i : 50 + i] = (200, 30, 60)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 14000), np.float32), "fltp", "mono")
        tone.sample_rate = 8000
        output.mux(sound.encode(tone))
        output.mux(video.encode(None))
        output.mux(sound.encode(None))
    return path


def inpainter(fill):
    """Return the one of a name; "quick" looks one frame back and ahead only."""
    return ClassicInpainter(reach=(1,)) if fill == "quick" else load_inpainter(fill)


def convert(film, target, *, end_at=None, depth="cues", fill="quick", encode=None, **how):
    """Convert in pieces of ten frames; `end_at` ends the run when so many frames are done."""

    def on_progress(progress: Progress) -> None:
        if end_at is not None and progress.done >= end_at:
            raise Ended()

    options = ConvertOptions(chunk_frames=4, **how.pop("options", {}))
    return convert_file(
        film, target, depth=load_depth(depth), inpainter=inpainter(fill), options=options,
        encode=encode or EncodeOptions(preset="ultrafast"), piece=EVERY / RATE,
        on_progress=on_progress, **how,
    )  # fmt: skip


def frames_of(path):
    frames = list(read_frames(path))
    return torch.stack([frame.pixels for frame in frames]), [frame.time for frame in frames]


def work(target: Path) -> Path:
    return target.with_name(target.name + WORK_SUFFIX)


def packets(path, kind):
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(getattr(container.streams, kind)[0]) if p.size]


@pytest.mark.parametrize(
    ("depth", "fill", "options"),
    [
        ("mini", "mini", {"floating_window": True}),
        ("cues", "classic", {"eye": "left", "convergence": "median"}),
    ],
)
def test_an_ended_run_gives_the_same_frames_as_a_whole_one(film, tmp_path, depth, fill, options):
    how = {"depth": depth, "fill": fill, "options": options}
    convert(film, tmp_path / "whole.mp4", **how)
    for end_at in (12, 31):
        with pytest.raises(Ended):
            convert(film, tmp_path / "ended.mp4", end_at=end_at, **how)
        assert not (tmp_path / "ended.mp4").exists()
        assert work(tmp_path / "ended.mp4").is_dir()
    convert(film, tmp_path / "ended.mp4", **how)
    (whole, times), (ended, other_times) = (
        frames_of(tmp_path / f"{name}.mp4") for name in ("whole", "ended")
    )
    assert torch.equal(whole, ended) and times == other_times
    assert len(whole) == FRAMES
    assert packets(tmp_path / "whole.mp4", "audio") == packets(tmp_path / "ended.mp4", "audio")
    assert [path.name for path in tmp_path.glob(f"*{WORK_SUFFIX}")] == []


def test_a_depth_that_is_read_in_another_way_is_named(film, tmp_path, monkeypatch):
    target, shade = tmp_path / "a.mp4", tmp_path / "depth.png"
    cv2.imwrite(str(shade), np.linspace(0, 255, 128 * 80).reshape(80, 128).astype(np.uint8))
    monkeypatch.setattr(sys.modules[__name__], "load_depth", lambda how: how())
    with pytest.raises(Ended):
        convert(film, target, end_at=25, depth=lambda: SuppliedDepth(shade))
    with pytest.raises(VideoError, match=r"of another depth: invert \(False, now True\)"):
        convert(film, target, depth=lambda: SuppliedDepth(shade, invert=True))
    convert(film, target, depth=lambda: SuppliedDepth(shade))
    assert len(frames_of(target)[0]) == FRAMES


def test_pieces_change_times_and_sound_by_nothing(film, tmp_path):
    convert(film, tmp_path / "pieces.mp4")
    convert_file(film, tmp_path / "one.mp4", depth=load_depth("cues"),
                 inpainter=inpainter("quick"), piece=None)  # fmt: skip
    pieces, one = (frames_of(tmp_path / f"{name}.mp4") for name in ("pieces", "one"))
    assert pieces[1] == one[1]
    assert (pieces[0] - one[0]).abs().mean() < 0.01  # encoded in other groups
    assert packets(tmp_path / "pieces.mp4", "audio") == packets(tmp_path / "one.mp4", "audio")


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.mov", "hevc.mp4"])
def test_every_container_holds_joined_pieces(film, tmp_path, name):
    audio = "copy_or_aac" if name != "a.webm" else "copy"
    codec = EncodeOptions("hevc" if name == "hevc.mp4" else "auto", audio=audio)
    source = film
    if name == "a.webm":  # it holds no AAC
        source = tmp_path / "silent.mp4"
        with av.open(str(film)) as old, av.open(str(source), "w") as new:
            video = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(old.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = video
                    new.mux(packet)
    convert(source, tmp_path / name, encode=codec)
    assert len(frames_of(tmp_path / name)[0]) == FRAMES
    if name == "hevc.mp4":
        with av.open(str(tmp_path / name)) as container:
            assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_both_views_come_in_pieces(film, tmp_path):
    encode = EncodeOptions(layout="separate", preset="ultrafast")
    with pytest.raises(Ended):
        convert(film, tmp_path / "a.mp4", end_at=25, encode=encode)
    written = convert(film, tmp_path / "a.mp4", encode=encode)
    assert [len(frames_of(path)[0]) for path in written] == [FRAMES, FRAMES]


def test_what_is_finished_is_not_made_again(film, tmp_path):
    with pytest.raises(Ended):
        convert(film, tmp_path / "a.mp4", end_at=25)
    seen = []
    convert_file(film, tmp_path / "a.mp4", depth=load_depth("cues"),
                 inpainter=inpainter("quick"), options=ConvertOptions(chunk_frames=4),
                 encode=EncodeOptions(preset="ultrafast"), piece=EVERY / RATE,
                 on_progress=seen.append)  # fmt: skip
    assert min(progress.done for progress in seen) > 20
    assert seen[-1].done == FRAMES and seen[-1].before == 20


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("max_disparity", {"options": {"max_disparity": 1.0}}),
        ("fill", {"fill": "mini"}),
        ("crf", {"encode": EncodeOptions(preset="ultrafast", crf=30)}),
    ],
)
def test_a_changed_option_is_named_and_nothing_is_mixed(film, tmp_path, what, change):
    with pytest.raises(Ended):
        convert(film, tmp_path / "a.mp4", end_at=25)
    with pytest.raises(VideoError, match=what):
        convert(film, tmp_path / "a.mp4", **change)
    convert(film, tmp_path / "a.mp4", restart=True, **change)
    assert len(frames_of(tmp_path / "a.mp4")[0]) == FRAMES


def test_a_changed_source_is_named(film, tmp_path):
    source = tmp_path / "film.mp4"
    shutil.copy(film, source)
    with pytest.raises(Ended):
        convert(source, tmp_path / "a.mp4", end_at=25)
    os.utime(source, (1, 1))
    with pytest.raises(VideoError, match="source"):
        convert(source, tmp_path / "a.mp4")


@pytest.mark.parametrize("damage", ["manifest", "notes", "piece"])
def test_damage_costs_what_it_must(film, tmp_path, caplog, damage):
    convert(film, tmp_path / "whole.mp4")
    with pytest.raises(Ended):
        convert(film, tmp_path / "a.mp4", end_at=34)
    folder = work(tmp_path / "a.mp4")
    if damage == "manifest":
        manifest = folder / "manifest.json"
        manifest.write_bytes(manifest.read_bytes()[:100])
    elif damage == "notes":
        (folder / "from_frame_00000030.pt").write_bytes(b"cut off")
    else:
        (folder / "piece_00000020_full_sbs.mp4").unlink()
    convert(film, tmp_path / "a.mp4")
    assert torch.equal(frames_of(tmp_path / "a.mp4")[0], frames_of(tmp_path / "whole.mp4")[0])
    said = {"manifest": "begins anew", "notes": "made once more", "piece": "goes on from there"}
    assert said[damage] in caplog.text


def test_two_runs_do_not_meet(film, tmp_path):
    target = tmp_path / "a.mp4"
    with pytest.raises(Ended):
        convert(film, target, end_at=25)

    def second(progress: Progress) -> None:
        with pytest.raises(VideoError, match=f"process {os.getpid()} is writing this film"):
            convert(film, target)
        raise Ended

    with pytest.raises(Ended):
        convert_file(film, target, depth=load_depth("cues"), inpainter=inpainter("quick"),
                     options=ConvertOptions(chunk_frames=4),
                     encode=EncodeOptions(preset="ultrafast"), piece=EVERY / RATE,
                     on_progress=second)  # fmt: skip


def test_a_run_that_ends_at_once_leaves_nothing(film, tmp_path):
    with pytest.raises(Ended):
        convert(film, tmp_path / "a.mp4", end_at=1)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import test_resume
test_resume.Ended = lambda: os.kill(os.getpid(), 9)
test_resume.convert(Path(sys.argv[2]), Path(sys.argv[3]), end_at=27)
"""


def test_a_film_killed_in_the_middle(film, tmp_path):
    target = tmp_path / "a.mp4"
    arguments = [Path(__file__).parent, film, target]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    manifest = json.loads((work(target) / "manifest.json").read_text())
    assert sum(piece["frames"] for piece in manifest["pieces"]) == 20
    convert(film, target)
    assert len(frames_of(target)[0]) == FRAMES
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("older", [False, True])
def test_work_that_a_kill_left_beside_its_finished_film_goes(film, tmp_path, older):
    target = tmp_path / "a.mp4"
    target.touch()
    with pytest.raises(Ended):
        convert(film, target, end_at=35, overwrite=True)
    manifest = work(target) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"complete": True}))
    for path, when in ((target, 1), (manifest, 2)) if older else ((target, 2), (manifest, 1)):
        os.utime(path, (when, when))
    with pytest.raises(VideoError, match="exists already"):
        convert(film, target)
    assert work(target).exists() == older  # an older film waits to be replaced


def test_pieces_of_one_film_have_one_encoder(film, tmp_path, monkeypatch, caplog):
    """With "auto" it is chosen once; a run on a machine without the card does not go on."""
    tried = []

    def trial(pictures):
        tried.append(pictures.encode.codec)
        return None if len(tried) == 1 else "no card"

    monkeypatch.setattr("dreamstereo_core.video_io.nvenc._trial", trial)
    for module in ("nvenc", "encoder"):  # x264 stands for the card's encoder
        place = f"dreamstereo_core.video_io.{module}"
        monkeypatch.setattr(f"{place}.nvenc_name", lambda codec: "libx264")
        monkeypatch.setattr(f"{place}.nvenc_options", lambda *_: {"preset": "ultrafast"})
    target, auto = tmp_path / "a.mp4", EncodeOptions(encoder="auto")
    with pytest.raises(VideoError, match=r"nvenc cannot be used here \(no card\)"):
        convert(film, target, encode=auto)  # the pieces are nvenc's: the second trial fails
    assert tried == ["h264", "h264"]
    monkeypatch.setattr("dreamstereo_core.video_io.nvenc._trial", lambda pictures: None)
    with pytest.raises(Ended):
        convert(film, target, encode=auto, end_at=12)
    monkeypatch.setattr("dreamstereo_core.video_io.nvenc._trial", lambda pictures: "no card")
    with pytest.raises(VideoError, match="encode"):
        convert(film, target, encode=auto)
    assert "encoded by software (no card)" in caplog.text
    convert(film, target, encode=auto, restart=True)
    assert len(frames_of(target)[1]) == FRAMES
