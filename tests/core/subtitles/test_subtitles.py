"""Subtitles with depth: read from anything, in front of what they cover, drawn into both eyes."""

import io
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    pack_stereo,
    probe,
)
from dreamstereo_core.cli import main
from dreamstereo_core.pipeline import StereoPipeline
from dreamstereo_core.stream import Frame, Notes
from dreamstereo_core.subtitles import CaptionDepth, CaptionStyle, SubtitleOptions, Subtitles
from dreamstereo_core.subtitles.draw import bitmap_of, choose_font, draw_captions
from dreamstereo_core.subtitles.read import Event, decode_text, read_subtitle_file, read_subtitles
from dreamstereo_core.subtitles.settings import LoadedSubtitles, load_subtitles
from dreamstereo_core.types import Bars, Caption
from dreamstereo_core.video_io import read_frames
from tests.core.pictures import INFO, save

SRT = """1
00:00:00,200 --> 00:00:00,600
<i>Grüße, мир</i>

2
00:00:00,600 --> 00:00:00,900
Two
lines
"""
ASS = """[Script Info]
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.20,0:00:00.60,Default,,0,0,0,,{\\an8}Above\\Nit
Dialogue: 0,0:00:00.30,0:00:00.60,Default,,0,0,0,,Below
"""
STYLE = CaptionStyle()
FAST = EncodeOptions(preset="ultrafast")


def seconds(value):
    return Fraction(value).limit_denominator(1000)


def shown(begin=0.0, end=10.0, text="Hello there", top=False):
    return Subtitles([Event(seconds(begin), seconds(end), text, top)])


def film(path, tracks=(), frames=25, size=(96, 160)):
    """A film of noise in a second, with tracks of SubRip."""
    generator = torch.Generator().manual_seed(0)
    still = torch.rand(1, 3, *(n // 8 for n in size), generator=generator)
    still = torch.nn.functional.interpolate(still, size)
    plain = save(path.with_name(f"{path.stem}_plain.mp4"), still.expand(frames, -1, -1, -1))
    if not tracks:
        return plain.rename(path)
    with av.open(str(plain)) as source, av.open(str(path), "w") as output:
        pictures = output.add_stream_from_template(source.streams[0], opaque=True)
        texts = []
        for text in tracks:
            with av.open(io.BytesIO(text.encode()), format="srt") as file:
                stream = output.add_stream_from_template(file.streams[0])
                texts.append((stream, [packet for packet in file.demux() if packet.size]))
        for stream, packets in texts:
            for packet in packets:
                packet.stream = stream
                output.mux(packet)
        for packet in source.demux():
            if packet.size:
                packet.stream = pictures
                output.mux(packet)
    return path


class TestReading:
    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            ("utf-8", "Grüße, мир"),
            ("utf-8-sig", "Grüße, мир"),
            ("utf-16", "Grüße, мир"),
            ("cp1252", "Grüße, señor"),
            ("cp1251", "Привет, мир, как дела"),
        ],
    )
    def test_encodings_are_found_out(self, tmp_path, encoding, text):
        path = tmp_path / "film.srt"
        path.write_bytes(SRT.replace("Grüße, мир", text).encode(encoding))
        assert read_subtitle_file(path).events == [
            Event(seconds(0.2), seconds(0.6), text),
            Event(seconds(0.6), seconds(0.9), "Two\nlines"),
        ]

    def test_an_encoding_may_be_named(self, tmp_path):
        path = tmp_path / "film.srt"
        path.write_bytes(SRT.replace("Grüße, мир", "日本語").encode("shift_jis"))
        assert read_subtitle_file(path, "shift_jis").events[0].text == "日本語"
        with pytest.raises(VideoError, match="is not utf-8"):
            read_subtitle_file(path, "utf-8")
        with pytest.raises(VideoError, match="expected an encoding"):
            read_subtitle_file(path, "klingon")

    def test_what_no_encoding_explains_is_still_read(self, caplog):
        assert "Hello" in decode_text(b"Hello \x81\xff \xfe", None, "film.srt")
        assert "is not UTF-8" in caplog.text

    def test_ass_may_stand_at_the_top(self, tmp_path):
        path = tmp_path / "film.ass"
        path.write_text(ASS, "utf-8")
        subtitles = read_subtitle_file(path, begin=Fraction(5))
        assert subtitles.at(seconds(5.25)) == (("Above\nit", True),)
        assert subtitles.at(seconds(5.35)) == (("Below", False), ("Above\nit", True))
        assert subtitles.at(seconds(5.6)) == ()

    @pytest.mark.parametrize(
        ("name", "data"),
        [("a.srt", b""), ("a.srt", b"\0" * 500), ("a.ass", b"no subtitles"), ("a.vtt", b"WEBVTT"),
         ("a.txt", SRT.encode()), ("a.srt", SRT.encode()[:20])],
    )  # fmt: skip
    def test_no_subtitles_are_one_line(self, tmp_path, name, data):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(VideoError, match=str(path)):
            read_subtitle_file(path)
        with pytest.raises(VideoError, match="no such file"):
            read_subtitle_file(tmp_path / "none.srt")

    def test_a_track_of_the_film(self, tmp_path):
        path = film(tmp_path / "film.mkv", [SRT, SRT.replace("Two", "Zwei")])
        subtitles, stream = read_subtitles(path)
        assert stream == 1 and subtitles.at(seconds(0.7)) == (("Two\nlines", False),)
        subtitles, stream = read_subtitles(path, 1)
        assert stream == 2 and subtitles.at(seconds(0.7)) == (("Zwei\nlines", False),)
        with pytest.raises(VideoError, match="has 2 tracks of text subtitles, no 2"):
            read_subtitles(path, 2)
        with pytest.raises(VideoError, match="found none"):
            read_subtitles(film(tmp_path / "bare.mp4"))

    def test_two_at_once_stand_together(self):
        subtitles = Subtitles([*shown(0, 2, "a").events, *shown(1, 3, "b").events])
        assert [subtitles.at(seconds(t)) for t in (0.5, 1.5, 2.5, 3.5)] == [
            (("a", False),), (("a\nb", False),), (("b", False),), ()]  # fmt: skip


class TestDrawing:
    def test_nothing_but_the_text_changes(self):
        left, right = torch.rand(2, 1, 3, 120, 200).unbind(0)
        made = draw_captions(left, right, [Caption("Hello", False, 6.4)], STYLE)
        x0, y0, x1, y1 = bitmap_of("Hello", False, (200, 120), STYLE).box
        for eye, before, shift in zip(made, (left, right), (3.2, -3.2), strict=True):
            changed = (eye != before).any(1)[0]
            rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
            assert y0 <= rows.min() and rows.max() < y1
            assert x0 + shift - 1 <= columns.min() and columns.max() < x1 + shift + 1
            assert 50 < changed.sum() < 1000
        assert draw_captions(left, right, [], STYLE) == (left, right)

    @pytest.mark.parametrize("disparity", [0.0, 4.0, 5.3, -2.5])
    def test_the_eyes_see_it_at_its_disparity(self, disparity):
        grey = torch.full((1, 3, 120, 200), 0.5)
        left, right = draw_captions(grey, grey, [Caption("Hello", False, disparity)], STYLE)
        places = [
            ((eye - 0.5).abs().sum((0, 1, 2)) * torch.arange(200.0)).sum() / (eye - 0.5).abs().sum()
            for eye in (left, right)
        ]
        assert float(places[0] - places[1]) == pytest.approx(disparity, abs=0.15)

    def test_long_lines_are_broken_and_stay_inside(self):
        text = "This line is a good deal too long for a frame so small " + "x" * 80
        for top in (False, True):
            x0, y0, x1, y1 = bitmap_of(text, top, (200, 160), STYLE).box
            assert x0 >= 0 and x1 <= 200 and y0 >= 0 and y1 <= 160
            assert (y0 < 20) is top

    def test_white_is_what_the_style_says(self):
        black = torch.zeros(1, 3, 600, 800)
        dim = replace(STYLE, white=0.58)
        left, _ = draw_captions(black, black, [Caption("Hello", True, 0.0)], dim)
        assert float(left.max()) == pytest.approx(0.58)

    def test_a_frame_smaller_than_its_text(self):
        tiny = torch.rand(1, 3, 4, 5)
        left, right = draw_captions(tiny, tiny, [Caption("Hello\nyou", False, 40.0)], STYLE)
        assert left.shape == right.shape == tiny.shape

    def test_fonts(self, tmp_path, caplog):
        assert choose_font(set("Hello"), None) is None and not caplog.text
        choose_font(set("\U0001f9ff"), None)  # no usual font has it
        assert "sign for" in caplog.text or "drawn with" in caplog.text
        wrong = tmp_path / "font.ttf"
        wrong.write_text("no font")
        with pytest.raises(VideoError, match="cannot be read as a font"):
            choose_font({"a"}, str(wrong))


RATE = 24.0
MARGIN = 0.002 * 200


def frames(*levels, new_shots=(0,)):
    """Frames whose lower half is at these disparities, of 200 x 120 pixels."""
    for number, level in enumerate(levels):
        depth = torch.zeros(1, 1, 60, 100)
        depth[..., 30:, :] = level / 2  # the depth has half of the size
        yield Frame(torch.zeros(3, 120, 200), Fraction(number, 24), number in new_shots,
                    inverse_depth=depth)  # fmt: skip


def disparities(made, subtitles=None):
    stage = CaptionDepth(subtitles or shown(), STYLE, lambda frame: frame.inverse_depth, RATE)
    return [frame.captions[0].disparity for frame in stage.stream(made) if frame.captions]


class TestDepth:
    def test_it_is_in_front_of_what_it_covers_and_of_the_screen(self):
        assert disparities(frames(3.0)) == pytest.approx([3.0 + MARGIN])
        assert disparities(frames(-3.0)) == pytest.approx([MARGIN])
        top = disparities(frames(3.0), shown(top=True))
        assert top == pytest.approx([MARGIN])  # the near things are below

    def test_it_is_never_behind_and_moves_slowly(self):
        levels = [0.0] * 10 + [1.8] * 10 + [0.0] * 30
        found = disparities(frames(*levels))
        assert all(d >= level + MARGIN - 1e-6 for d, level in zip(found, levels, strict=True))
        steps = [b - a for a, b in pairwise(found)]
        assert max(steps) <= 0.04 * 200 / RATE + 1e-6  # as it knows what comes
        assert min(steps) == pytest.approx(-0.01 * 200 / RATE)
        assert found[0] == pytest.approx(MARGIN) and found[-1] < found[20]

    def test_what_jumps_it_jumps_with(self):
        found = disparities(frames(*[0.0] * 10, *[9.0] * 3))
        assert found[10] == pytest.approx(9.0 + MARGIN) and found[9] < found[10]

    def test_at_a_cut_it_begins_anew(self):
        levels = [3.0] * 8 + [0.0] * 8
        found = disparities(frames(*levels, new_shots=(0, 8)))
        assert found == pytest.approx([level + MARGIN for level in levels])
        rising = disparities(frames(*levels[::-1], new_shots=(0, 8)))
        assert rising[:8] == pytest.approx([MARGIN] * 8)  # it does not look across

    def test_in_bars_it_lies_on_the_screen(self):
        bars = Bars(bottom=30)
        made = [replace(f, inverse_depth=f.inverse_depth[..., :45, :]) for f in frames(5.0)]
        assert disparities([replace(f, bars=bars) for f in made]) == pytest.approx([MARGIN])

    def test_another_run_goes_on_with_it(self):
        levels = [0.0, 4.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0]
        whole = disparities(frames(*levels))
        notes = Notes()
        marked = [replace(f, notes=notes) if n == 3 else f for n, f in enumerate(frames(*levels))]
        assert disparities(marked) == whole
        rest = list(frames(*levels))[3:]
        rest[0] = replace(rest[0], notes=Notes(read=notes.written))
        assert disparities(rest) == whole[3:]


def stereo(subtitles, **options):
    """Convert three frames; return the views."""
    generator = torch.Generator().manual_seed(1)
    still = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 20, generator=generator), (96, 160)
    )
    pipeline = StereoPipeline(
        load_depth("cues"), ClassicInpainter(), ConvertOptions(**options), subtitles=subtitles
    )
    (chunk,) = pipeline.convert([still[0]] * 3)
    return chunk


@pytest.mark.parametrize("eye", ["right", "left"])
def test_a_conversion_draws_it_and_changes_nothing_else(eye):
    loaded = LoadedSubtitles(shown(0.03, 0.07), STYLE)
    usual, drawn = stereo(None, eye=eye), stereo(loaded, eye=eye)
    x0, y0, x1, y1 = bitmap_of("Hello there", False, (160, 96), STYLE).box
    for name in ("left", "right"):
        before, after = getattr(usual, name), getattr(drawn, name)
        assert torch.equal(before[[0, 2]], after[[0, 2]])  # 1/24 s is shown, 0 and 2/24 are not
        assert not torch.equal(before[1], after[1])
        around = torch.ones(96, 160, dtype=torch.bool)
        around[y0:y1, max(0, x0 - 8) : x1 + 8] = False
        assert torch.equal(before[1][:, around], after[1][:, around])
    assert torch.equal(usual.inverse_depth, drawn.inverse_depth)
    for layout in ("half_sbs", "full_tb", "anaglyph"):
        pictures = [pack_stereo(c.left, c.right, layout) for c in (usual, drawn)]
        assert not torch.equal(*pictures)


class TestFiles:
    def convert(self, source, target, options=None, **how):
        fill = ClassicInpainter(reach=(1,))
        return convert_file(source, target, depth=load_depth("cues"), inpainter=fill, encode=FAST,
                            subtitles=options, **how)  # fmt: skip

    def languages(self, path):
        with av.open(str(path)) as container:
            return len(container.streams.subtitles)

    def test_the_track_that_is_drawn_does_not_come_along(self, tmp_path):
        source = film(tmp_path / "film.mkv", [SRT, SRT])
        self.convert(source, tmp_path / "kept.mkv", frames=(0, 8))
        assert self.languages(tmp_path / "kept.mkv") == 2
        self.convert(source, tmp_path / "burned.mkv", SubtitleOptions("burn"), frames=(0, 8))
        assert self.languages(tmp_path / "burned.mkv") == 1
        assert self.decoded(tmp_path / "burned.mkv").shape == (8, 3, 96, 320)

    def test_pieces_show_the_same_subtitles(self, tmp_path):
        source = film(tmp_path / "film.mkv", [SRT], frames=20)
        burn = SubtitleOptions("burn")
        self.convert(source, tmp_path / "whole.mkv", burn, piece=None)

        def on_progress(progress):
            if progress.done >= 9:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            self.convert(source, tmp_path / "ended.mkv", burn, piece=0.3, on_progress=on_progress)
        with pytest.raises(VideoError, match="subtitles"):
            self.convert(source, tmp_path / "ended.mkv", piece=0.3)
        self.convert(source, tmp_path / "ended.mkv", burn, piece=0.3)
        one, other = (self.decoded(tmp_path / f"{name}.mkv") for name in ("whole", "ended"))
        # Pieces are encoded one by one, so that they differ by the codec's rounding only.
        assert one.shape == other.shape and (one - other).abs().mean() < 0.01

    def decoded(self, path):
        return torch.stack([frame.pixels for frame in read_frames(path)])

    def test_a_file_counts_from_the_films_first_frame(self, tmp_path):
        path = tmp_path / "film.srt"
        path.write_text(SRT, "utf-8")
        source = film(tmp_path / "film.mp4", frames=3)
        options = SubtitleOptions("burn", subtitle_file=str(path))
        loaded = load_subtitles(options, source, probe(source))
        assert loaded is not None and loaded.stream is None
        assert loaded.subtitles.events[0].begin == seconds(0.2)
        bright = replace(INFO, color=replace(INFO.color, transfer=16))
        assert load_subtitles(options, source, bright).style.white == 0.58

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"subtitles": "paint"}, "subtitles: expected"),
            ({"subtitles": "burn", "subtitle_size": 0}, "subtitle_size: expected"),
            ({"subtitle_file": "a.srt"}, "subtitle_file: is for subtitles that are drawn"),
        ],
    )
    def test_wrong_options(self, given, message):
        with pytest.raises(ValueError, match=message):
            SubtitleOptions(**given)

    def test_the_command(self, tmp_path, capsys):
        source = film(tmp_path / "film.mp4", frames=2)
        target, text = tmp_path / "out.mp4", tmp_path / "a.srt"
        text.write_text(SRT.replace("00:00:00,200", "00:00:00,000"), "utf-8")
        how = ["--depth", "embedded", "--fill", "classic", "--quiet"]
        burn = ["--subtitles", "burn", "--subtitle-file", str(text)]
        assert main(["convert", str(source), str(target), *burn, *how]) == 0
        assert target.exists()
        assert main(["convert", str(source), str(target), "--overwrite", *burn[:2], *how]) == 1
        assert main(["convert", str(source), str(target), *burn[2:], *how]) == 2
        assert "found none" in capsys.readouterr().err
        assert main(["convert", str(tmp_path / "*.mp4"), *burn, *how]) == 2
        assert "belongs to one film" in capsys.readouterr().err
