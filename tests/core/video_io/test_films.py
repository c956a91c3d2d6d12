"""Films as people have them: several streams, fields, stamps by ticks, two eyes, deep or large."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    DecodeOptions,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    probe,
    read_frames,
)
from dreamstereo_core.video_io.encode_options import resolve_codec

from ..picture_files import write_film
from ..pictures import INFO, bars, ramp, save, times


def plain(count, height=48, width=64):
    """Frames that name their own index by their level."""
    return [np.full((height, width, 3), 20 + 10 * i, np.uint8) for i in range(count)]


def indices(path, **options):
    """Return which of `plain` each frame is."""
    frames = read_frames(path, options=DecodeOptions(**options))
    return [round((float(f.pixels.mean()) * 255 - 20) / 10) for f in frames]


class TestStreams:
    def two(self, path, *, default, sizes=((64, 48), (128, 96)), counts=(3, 3)):
        with av.open(str(path), "w") as output:
            streams = []
            for i, (width, height) in enumerate(sizes):
                stream = output.add_stream("libx264", rate=25)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.disposition = av.stream.Disposition.default.value * (i in default)
                streams.append(stream)
            for stream, count in zip(streams, counts, strict=True):
                for picture in plain(count, stream.height, stream.width):
                    output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
                output.mux(stream.encode(None))
        return path

    @pytest.mark.parametrize(("default", "width"), [([0], 64), ([1], 128), ([0, 1], 128)])
    def test_the_default_one_goes_before_the_larger_one(self, tmp_path, default, width):
        path = self.two(tmp_path / "a.mkv", default=default)
        assert probe(path).width == width
        assert next(read_frames(path)).pixels.shape[2] == width

    def test_a_thumbnail_is_no_film(self, tmp_path):
        path = self.two(tmp_path / "a.mp4", default=[0, 1], sizes=((128, 96), (64, 48)),
                        counts=(1, 3))  # fmt: skip
        assert probe(path).width == 64


class TestInterlaced:
    def film(self, path, **options):
        """Weave an edge that moves by 6 pixels a field, top field first."""
        frames = []
        for i in range(8):
            fields = []
            for field in (2 * i, 2 * i + 1):
                picture = np.full((48, 96, 3), 40, np.uint8)
                picture[:, : 6 + 5 * field] = 200
                fields.append(picture)
            fields[0][1::2] = fields[1][1::2]
            frames.append(fields[0])
        return write_film(path, frames, **options)

    def combs(self, path, **options):
        frames = torch.stack(
            [f.pixels for f in read_frames(path, options=DecodeOptions(**options))]
        )
        lines = (frames[:, :, 1:-1] - (frames[:, :, 2:] + frames[:, :, :-2]) / 2).abs()
        return float(lines.mean())

    def test_tagged_frames_become_whole_pictures(self, tmp_path, caplog):
        path = self.film(tmp_path / "a.mp4", options={"x264-params": "tff=1", "crf": "4"})
        assert self.combs(path) < self.combs(path, deinterlace="off") / 5
        assert caplog.text.count("is interlaced") == 1
        times = [frame.time for frame in read_frames(path)]
        assert times == [Fraction(i, 25) for i in range(8)]
        assert [f.time for f in read_frames(path, 3, 5)] == times[3:5]

    def test_untagged_ones_only_when_asked(self, tmp_path, caplog):
        path = self.film(tmp_path / "a.mp4", options={"crf": "4"})
        combed = self.combs(path)
        assert not caplog.text
        assert self.combs(path, deinterlace="on") < combed / 5


class TestTimes:
    def test_avi_with_b_frames_begins_at_0_in_order(self, tmp_path):
        path = write_film(tmp_path / "a.avi", plain(10), options={"bf": "2", "crf": "4"})
        assert [frame.time for frame in read_frames(path)] == [Fraction(i, 25) for i in range(10)]
        assert indices(path) == list(range(10))

    def test_a_constant_rate_by_milliseconds_is_even_again(self, tmp_path):
        rate = Fraction(24000, 1001)
        path = write_film(tmp_path / "a.mkv", plain(9), rate=rate)
        times = [frame.time for frame in read_frames(path)]
        assert {b - a for a, b in pairwise(times)} == {1 / rate}
        (made,) = convert(path, tmp_path / "a.mp4")
        with av.open(str(made)) as file:
            stamps = sorted(p.pts * p.time_base for p in file.demux(video=0) if p.pts is not None)
        assert {b - a for a, b in pairwise(stamps)} == {1 / rate}

    def test_a_variable_rate_stays_as_it_is(self, tmp_path):
        at = [Fraction(n, 1000) for n in (0, 40, 95, 130, 190, 230)]
        path = write_film(tmp_path / "a.mkv", plain(6), at=at, base=Fraction(1, 1000))
        assert [frame.time for frame in read_frames(path)] == at


class TestTwoEyes:
    def film(self, path, layout, **options):
        left, right = np.full((48, 64, 3), 40, np.uint8), np.full((48, 64, 3), 200, np.uint8)
        frame = np.concatenate([left, right], 1 if layout == "sbs" else 0)
        return write_film(path, [frame] * 3, **options)

    def levels(self, path, **options):
        return round(
            float(next(read_frames(path, options=DecodeOptions(**options))).pixels.mean() * 255)
        )

    def test_matroska_says_so(self, tmp_path, caplog):
        path = self.film(tmp_path / "a.mkv", "sbs", metadata={"stereo_mode": "right_left"})
        assert self.levels(path) == 120
        assert "is 3D already (side by side) by its tags" in caplog.text
        caplog.clear()
        assert self.levels(path, source_eye="right") == pytest.approx(40, abs=1)
        assert self.levels(path, source_eye="left") == pytest.approx(200, abs=1)
        assert self.levels(path, source_layout="2d") == 120
        assert not caplog.text

    def test_h264_says_so(self, tmp_path, caplog):
        path = self.film(tmp_path / "a.mp4", "tb", options={"x264-params": "frame-packing=4"})
        assert self.levels(path, source_eye="right") == pytest.approx(200, abs=1)
        list(read_frames(path))
        assert "is 3D already (top-bottom)" in caplog.text

    @pytest.mark.parametrize(
        ("size", "eye", "aspect"), [((128, 36), (64, 36), 1), ((64, 36), (32, 36), 2)]
    )
    def test_a_squeezed_eye_keeps_its_shape(self, tmp_path, size, eye, aspect):
        frames = [np.zeros((size[1], size[0], 3), np.uint8)] * 2
        path = write_film(tmp_path / "a.mp4", frames)
        info = probe(path, DecodeOptions(source_eye="left", source_layout="sbs"))
        assert (info.width, info.height) == eye
        assert info.pixel_aspect == aspect
        (made,) = convert(path, tmp_path / "b.mp4", DecodeOptions("auto", "black", "left", "sbs"))
        assert probe(made).width == 2 * eye[0]

    def test_an_eye_of_a_film_without_tags_is_refused(self, tmp_path):
        path = write_film(tmp_path / "a.mp4", plain(2))
        with pytest.raises(
            VideoError, match=r"source_eye: expected tags .* source_layout: sbs or tb"
        ):
            probe(path, DecodeOptions(source_eye="left"))


class TestCodec:
    @pytest.mark.parametrize(
        ("bits", "size", "container", "codec"),
        [
            *((8, (3840, 2160), "mp4", "h264"), (8, (4096, 2160), "mp4", "h264")),
            *((8, (7680, 2160), "mp4", "hevc"), (8, (1920, 4320), "matroska", "hevc")),
            *((10, (640, 360), "mp4", "hevc"), (8, (640, 360), "webm", "av1")),
        ],
    )
    def test_auto_takes_what_devices_play(self, bits, size, container, codec):
        assert resolve_codec(EncodeOptions(), bits, size, container) == codec
        assert resolve_codec(EncodeOptions(codec="h264"), bits, size, container) == "h264"

    def test_a_deep_source_becomes_hevc(self, tmp_path):
        path = write_film(tmp_path / "a.mkv", plain(2), codec="ffv1", pixels="yuv420p10le")
        (made,) = convert(path, tmp_path / "a.mp4")
        with av.open(str(made)) as file:
            context = file.streams.video[0].codec_context
            assert (context.name, context.pix_fmt) == ("hevc", "yuv420p10le")

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_hevc_of_few_pictures(self, tmp_path, count):
        encode = EncodeOptions("hevc", preset="ultrafast")
        path = save(tmp_path / "a.mp4", ramp(count), INFO, encode)
        assert [frame.time for frame in read_frames(path)] == times(count)

    def test_x265_looks_less_far_ahead_on_large_pictures(self, tmp_path, monkeypatch):
        def parameters(preset=None):
            encode = EncodeOptions("hevc", preset=preset)
            path = save(tmp_path / "a.mkv", ramp(2), INFO, encode, overwrite=True)
            return path.read_bytes()  # x265 notes them there

        assert b"rc-lookahead=20" in parameters()
        monkeypatch.setattr("dreamstereo_core.video_io.encoder._LARGE_PIXELS", 1)
        assert b"rc-lookahead=5" in parameters()
        assert b"rc-lookahead=25" in parameters("slow")

    @pytest.mark.parametrize("codec", ["h264", "hevc"])
    def test_whole_chroma_keeps_thin_colours(self, tmp_path, codec):
        picture = bars(48)[:, :, ::8].repeat_interleave(2, 2)  # bars of four pixels
        errors = []
        for chroma in ("420", "444"):
            encode = EncodeOptions(codec, crf=1, preset="ultrafast", chroma=chroma)
            path = save(tmp_path / f"{chroma}.mp4", picture[None], INFO, encode)
            errors.append((next(read_frames(path)).pixels - picture).abs().max())
            with av.open(str(path)) as file:
                assert file.streams.video[0].codec_context.pix_fmt == f"yuv{chroma}p"
        assert errors[1] < 0.03 < errors[0]


def convert(source, target, decode=None):
    return convert_file(
        source,
        target,
        depth=load_depth("cues"),
        inpainter=ClassicInpainter(reach=(1,)),
        encode=EncodeOptions(preset="ultrafast"),
        decode=decode,
    )
