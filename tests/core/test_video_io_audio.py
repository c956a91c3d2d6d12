"""Sound: the source's own packets or AAC, in sync, trimmed to the frames, where it fits."""

import io
from fractions import Fraction

import av
import numpy as np
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

FAST = EncodeOptions(preset="ultrafast")
OR_AAC = EncodeOptions(preset="ultrafast", audio="copy_or_aac")
RATE = 48000


def film(path, audio=("aac",), *, seconds=2, start=Fraction(0), delay=Fraction(0), tags=()):
    """A film whose picture is bright and whose sound is loud in its second half."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, time_base=Fraction(1, 12800))
        video.width, video.height = 64, 48
        sounds = [output.add_stream(codec, rate=RATE, layout="mono") for codec in audio]
        for stream, language in zip(sounds, ("eng", "deu"), strict=False):
            stream.metadata["language"] = language
        output.metadata.update(dict(tags))
        for index in range(25 * seconds):
            level = 40 if index < 25 * seconds // 2 else 200
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8))
            frame.time_base = Fraction(1, 12800)
            frame.pts = round((start + Fraction(index, 25)) * 12800)
            output.mux(video.encode(frame))
        for stream in sounds:
            for packet in tone(stream, seconds, start + delay):
                output.mux(packet)
        output.mux(video.encode(None))
    return path


def tone(stream, seconds, start):
    """Encode a 440 Hz tone, silent in its first half, from `start` seconds on."""
    clock = np.arange(RATE * seconds) / RATE
    wave = (np.sin(2 * np.pi * 440 * clock) * (clock >= seconds / 2) * 20000).astype(np.int16)
    size = stream.codec_context.frame_size or 1000
    resampler = av.AudioResampler(stream.format, "mono", RATE)
    for at in range(0, len(wave), size):
        frame = av.AudioFrame.from_ndarray(wave[None, at : at + size], "s16", "mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = at + round(start * RATE)
        for ready in resampler.resample(frame):
            yield from stream.encode(ready)
    yield from stream.encode(None)


def packets(path, index=0):
    """Return (time in seconds, bytes) of each audio packet."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[index]
        found = [(p.pts * p.time_base, bytes(p)) for p in file.demux(stream) if p.pts is not None]
    return found


def copy(source, target, start=0, stop=None, encode=FAST, **options):
    info = probe(source)
    frames = list(read_frames(source, start, stop))
    ends = {} if stop is None else {"audio_stop": frames[-1].time + 1 / info.frame_rate}
    with VideoWriter(target, info, 64, 48, encode, audio_from=source, **ends, **options) as writer:
        for frame in frames:
            writer.write(frame.pixels[None], [frame.time])
    return target


def onset(path):
    """Return the time at which the sound begins, in seconds, as a player would hear it."""
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1)
            peak = 0.2 * (32768 if loud.max() > 2 else 1)
            if (loud > peak).any():
                return frame.time + np.argmax(loud > peak) / RATE
    return None


def flash(path):
    """Return the time of the first bright picture."""
    return next(float(f.time) for f in read_frames(path) if f.pixels.mean() > 0.5)


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


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        ("a.mkv", "pcm_s16le", "b.mp4"),
        ("a.mov", "pcm_s24le", "b.m4v"),
        ("a.mkv", "libopus", "b.mov"),
    ],
)
@pytest.mark.parametrize(("start", "stop"), [(0, None), (30, 75)])
def test_audio_that_does_not_fit_becomes_aac_on_demand(
    tmp_path, source, codec, target, start, stop
):
    source = film(tmp_path / source, [codec], seconds=4)
    target = copy(source, tmp_path / target, start, stop, OR_AAC)
    seconds = ((stop or 100) - start) / 25
    assert flash(target) == pytest.approx((50 - start) / 25, abs=1e-3)
    assert onset(target) == pytest.approx(flash(target), abs=0.01)
    with av.open(str(target)) as file:
        (sound,) = file.streams.audio
        assert (sound.codec.canonical_name, sound.rate, sound.layout.name) == ("aac", RATE, "mono")
        assert file.duration / 1e6 == pytest.approx(seconds, abs=0.03)
        samples = sum(frame.samples for frame in file.decode(sound))
    assert samples / RATE == pytest.approx(seconds, abs=0.03)


@pytest.mark.parametrize("delay", [Fraction(0), Fraction(3, 10)])
def test_encoded_audio_of_a_late_clock_is_in_sync(tmp_path, delay):
    source = film(tmp_path / "a.mkv", ["pcm_s16le"], start=Fraction(5), delay=delay)
    target = copy(source, tmp_path / "b.mp4", encode=OR_AAC)
    assert flash(target) == pytest.approx(1.0, abs=1e-3)
    assert onset(target) == pytest.approx(1.0 + float(delay), abs=0.01)


def test_only_the_stream_that_does_not_fit_is_encoded(tmp_path):
    source = film(tmp_path / "a.mkv", ["aac", "pcm_s16le"])
    target = copy(source, tmp_path / "b.mp4", encode=OR_AAC)
    own, encoded = packets(source), packets(target, 1)
    assert [data for _, data in packets(target)] == [data for _, data in own]
    assert encoded[0][0] == Fraction(-1024, RATE)
    assert sum(len(data) for _, data in encoded) < 2 * RATE  # half of what the source holds
    with av.open(str(target)) as file:
        assert [s.codec.canonical_name for s in file.streams.audio] == ["aac", "aac"]
        assert [s.language for s in file.streams.audio] == ["eng", "deu"]


def pcm(path, rate=RATE, layout="stereo", parts=100, missing=range(0)):
    """A film of a second with a tone of its own in each channel; some packets are left out."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        sound = output.add_stream("pcm_s16le", rate=rate, layout=layout)
        for _ in range(25):
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        output.mux(video.encode(None))
        channels = np.arange(sound.channels)[:, None] + 1
        wave = np.sin(2 * np.pi * 200 * channels * np.arange(rate) / rate) * 8000
        for index in sorted(set(range(parts)) - set(missing)):
            part = wave[:, index * rate // parts : (index + 1) * rate // parts]
            packed = np.ascontiguousarray(part.T.reshape(1, -1)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(packed, "s16", layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = index * rate // parts
            output.mux(sound.encode(frame))
    return path


@pytest.mark.parametrize(
    ("rate", "layout", "new_rate", "new_layout"),
    [
        (96000, "stereo", 96000, "stereo"),
        (192000, "mono", 48000, "mono"),
        (44100, "5.1(side)", 44100, "5.1"),
        (48000, "4.0", 48000, "4.0"),
    ],
)
def test_encoded_audio_keeps_rate_and_channels(tmp_path, rate, layout, new_rate, new_layout):
    source = pcm(tmp_path / "a.mkv", rate, layout)
    target = copy(source, tmp_path / "b.mp4", encode=OR_AAC)
    with av.open(str(target)) as file:
        (stream,) = file.streams.audio
        assert (stream.rate, stream.layout.name) == (new_rate, new_layout)
        sound = np.concatenate([f.to_ndarray() for f in file.decode(stream)], 1)
    assert sound.shape[1] == pytest.approx(new_rate, abs=1024)
    middle = sound[:, new_rate // 4 : new_rate * 3 // 4]
    tones = np.abs(np.fft.rfft(middle)).argmax(1) * 2  # half a second: bins of 2 Hz
    expected = 200 * (np.arange(len(sound)) + 1)
    bass = 3 if "5.1" in layout else None  # AAC's bass channel holds nothing above 120 Hz
    for channel in set(range(len(sound))) - {bass}:
        assert tones[channel] == expected[channel]


def loudness(path):
    """Return the peak of each hundredth of a second."""
    with av.open(str(path)) as file:
        sound = np.concatenate([f.to_ndarray() for f in file.decode(audio=0)], 1)
    whole = sound.shape[1] // (RATE // 100)
    return np.abs(sound[:, : whole * RATE // 100]).reshape(len(sound), whole, -1).max((0, 2))


def test_encoded_audio_is_silent_where_the_source_has_a_gap(tmp_path):
    source = pcm(tmp_path / "a.mkv", missing=range(30, 61))
    loud = loudness(copy(source, tmp_path / "b.mp4", encode=OR_AAC)) > 0.1
    assert loud[:29].all()
    assert not loud[33:58].any()
    assert loud[62:99].all()


def test_encoded_audio_is_not_torn_by_rounded_time_stamps(tmp_path):
    source = pcm(tmp_path / "a.mkv", layout="mono", parts=64)  # a packet takes 15.625 ms
    target = copy(source, tmp_path / "b.mp4", encode=OR_AAC)
    with av.open(str(target)) as file:
        sound = np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])
    power = np.abs(np.fft.rfft(sound[RATE // 4 : RATE * 3 // 4])) ** 2
    assert power[100] > 0.999 * power.sum()  # 200 Hz, in bins of 2 Hz


def test_a_damaged_packet_costs_its_own_sound_only(tmp_path):
    source = film(tmp_path / "a.mkv", ["flac"])
    damaged = packets(source)[-6][1]
    content = source.read_bytes()
    source.write_bytes(content.replace(damaged, b"\xff" * len(damaged)))
    target = copy(source, tmp_path / "b.mov", encode=OR_AAC)
    assert onset(target) == pytest.approx(flash(target), abs=0.01)
    assert packets(target)[-1][0] == pytest.approx(2, abs=0.03)


def test_a_range_that_begins_inside_a_packet_has_its_sound_at_once(tmp_path):
    source = pcm(tmp_path / "a.mkv", parts=2)
    loud = loudness(copy(source, tmp_path / "b.mp4", 10, 20, OR_AAC)) > 0.1
    assert loud[1:39].all()
    assert len(loud) <= 42


def test_webm_takes_no_aac_either(tmp_path):
    source = film(tmp_path / "a.mkv", ["pcm_s16le"])
    options = EncodeOptions("av1", preset="12", audio="copy_or_aac")
    with pytest.raises(VideoError, match="cannot hold the source's pcm_s16le audio"):
        VideoWriter(tmp_path / "b.webm", probe(source), 64, 64, options, audio_from=source)


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
