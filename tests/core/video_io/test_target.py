"""The target: whole or not there, images, and one readable line for what cannot be written."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from dreamstereo_core.video_io import (
    EncodeOptions,
    VideoError,
    VideoWriter,
    encoder,
    mux,
    read_frames,
)

from ..pictures import FAST, INFO, bars, ramp, save, times


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.png", 0.002), ("a.jpg", 0.02), ("a.webp", 0.03)]
)
def test_one_frame_as_an_image(tmp_path, name, tolerance):
    picture = bars(47)
    path = save(tmp_path / name, picture[None])
    (read,) = read_frames(path)
    assert read.pixels.shape == picture.shape
    assert (read.pixels - picture)[:, :, 8::16].abs().max() < tolerance
    assert leftovers(tmp_path) == [name]


def test_a_deep_png(tmp_path):
    picture = torch.linspace(0, 1, 600).expand(1, 3, 2, 600)
    path = save(tmp_path / "deep.png", picture, replace(INFO, bit_depth=10))
    (read,) = read_frames(path)
    assert (read.pixels - picture[0]).abs().max() < 1e-5


def test_an_image_holds_one_frame(tmp_path):
    with pytest.raises(VideoError, match=r"a.png: an image holds one frame"):
        save(tmp_path / "a.png", ramp(2))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.png"])
def test_an_exception_leaves_nothing(tmp_path, name, error):
    with pytest.raises(error), VideoWriter(tmp_path / name, INFO, 64, 48, FAST) as writer:
        writer.write(ramp(1), times(1))
        assert len(leftovers(tmp_path)) == 1
        raise error
    assert leftovers(tmp_path) == []


def test_an_existing_target_survives_a_failure(tmp_path):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(VideoError, match="exists already"):
        VideoWriter(target, INFO, 64, 48, FAST)
    with (
        pytest.raises(RuntimeError),
        VideoWriter(target, INFO, 64, 48, FAST, overwrite=True) as writer,
    ):
        writer.write(ramp(40), times(40))
        raise RuntimeError
    assert target.read_bytes() == b"precious"
    save(target, ramp(2), overwrite=True)
    assert len(list(read_frames(target))) == 2
    assert leftovers(tmp_path) == ["a.mp4"]


def test_the_target_appears_only_at_the_end(tmp_path):
    target = tmp_path / "a.mp4"
    with VideoWriter(target, INFO, 64, 48, FAST) as writer:
        writer.write(ramp(5), times(5))
        assert not target.exists()
    assert target.exists()
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("stage", ["frames", "trailer", "rename"])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, stage):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_args, **_options):
        raise full

    with (
        pytest.raises(VideoError, match=r"a.mp4: cannot be written \(No space left on device\)"),
        VideoWriter(tmp_path / "a.mp4", INFO, 64, 48, FAST) as writer,
    ):
        if stage == "frames":
            monkeypatch.setattr(mux, "rgb_to_frame", fail)
        writer.write(ramp(2), times(2))
        if stage == "trailer":
            monkeypatch.setattr(mux.VideoSink, "finish", fail)
        if stage == "rename":
            for name in ("link", "replace"):
                monkeypatch.setattr(os, name, fail)
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_ffmpeg_reports_a_full_disk(tmp_path, monkeypatch):
    opened = av.open
    monkeypatch.setattr(mux.av, "open", lambda _name, *a, **k: opened("/dev/full", *a, **k))
    with pytest.raises(VideoError, match="No space left on device"):
        save(tmp_path / "a.mkv", torch.rand(40, 3, 96, 128), encode=replace(FAST, crf=0))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.xyz", {}, "expected a name ending in one of .mp4"),
        ("a", {}, "expected a name ending in one of"),
        ("absent/a.mp4", {}, "cannot be created"),
        ("a.webm", {"encode": EncodeOptions(codec="h264")}, "cannot hold h264 video"),
        ("a.mp4", {"encode": EncodeOptions(preset="warp")}, "libx264 refuses 64x48 .*warp"),
    ],
)
def test_what_cannot_be_written_fails_at_once(tmp_path, name, options, message):
    with pytest.raises(VideoError, match=message) as caught:
        VideoWriter(tmp_path / name, INFO, 64, 48, **options)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


def test_a_folder_as_target(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(VideoError, match="this is a folder"):
        VideoWriter(tmp_path / "a.mp4", INFO, 64, 48, overwrite=True)


def test_a_missing_encoder_is_named(tmp_path, monkeypatch):
    absent = replace(encoder.CODECS["h264"], encoder="libx999")
    monkeypatch.setitem(encoder.CODECS, "h264", absent)
    with pytest.raises(VideoError, match="this build of PyAV has no libx999 encoder"):
        VideoWriter(tmp_path / "a.mp4", INFO, 64, 48)
    assert leftovers(tmp_path) == []


def test_no_frame_is_an_error(tmp_path):
    with pytest.raises(VideoError, match="no frame was written"):
        save_nothing(tmp_path / "a.mp4")
    assert leftovers(tmp_path) == []


def save_nothing(target):
    with VideoWriter(target, INFO, 64, 48, FAST):
        pass


@pytest.mark.parametrize(
    ("frames", "at", "message"),
    [
        (torch.zeros(2, 3, 48, 62), times(2), "expected 64x48 pixels, got 62x48"),
        (torch.zeros(2, 3, 48, 64), times(3), "expected 2, one per frame, got 3"),
        (torch.zeros(2, 3, 48, 64), [Fraction(1), Fraction(1)], "expected growing times"),
        (torch.zeros(2, 1, 48, 64), times(2), r"expected shape \[T, 3, H, W\]"),
    ],
)
def test_wrong_frames_are_refused(tmp_path, frames, at, message):
    with (
        pytest.raises(ValueError, match=message),
        VideoWriter(tmp_path / "a.mp4", INFO, 64, 48, FAST) as writer,
    ):
        writer.write(frames, at)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "divx"}, "codec: expected one of auto, h264, hevc, av1"),
        ({"crf": 52}, r"crf: expected a value in \[0, 51\]"),
        ({"chroma": "422"}, "chroma: expected one of 420, 444"),
        ({"chroma": "444", "codec": "av1"}, "chroma: expected 420 with the codec av1"),
        ({"bit_depth": 12}, "bit_depth: expected 8, 10 or None"),
        ({"layout": "cube"}, "layout: expected one of full_sbs"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EncodeOptions(**options)


def content(path):
    return len(list(read_frames(path)))


@pytest.mark.parametrize("link", ["itself", "symlink", "hard link"])
@pytest.mark.parametrize("audio", [False, True])
def test_a_target_is_never_its_own_source(tmp_path, link, audio):
    source = save(tmp_path / "a.mp4", ramp(2))
    before, target = source.read_bytes(), source
    if link != "itself":
        target = tmp_path / "b.mp4"
        target.symlink_to(source) if link == "symlink" else os.link(source, target)
    info = replace(INFO, source="synthetic" if audio else source)
    options = {"audio_from": source} if audio else {}
    with pytest.raises(VideoError, match=r"is the file that is read \(.*a.mp4\)"):
        VideoWriter(target, info, 64, 48, FAST, overwrite=True, **options)
    assert source.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_link_as_target_is_followed(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "out.mp4").symlink_to(disk / "real.mp4")
    with VideoWriter(tmp_path / "out.mp4", INFO, 64, 48, FAST) as writer:
        writer.write(ramp(3), times(3))
        assert len(list(disk.glob(".*.part"))) == 1
    assert (tmp_path / "out.mp4").is_symlink()
    assert content(disk / "real.mp4") == 3
    save(tmp_path / "out.mp4", ramp(2), overwrite=True)
    assert content(disk / "real.mp4") == 2
    assert leftovers(disk) == ["real.mp4"]


@pytest.mark.parametrize("links", [True, False])
def test_of_two_runs_the_second_to_finish_fails(tmp_path, monkeypatch, links):
    if not links:  # as on exFAT
        monkeypatch.setattr(os, "link", lambda *_a, **_k: (_ for _ in ()).throw(OSError()))
    target = tmp_path / "a.mp4"
    with (
        pytest.raises(VideoError, match="appeared during the run, and nothing was replaced"),
        VideoWriter(target, INFO, 64, 48, FAST) as first,
    ):
        first.write(ramp(5), times(5))
        save(target, ramp(2))
    assert content(target) == 2
    assert leftovers(tmp_path) == ["a.mp4"]


_KILLED = """
import os, sys
from dreamstereo_core.video_io.target import Claim
from pathlib import Path
Claim(Path(sys.argv[1]), False)
os._exit(9)
"""


@pytest.mark.parametrize("name", ["a.mp4", "f_%03d.png"])
def test_what_a_dead_run_left_is_removed_by_the_next_one(tmp_path, name):
    target = tmp_path / name
    subprocess.run([sys.executable, "-c", _KILLED, str(target)], check=False)
    (dead,) = tmp_path.glob(".*.part")
    other = tmp_path / dead.name.replace(dead.name[1], "z", 1)  # of another target
    other.touch()
    with (
        pytest.raises(VideoError, match="appeared during"),
        VideoWriter(target, INFO, 64, 48, FAST) as alive,
    ):
        alive.write(ramp(1), times(1))
        assert not dead.exists()
        save(tmp_path / name, ramp(2))
        assert len(list(tmp_path.glob(f".{target.stem}.*.part"))) == 1  # the living one's
    assert list(tmp_path.glob(".*")) == [other]


def test_numbered_images(tmp_path):
    target = tmp_path / "new" / "f_%03d.png"
    with VideoWriter(target, INFO, 64, 48, FAST) as writer:
        writer.write(ramp(3), times(3))
        assert not list(target.parent.glob("*.png"))
    assert leftovers(target.parent) == ["f_001.png", "f_002.png", "f_003.png"]
    assert content(target) == 3
    with pytest.raises(VideoError, match=r"f_001.png exists already"):
        VideoWriter(target, INFO, 64, 48)
    with pytest.raises(VideoError, match="another folder than the one that is read"):
        VideoWriter(target, replace(INFO, source=target.parent), 64, 48, overwrite=True)
    save(target, ramp(2), overwrite=True)
    assert leftovers(target.parent) == ["f_001.png", "f_002.png"]


def test_numbered_images_of_a_failed_run(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "n/f_%d.jpg", INFO, 64, 48) as writer:
        writer.write(ramp(2), times(2))
        raise RuntimeError
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["映" * 83 + ".mp4", "é" * 125 + ".mkv"])
def test_names_are_long_in_bytes(tmp_path, name):
    save(tmp_path / name, ramp(1))
    assert leftovers(tmp_path) == [name]
    with pytest.raises(VideoError, match="cannot be created"):
        VideoWriter(tmp_path / ("xxx" + name), INFO, 64, 48)
