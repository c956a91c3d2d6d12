"""Sound: the source's own packets or AAC, in sync, trimmed to the frames, where it fits."""

import io
from fractions import Fraction

import av
import pytest
import torch

from dreamstereo_core.video_io import (
    EncodeOptions,
    VideoError,
    VideoWriter,
    probe,
    read_frames,
    suggest_suffix,
)

from ..sound import FAST, OR_AAC, copy, film, flash, onset, packets


@pytest.mark.parametrize("encode", [FAST, OR_AAC], ids=["copy", "copy_or_aac"])
@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        ("a.mp4", "aac", "b.mp4"),
        ("a.mp4", "aac", "b.mov"),
        ("a.mkv", "aac", "b.mkv"),
        ("a.mkv", "libopus", "b.mp4"),
        ("a.mkv", "ac3", "b.mp4"),
        ("a.mkv", "flac", "b.mkv"),
        ("a.mov", "pcm_s16le", "b.mov"),
        ("a.mkv", "pcm_s16le", "b.mkv"),
        ("a.mp4", "mp3", "b.mkv"),
    ],
)
def test_packets_are_the_sources_own(tmp_path, source, codec, target, encode):
    source = film(tmp_path / source, [codec])
    target = copy(source, tmp_path / target, encode=encode)
    before, after = packets(source), packets(target)
    if target.suffix == ".mkv":  # no negative time there: an encoder's lead-in may be left out
        before = [p for p in before if p[0] >= 0]
    assert [data for _, data in after] == [data for _, data in before]
    for (earlier, _), (later, _) in zip(before, after, strict=True):
        assert abs(earlier - later) <= Fraction(1, 1000)
    assert onset(target) == pytest.approx(flash(target), abs=0.03)
    assert len(before) > 20


def test_all_streams_and_titles_come_along(tmp_path):
    tags = {"title": "A walk", "comment": "in the woods"}
    source = film(tmp_path / "a.mp4", ["aac", "aac"], tags=tags.items())
    target = copy(source, tmp_path / "b.mp4")
    with av.open(str(target)) as file:
        assert [s.language for s in file.streams.audio] == ["eng", "deu"]
        assert tags.items() <= file.metadata.items()
    assert packets(target, 1) == packets(source, 1)


@pytest.mark.parametrize("delay", [Fraction(0), Fraction(3, 10)])
def test_a_late_clock_is_moved_to_zero_in_sync(tmp_path, delay):
    source = film(tmp_path / "a.mkv", ["pcm_s16le"], start=Fraction(5), delay=delay)
    target = copy(source, tmp_path / "b.mkv")
    assert flash(target) == pytest.approx(1.0, abs=1e-3)
    assert onset(target) == pytest.approx(1.0 + float(delay), abs=0.005)
    assert packets(target)[0][0] == delay


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_a_range_of_frames_takes_its_part_of_the_sound(tmp_path, name):
    source = film(tmp_path / "a.mp4", seconds=4)
    target = copy(source, tmp_path / name, 30, 75)
    assert flash(target) == pytest.approx(20 / 25, abs=1e-3)
    assert onset(target) == pytest.approx(20 / 25, abs=0.03)
    own, taken = packets(source), packets(target)
    first, last = Fraction(30, 25), Fraction(75, 25)
    inside = [data for time, data in own if first <= time < last]
    assert [data for _, data in taken][-len(inside) :] == inside
    assert len(taken) - len(inside) <= (3 if name == "b.mp4" else 0)  # the decoder's lead-in
    with av.open(str(target)) as file:
        assert file.duration / 1e6 == pytest.approx(45 / 25, abs=0.03)
        assert len(list(file.decode(video=0))) == 45


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "pcm_s16le")])
def test_sound_and_picture_are_written_side_by_side(tmp_path, name, codec):
    """Neither waits in memory for the other, and both lie near each other in the file."""
    source = film(tmp_path / name, [codec], seconds=20)
    target = tmp_path / "b.mp4"
    noise = torch.rand(25, 3, 48, 64)
    with VideoWriter(target, probe(source), 64, 48, OR_AAC, audio_from=source) as writer:
        for second in range(20):
            writer.write(noise, [second + Fraction(i, 25) for i in range(25)])
        (temporary,) = tmp_path.glob(".*.part")
        written = temporary.stat().st_size
    assert written > 0.7 * target.stat().st_size
    with av.open(str(target)) as file:
        kinds = [p.stream.type for p in sorted(file.demux(), key=lambda p: p.pos or 0) if p.size]
    share = kinds[: len(kinds) // 2].count("audio") / kinds.count("audio")
    assert 0.4 < share < 0.6


def test_one_file_object_gives_both_picture_and_sound(tmp_path):
    path = film(tmp_path / "a.mp4")
    source = io.BytesIO(path.read_bytes())
    info = probe(source)
    assert info.has_audio
    with VideoWriter(tmp_path / "b.mp4", info, 64, 48, FAST, audio_from=source) as writer:
        for frame in read_frames(source):
            writer.write(frame.pixels[None], [frame.time])
    assert packets(tmp_path / "b.mp4") == packets(path)
    assert len(list(read_frames(tmp_path / "b.mp4"))) == 50
    assert suggest_suffix(source) == ".mp4"


def test_transport_stream_audio_fits_mp4(tmp_path):
    source = film(tmp_path / "a.ts")
    for name in ("b.mp4", "b.mkv"):
        target = copy(source, tmp_path / name)
        assert onset(target) == pytest.approx(flash(target), abs=0.03)


@pytest.mark.parametrize(
    ("codec", "target", "named"),
    [("pcm_s16le", "b.mp4", "pcm_s16le"), ("libopus", "b.mov", "opus"), ("aac", "b.webm", "aac")],
)
def test_audio_that_does_not_fit_is_named_before_any_work(tmp_path, codec, target, named):
    source = film(tmp_path / "a.mkv", [codec])
    options = EncodeOptions("av1", preset="12")
    with pytest.raises(VideoError, match=rf"{target}: .*{named} audio; .* ending in .mkv"):
        VideoWriter(tmp_path / target, probe(source), 64, 64, options, audio_from=source)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]


def test_an_unknown_way_with_audio_is_an_error():
    with pytest.raises(ValueError, match="audio: expected one of copy, copy_or_aac, got 'mp3'"):
        EncodeOptions(audio="mp3")


def test_suffix_suggested_for_a_source(tmp_path):
    assert suggest_suffix(film(tmp_path / "aac.mkv", ["aac"])) == ".mp4"
    assert suggest_suffix(film(tmp_path / "pcm.mkv", ["pcm_s16le"])) == ".mkv"
    assert suggest_suffix(film(tmp_path / "both.mkv", ["aac", "pcm_s16le"])) == ".mkv"
    assert suggest_suffix(film(tmp_path / "silent.avi", [])) == ".mp4"
    still = tmp_path / "still"
    still.mkdir()
    info = probe(tmp_path / "silent.avi")
    for name, expected in (("a.png", ".png"), ("a.jpg", ".jpg")):
        with VideoWriter(still / name, info, 8, 8) as writer:
            writer.write(torch.zeros(1, 3, 8, 8), [Fraction(0)])
        assert suggest_suffix(still / name) == expected
    assert suggest_suffix(still) == ".mp4"


def test_a_source_without_sound(tmp_path):
    source = film(tmp_path / "a.mp4", [], tags={"title": "Quiet"}.items())
    target = copy(source, tmp_path / "b.mp4")
    with av.open(str(target)) as file:
        assert not file.streams.audio
        assert file.metadata["title"] == "Quiet"


def test_a_missing_sound_source_leaves_nothing(tmp_path):
    info = probe(film(tmp_path / "a.mp4"))
    with pytest.raises(VideoError, match=r"absent.mp4: no such file"):
        VideoWriter(tmp_path / "b.mp4", info, 64, 48, audio_from=tmp_path / "absent.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
