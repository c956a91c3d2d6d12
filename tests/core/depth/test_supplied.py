"""Supplied depth: floats, distances, bands, what does not fit, what looks inverted."""

import sys
from dataclasses import replace
from fractions import Fraction
from typing import cast

import av
import numpy as np
import pytest
import torch
from av.codec import CodecContext
from av.video.codeccontext import VideoCodecContext

from dreamstereo_core import ClassicInpainter, ConvertOptions, StereoPipeline, load_depth
from dreamstereo_core.depth import ClipDepth, DepthError
from dreamstereo_core.depth.deband import deband
from dreamstereo_core.preview import preview_picture
from dreamstereo_core.shots import Bars
from dreamstereo_core.stream import Frame
from dreamstereo_core.video_io import (
    EncodeOptions,
    VideoError,
    count_frames,
    probe,
    read_frames,
)

from ..picture_files import mutants, write_film
from ..picture_files import write_exr as write_channels
from ..pictures import INFO, ramp, save, times
from ..shots.test_bars import boxed, picture
from .test_depth import write_pngs

H, W = 24, 32
CLEAN = EncodeOptions(crf=1, preset="ultrafast")


def write_exr(path, values, pixel_format="grayf32le"):
    """Write one EXR from floats ``[h, w]``; of three channels, the first one (red) has them."""
    height, width = values.shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane in frame.planes:
        np.frombuffer(plane, np.float32)[:] = 0
    plane = frame.planes[0 if pixel_format == "grayf32le" else 2]
    lines = np.frombuffer(plane, np.float32).reshape(height, -1)
    lines[:, :width] = values
    encoder = cast(VideoCodecContext, CodecContext.create("exr", "w"))
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixel_format
    encoder.time_base = Fraction(1, 25)
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))
    return path


def exr_folder(folder, frames, **options):
    folder.mkdir()
    for i, values in enumerate(frames):
        write_exr(folder / f"{i:03d}.exr", values, **options)
    return folder


def wall_and_box(frames=1, near=2.0, far=40.0):
    """Distances: a box before a wall, both far beyond 1."""
    meters = np.full((frames, H, W), far, np.float32)
    meters[:, 8:20, 8:20] = near
    return meters


class TestFloats:
    @pytest.mark.parametrize("pixel_format", ["grayf32le", "gbrpf32le"])
    def test_metres_become_inverse_depth_on_one_scale(self, tmp_path, pixel_format):
        folder = exr_folder(tmp_path / "d", wall_and_box(3), pixel_format=pixel_format)
        depth = load_depth(folder, metric=True)
        raw, _ = depth.predict(torch.rand(3, 3, H, W))
        assert raw.unique().tolist() == pytest.approx([1 / 40, 1 / 2])
        assert not depth.normalized
        made = depth.estimate(torch.rand(1, 3, H, W).repeat(3, 1, 1, 1))
        assert made.unique().tolist() == [0, 1]
        assert made[0, 0, 12, 12] == 1

    def test_a_z_alone_is_read(self, tmp_path):
        path = write_exr(tmp_path / "d.exr", wall_and_box()[0])
        video = torch.rand(1, 3, H, W)
        expected, _ = load_depth(path, metric=True).predict(video)
        content = path.read_bytes()
        assert content.count(b"\0Y\0") == 1
        path.write_bytes(content.replace(b"\0Y\0", b"\0Z\0"))
        raw, _ = load_depth(path, metric=True).predict(video)
        assert torch.equal(raw, expected)
        assert raw.unique().tolist() == pytest.approx([1 / 40, 1 / 2])

    def test_inverse_depth_of_any_scale_and_its_opposite(self, tmp_path):
        path = write_exr(tmp_path / "d.exr", wall_and_box(near=900, far=-5)[0])
        video = torch.rand(2, 3, H, W)
        plain, inverted = (load_depth(path, invert=i).estimate(video) for i in (False, True))
        assert plain[0, 0, 12, 12] == 1
        assert torch.equal(inverted, 1 - plain)

    def test_infinitely_far_is_far_and_nan_is_named(self, tmp_path):
        meters = wall_and_box()[0]
        meters[:4] = np.inf
        depth = load_depth(write_exr(tmp_path / "a.exr", meters), metric=True)
        assert depth.estimate(torch.rand(1, 3, H, W))[0, 0, 0, 0] == 0
        meters[0] = np.nan
        depth = load_depth(write_exr(tmp_path / "b.exr", meters), metric=True)
        with pytest.raises(ValueError, match="expected finite values, got 32"):
            depth.estimate(torch.rand(1, 3, H, W))

    def test_distances_in_integers(self, tmp_path):
        millimeters = wall_and_box(2, near=1000, far=20000)
        depth = load_depth(write_pngs(tmp_path / "d", millimeters, bits=16), metric=True)
        made = depth.estimate(torch.rand(1, 3, H, W).repeat(2, 1, 1, 1))
        assert made[0, 0, 12, 12] == 1
        assert made[0, 0, 0, 0] == 0

    def test_a_float_picture_is_no_film(self, tmp_path):
        path = write_exr(tmp_path / "d.exr", wall_and_box()[0])
        with pytest.raises(VideoError, match=r"d\.exr: expected integer pixels, got floats"):
            next(read_frames(path))

    def test_metric_and_invert_exclude_one_another_and_want_a_file(self, tmp_path):
        path = write_exr(tmp_path / "d.exr", wall_and_box()[0])
        with pytest.raises(ValueError, match="invert: expected either invert or metric"):
            load_depth(path, invert=True, metric=True)
        with pytest.raises(ValueError, match="metric: expected a depth file"):
            load_depth("embedded", metric=True)


def images(tmp_path, count):
    """A film as images of which only the number matters."""
    folder = tmp_path / f"film{count}"
    folder.mkdir()
    for i in range(count):
        (folder / f"{i}.png").touch()
    return folder


def stepped(path, count, rate):
    """Depth that grows by 4 of 255 with each frame."""
    levels = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 12, 16) * 4 / 255
    at = times(count, rate)
    return save(path, levels, replace(INFO, frame_rate=Fraction(rate)), CLEAN, at)


class TestLength:
    def test_what_is_longer_is_used_as_far_as_the_film_goes(self, tmp_path):
        folder = write_pngs(tmp_path / "d", np.full((7, H, W), 51))
        assert load_depth(folder).estimate(torch.rand(3, 3, H, W)).shape[0] == 3

    @pytest.mark.parametrize("kind", ["png", "exr"])
    def test_what_is_shorter_is_an_error_with_both_counts(self, tmp_path, kind):
        write = write_pngs if kind == "png" else exr_folder
        depth = load_depth(write(tmp_path / "d", wall_and_box(4)), start=1)
        pipeline = StereoPipeline(depth, ClassicInpainter(reach=(1, 2)))
        with pytest.raises(DepthError, match=r"d: expected .* got 4 for at least 6"):
            list(pipeline.convert(torch.rand(1, 3, H, W).repeat(5, 1, 1, 1)))

    @pytest.mark.parametrize(("have", "whole"), [(17, 18), (119, 120), (16, 18)])
    def test_a_few_missing_hold_the_last_one(self, tmp_path, caplog, have, whole):
        values = np.arange(have)[:, None, None] + np.zeros((have, 3, 4))
        film = replace(INFO, frame_count=whole, source=images(tmp_path, whole))
        depth = load_depth(write_pngs(tmp_path / "d", values)).for_film(film)
        made, _ = depth.predict(torch.rand(whole, 3, 3, 4))
        levels = (made[:, 0, 2, 2] * 255).round().tolist()
        assert levels == [*range(have), *[have - 1] * (whole - have)]
        (line,) = caplog.messages
        assert f"has {have} frames for {whole}; the last one is repeated" in line

    def test_many_missing_are_refused_at_the_door(self, tmp_path):
        film = replace(INFO, frame_count=40, source=images(tmp_path, 40))
        depth = load_depth(write_pngs(tmp_path / "d", np.zeros((30, 4, 4))))
        with pytest.raises(DepthError, match="each of the film's 40 frames, got 30"):
            depth.for_film(film)
        assert depth.for_film(film, 30)

    def test_a_count_that_nobody_wrote_down_is_counted(self, tmp_path):
        """Matroska has no number of frames; a cut download has the whole film's."""
        for name in ("a.mkv", "a.mp4"):
            film = save(tmp_path / name, ramp(20, 16, 16), INFO)
            assert count_frames(film) == 20
        assert load_depth(tmp_path / "a.mkv").for_film(probe(tmp_path / "a.mp4"))

    @pytest.mark.parametrize(
        ("rate", "count", "expected"),
        [(12, 12, [0, 0, 1, 1, 2, 2, 3, 3]), (48, 48, [0, 2, 4, 6, 8, 10, 12, 14])],
    )
    def test_another_rate_is_matched_by_time(self, tmp_path, caplog, rate, count, expected):
        path = stepped(tmp_path / "depth.mkv", count, rate)
        film = replace(INFO, frame_rate=Fraction(24), frame_count=24, source=images(tmp_path, 24))
        depth = load_depth(path).for_film(film)
        made, _ = depth.predict(torch.rand(24, 3, 16, 16))
        assert (made[:8].mean((1, 2, 3)) * 255 / 4).round().tolist() == expected
        assert [m for m in caplog.messages if "matched by time" in m]
        later, _ = depth.from_frame(4).predict(torch.rand(4, 3, 16, 16))
        torch.testing.assert_close(later, made[4:8])
        uneven = [Frame(torch.rand(3, 16, 16), time) for time in (Fraction(5), Fraction(11, 2))]
        made = torch.cat(list(load_depth(path).for_film(film).stream(uneven)))
        assert (made.mean((1, 2, 3)) * 255 / 4).round().tolist() == [0, rate / 2]

    def test_equal_numbers_belong_together_whatever_the_rate(self, tmp_path, caplog):
        path = stepped(tmp_path / "depth.mkv", 24, 10)
        film = replace(INFO, frame_rate=Fraction(24), frame_count=24, source=images(tmp_path, 24))
        made, _ = load_depth(path).for_film(film).predict(torch.rand(8, 3, 16, 16))
        assert (made.mean((1, 2, 3)) * 255 / 4).round().tolist() == list(range(8))
        assert not caplog.messages

    def test_another_rate_that_is_too_short_is_refused(self, tmp_path):
        path = stepped(tmp_path / "depth.mkv", 30, 12)
        film = replace(INFO, frame_rate=Fraction(24), frame_count=99, source=images(tmp_path, 99))
        with pytest.raises(DepthError, match="each of the film's 99 frames, got 30"):
            load_depth(path).for_film(film)

    @pytest.mark.parametrize("size", [(12, 16), (48, 64), (30, 31)])
    def test_another_size(self, tmp_path, size):
        values = np.zeros((1, *size))
        values[:, :, size[1] // 2 :] = 255
        video = torch.full((1, 3, H, W), 0.5)
        depth = load_depth(write_pngs(tmp_path / "d", values)).estimate(video)
        assert depth.shape == (1, 1, H, W)
        assert depth[..., : W // 2 - 3].max() < 0.05
        assert depth[..., W // 2 + 3 :].min() > 0.95

    def test_a_clip_in_memory_that_is_too_short(self):
        with pytest.raises(DepthError, match="got 2 for at least 3"):
            ClipDepth(torch.rand(2, 1, 4, 4)).predict(torch.rand(3, 3, 4, 4))


@pytest.mark.parametrize("bars", [Bars(12, 12, 0, 0), Bars(0, 0, 20, 20)])
@pytest.mark.parametrize("kind", ["png", "exr"])
def test_bars_are_cropped_from_a_supplied_depth(tmp_path, bars, kind):
    film = boxed(picture(3), bars)
    inner = (picture(3).mean(1) * 60000).round().numpy()
    whole = bars.pad(torch.from_numpy(inner)[:, None], 0)[:, 0].numpy()
    made = []
    for name, video, depth in (("whole", film, whole), ("inner", picture(3), inner)):
        options = {"bits": 16} if kind == "png" else {}
        write = write_pngs if kind == "png" else exr_folder
        source = load_depth(write(tmp_path / name, depth, **options))
        pipeline = StereoPipeline(source, ClassicInpainter(reach=(1, 2)))
        made.append(torch.cat([chunk.inverse_depth for chunk in pipeline.convert(video)]))
    assert torch.equal(bars.crop(made[0]), made[1])


class TestBands:
    def terraces(self, step=1 / 255, slope=1 / 2550):
        exact = 0.2 + slope * torch.arange(640.0).expand(1, 1, 60, 640)
        return exact, (exact / step).round() * step

    def test_terraces_become_a_slope(self):
        exact, banded = self.terraces()
        smooth = deband(banded, 1 / 255)
        inside = [x[..., 20:-20] for x in (exact, banded, smooth)]
        jumps = [(x[..., 1:] - x[..., :-1]).max().item() for x in inside]
        assert jumps[1] > 9 * jumps[0]
        assert jumps[2] < 2.5 * jumps[0]
        assert (smooth - banded).abs().max() <= 0.5 / 255 + 1e-6

    def test_an_edge_stays(self):
        wall = torch.full((1, 1, 60, 640), 0.2)
        wall[..., 300:] = 0.6
        torch.testing.assert_close(deband(wall, 1 / 255), wall, atol=2e-3, rtol=0)

    def test_eight_bits_are_debanded_and_sixteen_are_not(self, tmp_path):
        levels = np.round(np.linspace(50, 60, 400))[None, None].repeat(20, 1)
        eight = load_depth(write_pngs(tmp_path / "a", levels))
        sixteen = load_depth(write_pngs(tmp_path / "b", levels * 257, bits=16))
        a, b = (depth.predict(torch.rand(1, 3, 20, 400))[0] for depth in (eight, sixteen))
        assert len(b.unique()) == 11
        assert len(a[0, 0, 10].unique()) > 150


class TestInversion:
    def film(self, tmp_path, near_is):
        """A box on a floor; its depth in a file with `near_is` 0 or 255."""
        y = torch.linspace(0, 1, 48).view(-1, 1).expand(48, 80)
        depth = 0.1 + 0.6 * y
        depth[16:40, 30:50] = 0.9
        video = (0.3 + 0.4 * y).expand(1, 3, 48, 80).clone()
        video[..., 16:40, 30:50] = torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
        values = (depth if near_is else 1 - depth).numpy() * 65535
        folder = write_pngs(tmp_path / "d", values[None].repeat(50, 0), bits=16)
        return folder, video.expand(50, -1, -1, -1)

    @pytest.mark.parametrize(("near_is", "warnings"), [(0, 1), (255, 0)])
    def test_it_is_only_ever_a_warning(self, tmp_path, caplog, near_is, warnings):
        folder, video = self.film(tmp_path, near_is)
        depth, state, parts = load_depth(folder), None, []
        for part in video.split(10):
            raw, state = depth.predict(part, state)
            parts.append(raw)
        assert [record.message for record in caplog.records] == [
            f"{folder}: near and far look exchanged; if they are, invert the depth"
        ] * warnings
        assert (parts[0][0, 0, 0, 0] > 0.5) == (near_is == 0)  # the file's own values

    def test_a_few_frames_say_nothing(self, tmp_path, caplog):
        folder, video = self.film(tmp_path, 0)
        load_depth(folder).predict(video[:12])
        assert caplog.records == []


def test_a_preview_shows_each_sample_with_its_own_depth(tmp_path):
    film = (np.random.default_rng(0).random((1, H, W)) * 200 + 20).repeat(8, 0)
    depth = np.arange(8)[:, None, None] * 30 + np.zeros((8, H, W))
    sheet = preview_picture(
        write_pngs(tmp_path / "film", film),
        depth=load_depth(write_pngs(tmp_path / "depth", depth)),
        inpainter=ClassicInpainter(reach=(1, 2)),
        options=ConvertOptions(),
        count=4,
    )
    columns = sheet[0, 0, 360:720].view(360, 4, 480).mean(dim=(0, 2))
    assert (columns * 255).tolist() == pytest.approx([30, 90, 150, 210], abs=1)


class TestColors:
    """Depth in false colours."""

    def film(self, path, colors):
        """A ramp of depth through a list of colours."""
        ramp = np.linspace(0, len(colors) - 1, W)
        table = np.array(colors, float)
        row = np.stack([np.interp(ramp, range(len(colors)), table[:, c]) for c in range(3)], -1)
        picture = np.broadcast_to(row, (H, W, 3)).astype(np.uint8)
        return write_film(path, [picture] * 2, options={"crf": "4"}, pixels="yuv444p")

    @pytest.mark.parametrize(
        "colors",
        [
            [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)],  # inferno
            [(48, 18, 59), (70, 150, 250), (100, 250, 90), (250, 150, 40), (122, 4, 3)],  # turbo
            [(94, 79, 162), (102, 194, 165), (255, 255, 191), (244, 109, 67), (158, 1, 66)],
        ],
    )
    def test_a_colour_map_is_refused_at_the_door(self, tmp_path, colors):
        path = self.film(tmp_path / "d.mp4", colors)
        with pytest.raises(DepthError, match=r"d.mp4: expected depth in grey .* save the depth"):
            load_depth(path)

    @pytest.mark.parametrize("colors", [[(0, 0, 0), (255, 255, 255)], [(0, 0, 0), (255, 0, 0)]])
    def test_grey_and_red_alone_are_read(self, tmp_path, colors):
        depth = load_depth(self.film(tmp_path / "d.mp4", colors))
        raw, _ = depth.predict(torch.rand(1, 3, H, W))
        assert raw[0, 0, 4].tolist() == pytest.approx(np.linspace(0, 1, W), abs=0.08)


class TestExrChannels:
    """The depth among the channels of other programs."""

    def channels(self, *names, dtype=np.float32):
        other = np.random.default_rng(0).random((H, W), np.float32)
        made = {name: other for name in ("R", "G", "B", "A")}
        made |= {name: other for name in names[1:]}
        return {k: v.astype(dtype) for k, v in (made | {names[0]: wall_and_box()[0]}).items()}

    @pytest.mark.parametrize(
        "names",
        [
            ("Z",),
            ("depth",),
            ("ViewLayer.Depth.Z", "ViewLayer.Normal.X", "ViewLayer.Normal.Y", "ViewLayer.Normal.Z"),
            ("Image.V", "uv.U", "uv.V"),
            ("a.Y", "b.X", "b.Y"),
        ],
    )
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_the_depth_is_found_by_its_name(self, tmp_path, names, dtype):
        path = write_channels(tmp_path / "d.exr", self.channels(*names, dtype=dtype))
        raw, _ = load_depth(path, metric=True).predict(torch.rand(1, 3, H, W))
        assert torch.equal(raw[0, 0], 1 / torch.from_numpy(wall_and_box()[0]))

    def test_a_picture_is_no_depth(self, tmp_path):
        random = np.random.default_rng(0)
        channels = {name: random.random((H, W), np.float32) for name in "RGB"}
        with pytest.raises(DepthError, match="expected depth in grey"):
            load_depth(write_channels(tmp_path / "d.exr", channels))

    def test_what_ffmpeg_would_misread_wants_openexr(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "OpenEXR", None)
        path = write_channels(tmp_path / "d.exr", self.channels("Z"), compression=8)
        with pytest.raises(VideoError, match=r"DWA compression; pip install openexr"):
            load_depth(path)

    def test_damaged_headers_are_one_line(self, tmp_path):
        data = write_channels(tmp_path / "d.exr", self.channels("x.Z")).read_bytes()
        for mutant in mutants(data, 4, 300):
            path = tmp_path / "m.exr"
            path.write_bytes(mutant)
            try:
                load_depth(path)
            except (VideoError, DepthError) as error:
                assert "\n" not in str(error)


class TestShape:
    """A depth of another aspect ratio."""

    @pytest.mark.parametrize(
        ("size", "aspect", "warned"),
        [
            ((W, H), Fraction(1), False),
            ((W, W), Fraction(1), True),
            ((W * 4 // 3, H), Fraction(1), True),
            ((W * 4 // 3, H), Fraction(3, 4), False),  # anamorphic film, depth as shown
        ],
    )
    def test_it_is_a_warning(self, tmp_path, caplog, size, aspect, warned):
        path = write_film(tmp_path / "d.mp4", [np.full((H, W, 3), 99, np.uint8)] * 2)
        film = replace(INFO, width=size[0], height=size[1], pixel_aspect=aspect, frame_count=2)
        load_depth(path).for_film(film)
        assert ("its shape" in caplog.text) == warned
