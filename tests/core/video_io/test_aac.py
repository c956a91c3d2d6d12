"""Sound that does not fit the container: encoded to AAC on demand, in sync."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dreamstereo_core.video_io import EncodeOptions, VideoError, VideoWriter, probe

from ..sound import OR_AAC, RATE, copy, film, flash, loudness, onset, packets, pcm


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
