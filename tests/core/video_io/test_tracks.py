"""What lies beside the pictures comes along, and no fault in it ends a conversion."""

import io
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from av.error import InvalidDataError

from dreamstereo_core.video_io import mux, probe, read_frames, suggest_suffix
from dreamstereo_core.video_io.subtitles import _EMPTY

from ..sound import FAST, OR_AAC, RATE, copy, film, packets

NEW = pytest.mark.skipif(
    not hasattr(av.container.OutputContainer, "set_chapters"), reason="an older PyAV"
)
SRT = """1
00:00:00,200 --> 00:00:01,000
<i>One</i>

2
00:00:01,200 --> 00:00:01,900
Two
lines
"""


def rich(path, subtitles=SRT, chapters=True, cover=None, attachments=()):
    """A film of two seconds with subtitles, chapters, a cover and attached files."""
    plain = film(path.with_name("plain.mkv"))
    with av.open(str(plain)) as source, av.open(str(path), "w") as output:
        ways = {s.index: output.add_stream_from_template(s, opaque=True) for s in source.streams}
        with av.open(io.BytesIO(subtitles.encode()), format="srt") as text:
            titles = output.add_stream_from_template(text.streams[0])
            titles.metadata["language"] = "ger"
            events = [packet for packet in text.demux() if packet.size]
            if chapters:
                base = Fraction(1, 1000)
                named = [(0, 1000, "A"), (1000, 2000, "B")]
                output.set_chapters(
                    [
                        {"id": i, "start": a, "end": b, "time_base": base, "metadata": {"title": t}}
                        for i, (a, b, t) in enumerate(named)
                    ]
                )
            for attachment in attachments:
                output.add_attachment(*attachment)
            for packet in events:
                packet.stream = titles
                output.mux(packet)
            for packet in source.demux():
                if packet.size:
                    packet.stream = ways[packet.stream_index]
                    output.mux(packet)
    return path


def texts(path):
    """Return (begin, end, text) of each subtitle."""
    found = []
    with av.open(str(path)) as file:
        stream = file.streams.subtitles[0]
        for packet in file.demux(stream):
            data = bytes(packet)
            data = data[2:] if stream.codec_context.name == "mov_text" else data
            if data:
                begin = float(packet.pts * packet.time_base)
                end = begin + float(packet.duration * packet.time_base)
                found.append((round(begin, 2), round(end, 2), data.decode().strip()))
    return found


@pytest.mark.parametrize(
    ("name", "codec", "first"),
    [("b.mkv", "subrip", "<i>One</i>"), ("b.mp4", "mov_text", "One"), ("b.mov", "mov_text", "One")],
)
def test_subtitles_are_kept(tmp_path, name, codec, first):
    source = rich(tmp_path / "a.mkv", chapters=False)
    target = copy(source, tmp_path / name)
    with av.open(str(target)) as file:
        (stream,) = file.streams.subtitles
        assert stream.codec_context.codec.canonical_name == codec
        assert stream.language == "ger"
    assert texts(target) == [(0.2, 1.0, first), (1.2, 1.9, "Two\nlines")]


def test_subtitles_of_an_mp4_go_to_matroska(tmp_path):
    source = copy(rich(tmp_path / "a.mkv", chapters=False), tmp_path / "b.mp4")
    assert texts(copy(source, tmp_path / "c.mkv")) == [(0.2, 1, "One"), (1.2, 1.9, "Two\nlines")]
    assert texts(copy(source, tmp_path / "c.mp4")) == texts(source)


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_a_range_cuts_the_subtitles(tmp_path, name):
    target = copy(rich(tmp_path / "a.mkv", chapters=False), tmp_path / name, 15, 40)
    found = [(begin, end, text.strip("</i>")) for begin, end, text in texts(target)]
    assert found == [(0, 0.4, "One"), (0.6, 1, "Two\nlines")]  # the second one goes on till 1.3


def test_two_subtitles_at_once_stand_together_in_mp4(tmp_path):
    both = SRT.replace("00:00:01,200", "00:00:00,200")
    target = copy(rich(tmp_path / "a.mkv", both, chapters=False), tmp_path / "b.mp4")
    assert texts(target) == [(0.2, 1.9, "One\nTwo\nlines")]


@NEW
@pytest.mark.parametrize("name", ["b.mkv", "b.mp4"])
def test_chapters_are_kept_and_cut(tmp_path, name):
    source = rich(tmp_path / "a.mkv")
    for part, expected in [
        ((0, None), [(0, 1, "A"), (1, 2, "B")]),
        ((15, 40), [(0, 0.4, "A"), (0.4, 1, "B")]),
    ]:
        target = copy(
            source, tmp_path / name, *part, overwrite=True, audio_start=Fraction(part[0], 25)
        )
        with av.open(str(target)) as file:
            got = [
                (float(c["start"] * c["time_base"]), c["metadata"]["title"])
                for c in file.chapters()
            ]
            ends = [float(c["end"] * c["time_base"]) for c in file.chapters()]
        assert [title for _, title in got] == ["A", "B"]
        whole = [(begin, end) for (begin, _), end in zip(got, ends, strict=True)]
        assert np.allclose(whole, [e[:2] for e in expected], atol=0.05)


@NEW
def test_fonts_are_kept_where_the_container_can(tmp_path, caplog):
    source = rich(tmp_path / "a.mkv", attachments=[("f.ttf", "font/ttf", b"a font")])
    with av.open(str(copy(source, tmp_path / "b.mkv"))) as file:
        (font,) = file.streams.attachments
        assert (font.name, font.mimetype, font.data) == ("f.ttf", "font/ttf", b"a font")
    assert not caplog.messages
    copy(source, tmp_path / "b.mp4")
    assert caplog.messages == [f"{tmp_path}/b.mp4: left out: attachment f.ttf"]


@NEW
def test_a_cover_stays_a_cover(tmp_path):
    picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8))
    encoder = av.CodecContext.create("png", "w")
    encoder.width = encoder.height = 32
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1, 25)
    data = b"".join(bytes(p) for p in [*encoder.encode(picture), *encoder.encode(None)])
    source = rich(tmp_path / "a.mkv", attachments=[("cover.png", "image/png", data)])
    for name in ("b.mp4", "c.mkv"):
        source = copy(source, tmp_path / name)
        assert probe(source).width == 64
        with av.open(str(source)) as file:
            cover = file.streams.video[1]
            assert int(cover.disposition) == 1024
            assert bytes(next(p for p in file.demux(cover) if p.size)) == data


def test_the_suffix_suits_the_tracks(tmp_path):
    source = rich(tmp_path / "a.mkv", chapters=False)
    assert suggest_suffix(source) == ".mkv"
    assert suggest_suffix(copy(source, tmp_path / "b.mp4")) == ".mp4"


def test_a_track_of_an_unknown_codec_is_left_out(tmp_path, caplog):
    path = film(tmp_path / "a.mov", ["aac", "aac"])
    data = bytearray(path.read_bytes())
    for old, new in ((b"mp4a", b"zzzz"), (b"esds", b"dapa")):
        for at in [i for i in range(len(data)) if data[i : i + 4] == old][1:]:
            if old != b"mp4a" or at > data.rfind(b"stsd"):
                data[at : at + 4] = new
    path.write_bytes(data)
    assert suggest_suffix(path) == ".mp4"
    target = copy(path, tmp_path / "b.mp4")
    assert len(packets(target)) == len(packets(path))
    assert caplog.messages == [f"{target}: left out: audio stream 2 (unknown codec)"]


@pytest.mark.parametrize("encode", [FAST, OR_AAC])
def test_a_track_without_packets_is_left_out(tmp_path, caplog, encode):
    """MP4's muxer would fail at the very end."""
    with av.open(str(film(tmp_path / "s.mkv", ["aac", "ac3"]))) as source:
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as output:
            ways = [
                output.add_stream_from_template(stream, opaque=True) for stream in source.streams
            ]
            for packet in source.demux():
                if packet.size and packet.stream_index < 2:
                    packet.stream = ways[packet.stream_index]
                    output.mux(packet)
    target = copy(path, tmp_path / "b.mp4", encode=encode)
    assert len(packets(target)) == len(packets(path))
    assert caplog.messages == [f"{target}: left out: audio stream 2 (empty)"]


def bursts(path, seconds=2, begin=Fraction(0)):
    """A transport stream: each half second begins with a white picture and a short tone."""
    with av.open(str(path), "w", format="mpegts") as output:
        video = output.add_stream("libx264", rate=25, time_base=Fraction(1, 90000))
        video.width, video.height, video.options = 64, 48, {"g": "5", "bf": "0"}
        sound = output.add_stream("ac3", rate=RATE, layout="mono")
        clock = np.arange(RATE * seconds) / RATE
        wave = np.sin(2 * np.pi * 440 * clock) * (clock % 0.5 < 0.1) * 0.7
        size = 1536
        for index in range(25 * seconds):
            white = 235 if index / 25 % 0.5 < 0.1 else 16
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), white, np.uint8))
            frame.time_base = Fraction(1, 90000)
            frame.pts = round((begin + Fraction(index, 25)) * 90000)
            output.mux(video.encode(frame))
        for at in range(0, len(wave), size):
            frame = av.AudioFrame.from_ndarray(
                wave[None, at : at + size].astype(np.float32), "fltp", "mono"
            )
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = at + round(begin * RATE)
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
        output.mux(video.encode(None))
    return path.read_bytes()


def starts(path):
    """Return the times at which light and sound begin."""
    light = [(float(f.time), f.pixels.mean() > 0.5) for f in read_frames(path)]
    lit = [b[0] for a, b in zip([(0, False), *light], light, strict=False) if b[1] and not a[1]]
    loud = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            level = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1)
            at = frame.time + np.flatnonzero(level > 0.2) / RATE
            loud.extend(t for t in at[:1] if not loud or t - loud[-1][1] > 0.2)
            loud = [t if isinstance(t, list) else [t, t] for t in loud]
            if len(at):
                loud[-1][1] = at[-1]
    return lit, [begin for begin, _ in loud]


@pytest.mark.parametrize("second", [0, 5000, 30])
@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_joined_recordings_stay_in_step(tmp_path, caplog, second, name):
    path = tmp_path / "a.ts"
    path.write_bytes(bursts(tmp_path / "1.ts") + bursts(tmp_path / "2.ts", 3, Fraction(second)))
    target = copy(path, tmp_path / name)
    light, sound = starts(target)
    assert len(light) == len(sound) == 10
    assert np.abs(np.subtract(light, sound)).max() < 0.06
    if second != 30:
        assert light[-1] < 5
        (line,) = [m for m in caplog.messages if "time stamps break" in m]
        assert line.startswith(f"{target}: audio stream 1")


def test_a_range_after_a_break_has_its_sound(tmp_path):
    path = tmp_path / "a.ts"
    path.write_bytes(bursts(tmp_path / "1.ts") + bursts(tmp_path / "2.ts"))
    frames = list(read_frames(path, 60, 90))
    target = copy(path, tmp_path / "b.mp4", 60, 90, audio_start=frames[0].time)
    light, sound = starts(target)
    assert len(light) == 3
    assert np.abs(np.subtract(light, sound[-3:])).max() < 0.06


def test_sound_without_a_name_in_matroska_becomes_aac(tmp_path, caplog):
    path = tmp_path / "a.flv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("flv", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = output.add_stream("adpcm_swf", rate=44100, layout="mono")
        for index in range(25):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8))
            picture.pts, picture.time_base = index, Fraction(1, 25)
            output.mux(video.encode(picture))
        for at in range(0, 40960, 4096):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 44100, Fraction(1, 44100), at
            output.mux(sound.encode(frame))
        output.mux(video.encode(None))
    target = copy(path, tmp_path / "b.mkv")
    with av.open(str(target)) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
    assert [m for m in caplog.messages if "no name for adpcm_swf, so it becomes AAC" in m]


@pytest.mark.parametrize("wrong", [-1.0, 400.0, None])
def test_one_wrong_stamp_is_replaced(tmp_path, wrong):
    good = film(tmp_path / "a.mkv", ["ac3"])
    bad = tmp_path / "bad.mkv"
    with av.open(str(good)) as source, av.open(str(bad), "w") as output:
        ways = [output.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        for number, packet in enumerate(p for p in source.demux() if p.size):
            if packet.stream_index == 1 and number % 40 == 39 and wrong is not None:
                packet.pts = packet.dts = packet.pts + round(wrong * 1000)
            packet.stream = ways[packet.stream_index]
            with suppress(ValueError):
                output.mux(packet)
    before, after = packets(good), packets(copy(bad, tmp_path / "b.mp4"))
    assert len(after) >= len(before) - 3
    for time, data in after:  # silence is the same everywhere
        assert min(abs(time - at) for at, known in before if known == data) < Fraction(1, 10)


def test_what_the_muxer_refuses_is_a_gap(tmp_path, caplog, monkeypatch):
    source = film(tmp_path / "a.mp4")
    real = mux.VideoSink._write

    class Picky:
        def __init__(self, output):
            self._output, self._count = output, 0

        def __getattr__(self, name):
            return getattr(self._output, name)

        def mux(self, packet):
            self._count += packet.stream.type == "audio"
            if packet.stream.type == "audio" and self._count % 10 == 5:
                raise InvalidDataError(1, "Invalid data")
            self._output.mux(packet)

    def write(self, packet):
        if not isinstance(self._output, Picky):
            self._output = Picky(self._output)
        real(self, packet)

    monkeypatch.setattr(mux.VideoSink, "_write", write)
    target = copy(source, tmp_path / "b.mp4")
    assert len(packets(source)) > len(packets(target)) > 0.8 * len(packets(source))
    assert len(caplog.messages) == 1
    assert "packets of sound or subtitles that it cannot hold are left out" in caplog.messages[0]


@pytest.mark.parametrize("codec", sorted(_EMPTY))
def test_templates_of_subtitles(codec):
    with av.open(io.BytesIO(_EMPTY[codec])) as file:
        assert file.streams[0].codec_context.codec.canonical_name == codec
