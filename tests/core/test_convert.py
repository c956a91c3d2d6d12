"""Files in, stereo files out."""

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    probe,
    read_frames,
)
from dreamstereo_core.video_io import VideoWriter

DEMO = Path(__file__).parents[2] / "docs" / "demo.mp4"
FAST = EncodeOptions(preset="ultrafast")


@pytest.fixture
def clip(tmp_path):
    """Six frames of 48x32, one of them late."""
    path = tmp_path / "clip.mp4"
    video = torch.rand(6, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    video = video.repeat_interleave(8, 2).repeat_interleave(8, 3)
    with VideoWriter(path, probe(DEMO), 48, 32, FAST) as writer:
        writer.write(video, [Fraction(t, 24) for t in (0, 1, 2, 5, 6, 7)])
    return path


def run(source, target, layout="full_sbs", **keywords):
    return convert_file(
        source,
        target,
        depth=load_depth("embedded"),
        inpainter=ClassicInpainter(reach=(1,)),
        encode=replace(FAST, layout=layout),
        **keywords,
    )


def test_the_demo_becomes_stereo_with_its_sound(tmp_path):
    (target,) = run(DEMO, tmp_path / "out.mp4", frames=(30, 40))
    info = probe(target)
    assert (info.width, info.height, info.frame_count) == (2 * 854, 480, 10)
    assert info.has_audio
    assert info.color == probe(DEMO).color
    left = next(read_frames(target)).pixels[:, :, :854]
    source = next(read_frames(DEMO, 30)).pixels
    assert (left - source).abs().mean() < 0.01
    with av.open(str(target)) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == "aac"
        assert float(sound.duration * sound.time_base) == pytest.approx(10 / 24, abs=0.06)


def test_time_stamps_are_the_sources_own(clip, tmp_path):
    (target,) = run(clip, tmp_path / "out.mp4")
    times = [frame.time for frame in read_frames(target)]
    assert times == [frame.time for frame in read_frames(clip)]
    assert times[3] - times[2] == Fraction(3, 24)


@pytest.mark.parametrize(
    ("layout", "size", "name"),
    [
        ("full_sbs", (96, 32), "clip_3D_LRF_FSBS_SBS.mp4"),
        ("half_sbs", (48, 32), "clip_3D_LR_H-SBS.mp4"),
        ("full_tb", (48, 64), "clip_3D_TBF_FTAB_TAB_TB.mp4"),
        ("anaglyph", (48, 32), "clip_anaglyph.mp4"),
        ("right", (48, 32), "clip_right.mp4"),
        ("depth", (48, 32), "clip_depth.mp4"),
        ("mask", (48, 32), "clip_mask.mp4"),
    ],
)
def test_layouts_have_their_size_and_a_name_that_players_know(clip, layout, size, name):
    (target,) = run(clip, None, layout)
    assert target == clip.with_name(name)
    info = probe(target)
    assert (info.width, info.height, info.frame_count) == (*size, 6)


def test_separate_eyes_are_two_files(clip, tmp_path):
    left, right = run(clip, tmp_path / "out.mkv", "separate")
    assert (left.name, right.name) == ("out_left.mkv", "out_right.mkv")
    assert probe(left).frame_count == probe(right).frame_count == 6


def test_an_image_becomes_an_image(tmp_path):
    frame = next(read_frames(DEMO, 60)).pixels[:, ::4, ::4]
    with VideoWriter(tmp_path / "one.png", probe(DEMO), frame.shape[2], frame.shape[1]) as writer:
        writer.write(frame[None], [Fraction(0)])
    (target,) = run(tmp_path / "one.png", None)
    assert target.name == "one_3D_LRF_FSBS_SBS.png"
    picture = next(read_frames(target)).pixels
    assert picture.shape == (3, frame.shape[1], 2 * frame.shape[2])
    assert torch.equal(
        picture[:, :, : frame.shape[2]], next(read_frames(tmp_path / "one.png")).pixels
    )


def test_progress_counts_to_the_end(clip, tmp_path):
    seen = []
    run(clip, tmp_path / "out.mp4", on_progress=seen.append)
    assert [p.done for p in seen][-1] == 6 == seen[-1].total
    assert seen[-1].seconds_left == 0
    assert seen[-1].picture.shape == (3, 32, 96)
    assert seen[-1].preview(48).shape == (3, 16, 48)


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_an_interrupt_leaves_nothing_behind(clip, tmp_path, error):
    def stop(progress):
        raise error

    target = tmp_path / "sub" / "out.mp4"
    target.parent.mkdir()
    with pytest.raises(error):
        run(clip, target, on_progress=stop)
    assert list(target.parent.iterdir()) == []


def test_an_interrupt_leaves_an_existing_file_as_it_was(clip, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")

    def stop(progress):
        raise Stop

    with pytest.raises(VideoError, match="exists already"):
        run(clip, target)
    with pytest.raises(Stop):
        run(clip, target, overwrite=True, on_progress=stop)
    assert target.read_bytes() == b"precious"


def test_the_number_of_torch_threads_is_given_back(clip, tmp_path):
    before, inside = torch.get_num_threads(), []
    run(clip, tmp_path / "out.mp4", on_progress=lambda _: inside.append(torch.get_num_threads()))
    assert torch.get_num_threads() == before
    assert max(inside) <= max(1, (os.cpu_count() or 2) - 1)


def test_a_range_beyond_the_end_is_an_error(clip, tmp_path):
    with pytest.raises(VideoError, match="none from index 9 on"):
        run(clip, tmp_path / "out.mp4", frames=(9, None))
    assert not (tmp_path / "out.mp4").exists()


def test_a_stream_needs_a_target(clip):
    with clip.open("rb") as file, pytest.raises(ValueError, match="target: expected a path"):
        run(file, None)
