"""What the server tests cannot say: single nodes on tensors, other cores, films in memory."""

import dataclasses
import importlib
import io as bytes_io
import os
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
import torch

from ..comfyui.media import describe, write_film


def test_the_root_holds_nothing_that_shadows_the_entrypoint(pack):
    assert not hasattr(pack, "NODE_CLASS_MAPPINGS")
    assert callable(pack.comfy_entrypoint)


class TestSchema:
    def test_search_aliases_only_where_the_core_knows_them(self, node_module, monkeypatch):
        wire_types = node_module("wire_types")

        @dataclasses.dataclass
        class NewSchema:
            node_id: str
            category: str
            search_aliases: list

        @dataclasses.dataclass
        class OldSchema:
            node_id: str
            category: str

        monkeypatch.setattr(wire_types.io, "Schema", NewSchema)
        assert wire_types.schema("X", aliases=("y",)).search_aliases[-1] == "y"
        monkeypatch.setattr(wire_types.io, "Schema", OldSchema)
        assert wire_types.schema("X", aliases=("y",)).node_id == "DreamStereoX"


class TestStages:
    def warp(self, node_module, images, disparity, eye="right"):
        return node_module("warp").Warp.execute(images, disparity, eye, 1.5).args

    def test_zero_disparity_is_identity(self, node_module):
        images = torch.rand(10, 6, 8, 3)
        warped, mask, disparity = self.warp(node_module, images, torch.zeros(10, 1, 6, 8))
        assert torch.equal(warped, images)
        assert not mask.any()
        assert not disparity.any()

    def test_disparity_of_another_size_is_resized_with_its_pixels(self, node_module):
        images = torch.rand(1, 6, 16, 3)
        warped, _, disparity = self.warp(node_module, images, torch.full((1, 1, 3, 8), 1.0))
        torch.testing.assert_close(disparity[..., :12], torch.full((1, 1, 6, 12), 2.0))
        torch.testing.assert_close(warped[:, :, :12], images[:, :, 2:14])

    def test_disparity_of_another_length_is_refused(self, node_module):
        with pytest.raises(ValueError, match="disparity: expected 2 frames, got 3"):
            self.warp(node_module, torch.rand(2, 6, 8, 3), torch.zeros(3, 1, 6, 8))

    def test_blend_keeps_known_pixels_to_the_bit(self, node_module):
        warped, inpainted = torch.rand(9, 8, 8, 3), torch.rand(9, 8, 8, 3)
        mask = torch.zeros(9, 8, 8)
        mask[:, :, :3] = 1
        (images,) = node_module("blend").Blend.execute(inpainted, warped, mask, 2).args
        assert torch.equal(images[:, :, 3:], warped[:, :, 3:])
        assert not torch.equal(images[:, :, :3], warped[:, :, :3])

    @pytest.mark.parametrize("shape", [(13, 8, 8, 3), (9, 24, 8, 3), (8, 8, 8, 3), (9, 8, 7, 3)])
    def test_blend_cuts_no_more_than_a_filling(self, node_module, shape):
        with pytest.raises(ValueError, match="expected shape"):
            node_module("blend").Blend.execute(
                torch.rand(shape), torch.rand(9, 8, 8, 3), torch.ones(9, 8, 8), 2
            )

    def test_swapped_eyes(self, node_module):
        pack = node_module("pack").Pack
        left, right = torch.rand(1, 4, 6, 3), torch.rand(1, 4, 6, 3)
        images, name = pack.execute(left, right, "full_sbs", True).args
        assert torch.equal(images, torch.cat([right, left], 2))
        assert name == "video/DreamStereo_cross_eyed"

    def test_views_of_different_size_are_refused(self, node_module):
        pack = node_module("pack").Pack
        with pytest.raises(ValueError, match="right: expected"):
            pack.execute(torch.rand(1, 4, 6, 3), torch.rand(1, 4, 8, 3), "full_sbs", False)


class TestDisparity:
    def disparity(self, node_module, depth, mode="manual", convergence=0.5, **options):
        images = depth.expand(-1, -1, -1, 3)
        node = node_module("disparity").DepthToDisparity
        strength = {"max_disparity": 5.0, "convergence_mode": mode, "convergence": convergence}
        return node.execute(images, **strength, **options).args[0]

    def two_shots(self):
        """A far wall for 4 frames, then a near one."""
        return torch.cat([torch.full((4, 6, 100, 1), 0.2), torch.full((4, 6, 100, 1), 0.8)])

    def test_a_number_is_what_it_was(self, node_module):
        depth = torch.rand(3, 6, 100, 1)
        expected = (depth.movedim(-1, 1) - 0.5) * 5
        got = self.disparity(node_module, depth, max_front=10, max_behind=10)
        torch.testing.assert_close(got, expected)

    @pytest.mark.parametrize("mode", ["auto", "subject", "median"])
    def test_what_lies_on_the_screen_jumps_at_the_frames_cuts_only(self, node_module, mode):
        noise = torch.rand(2, 6, 100, 3, generator=torch.Generator().manual_seed(0))
        images = noise.repeat_interleave(4, 0)
        found = self.disparity(node_module, self.two_shots(), mode, images=images)
        torch.testing.assert_close(found, torch.zeros(8, 1, 6, 100))
        one_shot = self.disparity(node_module, self.two_shots(), mode)
        assert one_shot.abs().max() > 0.5

    def test_the_limits_hold(self, node_module):
        depth = torch.rand(2, 6, 100, 1)
        got = self.disparity(node_module, depth, convergence=0.4, max_front=1.0, max_behind=0.5)
        assert got.max() <= 1 + 1e-5
        assert got.min() >= -0.5 - 1e-5

    def test_frames_of_another_length_are_refused(self, node_module):
        with pytest.raises(ValueError, match="images: expected 8 frames as inverse_depth, got 3"):
            self.disparity(node_module, self.two_shots(), images=torch.rand(3, 6, 100, 3))


class TestGeometryDepth:
    def test_distances_become_inverse_depth_and_the_sky_is_far(self, node_module):
        meters = torch.full((2, 8, 12), 30.0)
        meters[:, 4:], meters[:, :2] = 2.0, 1.0
        sky = torch.zeros(2, 8, 12)
        sky[:, :2] = 1
        geometry = {"depth": meters, "sky": sky, "image": torch.zeros(2, 8, 12, 3), "mode": "mono"}
        (images,) = node_module("geometry").GeometryDepth.execute(geometry).args
        assert images.shape == (2, 8, 12, 3)
        assert (images[:, 4:] == 1).all()
        assert (images[:, :2] == 0).all()


class TestConvertVideo:
    def test_options_reach_the_conversion(self, node_module, monkeypatch, tmp_path):
        convert, asked = node_module("convert"), []
        film = tmp_path / "film.mp4"
        film.touch()

        def remember(*paths, options, encode, decode, **keywords):
            asked.append((options, encode, decode))
            raise InterruptedError

        monkeypatch.setattr(convert, "convert_file", remember)
        monkeypatch.setattr(convert, "NodeProgress", lambda node: None)
        monkeypatch.setattr(convert.ConvertVideo, "hidden", SimpleNamespace(unique_id="1"))
        monkeypatch.setattr(convert, "unfinished_folder", lambda *_: tmp_path)
        video = convert.InputImpl.VideoFromFile(str(film))
        given = {"layout": "half_tb", "convergence_mode": "median", "convergence": 0.5, "crf": 20}
        for more in ({}, {"shots": "histogram", "bars": False, "source_eye": "left"}):
            with pytest.raises(InterruptedError):
                convert.ConvertVideo.execute(video, "embedded", "classic", **given, **more)
        options, encodes, decodes = zip(*asked, strict=True)
        assert [(o.shots, o.bars) for o in options] == [("auto", True), ("histogram", False)]
        assert {o.convergence for o in options} == {"median"}
        assert {(e.layout, e.crf, e.audio) for e in encodes} == {("half_tb", 20, "copy_or_aac")}
        assert [d.source_eye for d in decodes] == ["both", "left"]


class TestParts:
    """Two runs make a film's halves, as two machines would; a third joins them."""

    class Quiet:
        """Progress without a server."""

        def __init__(self, node_id):
            self.looked = 0

        def look_at(self, frame):
            self.looked = frame

        def __call__(self, progress):
            pass

    def test_parts_are_joined_to_the_whole(self, node_module, monkeypatch, tmp_path):
        paths = importlib.import_module("folder_paths")
        for name in ("input", "output", "temp"):
            (tmp_path / name / "video").mkdir(parents=True)
            monkeypatch.setattr(paths, f"{name}_directory", str(tmp_path / name))
        convert, join = node_module("convert"), node_module("join")
        monkeypatch.setattr(convert, "NodeProgress", self.Quiet)
        monkeypatch.setattr(convert.ConvertVideo, "hidden", SimpleNamespace(unique_id="1"))
        film = write_film(tmp_path / "input" / "film.mp4")
        video = convert.InputImpl.VideoFromFile(str(film))
        given = {"layout": "half_sbs", "convergence_mode": "median", "convergence": 0.5, "crf": 20}
        for start, count in ((0, 7), (7, 0)):
            part, name = convert.ConvertVideo.execute(
                video, "embedded", "classic", start_frame=start, frame_count=count, **given
            ).args
            assert name.startswith(f"video/film_part_{start:08d}_")
            part.save_to(str(tmp_path / "output" / f"{name}_00001_.mp4"))
        made, joined = join.JoinVideos.execute(video, "video/film_part_*.mp4").args
        assert joined == name.replace("_part_00000007", "")
        seen = describe(made.get_stream_source())
        assert (seen["frames"], seen["size"], seen["audio"]) == (12, (96, 64), ["aac"])
        with pytest.raises(ValueError, match="expected parts of 12 frames together, got 5"):
            join.JoinVideos.execute(video, "video/film_part_00000007*.mp4")
        before = join.JoinVideos.fingerprint_inputs("video/*.mp4")
        os.utime(tmp_path / "output" / f"{name}_00001_.mp4", (1, 1))
        assert join.JoinVideos.fingerprint_inputs("video/*.mp4") != before


class TestFileNames:
    @pytest.mark.parametrize(
        ("layout", "name"),
        [
            ("full_sbs", "video/a film_3D_LRF_FSBS_SBS"),
            ("half_tb", "video/a film_3D_TB_H-TAB_H-OU"),
            ("anaglyph_gray", "video/a film_anaglyph"),
            ("depth", "video/a film_depth"),
        ],
    )
    def test_a_name_follows_film_and_layout(self, node_module, layout, name):
        names = node_module("file_names")
        film = names.InputImpl.VideoFromFile("/somewhere/a film.mov")
        assert names.saved_name(names.film_name(film), layout) == name

    def test_films_without_a_file(self, node_module):
        names, parts = node_module("file_names"), node_module("components").Types
        stream = names.InputImpl.VideoFromFile(bytes_io.BytesIO())
        frames = parts.VideoComponents(images=torch.rand(1, 2, 2, 3), frame_rate=Fraction(1))
        made = names.InputImpl.VideoFromComponents(frames)
        assert names.film_name(stream) == names.film_name(made) == "DreamStereo"

    @pytest.mark.parametrize("letter", ["n", "ü", "影"])
    def test_a_very_long_name_leaves_room_for_what_comes_behind(self, node_module, letter):
        names = node_module("file_names")
        long = letter * (250 // len(letter.encode()))
        film = names.film_name(names.InputImpl.VideoFromFile(f"/somewhere/{long}.mp4"))
        assert set(film) == {letter}
        for layout in ("full_tb", "column_interleaved", "vr180"):
            name = names.saved_name(names.part_name(film, 240), layout)
            assert "_part_00000240_" in name
            assert len(f"{name.removeprefix('video/')}_00001_.mp4".encode()) <= 255

    def test_a_film_whose_name_looks_like_a_placeholder(self, node_module):
        name = node_module("file_names").saved_name("100%width%", "full_sbs")
        assert name == "video/100_width__3D_LRF_FSBS_SBS"


class TestPreviewSheet:
    def sheet(self, node_module, film, mode="auto", convergence=0.5, **options):
        preview = node_module("preview")
        video = node_module("sources").InputImpl.VideoFromFile(str(film))
        depth = node_module("load_models").depth_on_device("embedded")
        strength = {"max_disparity": 10.0, "convergence_mode": mode, "convergence": convergence}
        return preview.PreviewSheet.execute(
            video, 2, depth, **{"fill": "classic", **strength, **options}
        )

    @pytest.fixture
    def film(self, tmp_path):
        return write_film(tmp_path / "film.mp4", frames=4)

    def test_a_column_for_each_frame_and_three_rows(self, node_module, film):
        output = self.sheet(node_module, film)
        (sheet,) = output.args
        assert sheet.shape == (1, 3 * 320, 2 * 480, 3)
        assert output.ui.as_dict()["images"]
        depth = sheet[0, 320:640]
        assert torch.equal(depth[..., 0], depth[..., 1])
        assert set(sheet[0, 640:, :480].unique().tolist()) >= {0.0, 1.0}

    def test_options_reach_the_pictures(self, node_module, film):
        (usual,) = self.sheet(node_module, film, "manual", 0.2).args
        near = {"max_front": 0.0, "max_behind": 10.0}
        for changed in (("median", 0.2), ("manual", 0.3)):
            assert not torch.equal(self.sheet(node_module, film, *changed).args[0], usual)
        for option in (near, {"floating_window": True}):
            other = self.sheet(node_module, film, "manual", 0.2, **option).args[0]
            assert not torch.equal(other[:, :320], usual[:, :320])

    def test_it_shows_what_a_conversion_would_make(self, node_module, film, monkeypatch):
        preview, asked = node_module("preview"), []

        def remember(source, *, inpainter, options, decode, **keywords):
            asked.append((inpainter.name, options, decode))
            raise InterruptedError

        monkeypatch.setattr(preview, "preview_picture", remember)
        with pytest.raises(InterruptedError):
            self.sheet(node_module, film, fill="mini", eye="left", bars=False, source_layout="2d")
        ((name, options, decode),) = asked
        assert name == node_module("load_models").inpainter_on_device("mini").name
        assert (options.eye, options.bars, decode.source_layout) == ("left", False, "2d")


class TestInpaint:
    @pytest.fixture
    def spy(self):
        """An inpainter that gives back what it sees, a little darker, and remembers it."""

        class Spy:
            name, seen = "spy", None

            def stream(self, frames, options):
                self.frames, self.options = list(frames), options
                return iter([frame.video / 2 for frame in self.frames])

        return Spy()

    def test_options_reach_the_inpainter(self, node_module, spy):
        node = node_module("inpaint").Inpaint
        images, mask = torch.rand(1, 6, 8, 3), torch.zeros(1, 6, 8)
        node.execute(images, mask, None, spy, num_steps=4, dilation=7, seed=11)
        wanted = {"num_steps": 4, "dilation": 7, "seed": 11, "sampler": "euler"}
        assert dataclasses.asdict(spy.options) == wanted

    @pytest.mark.parametrize("eye", ["right", "left"])
    def test_a_left_eye_is_the_mirrored_problem(self, node_module, spy, eye):
        images, mask = torch.rand(3, 6, 8, 3), torch.rand(3, 6, 8).round()
        disparity = torch.rand(3, 1, 6, 8)
        node = node_module("inpaint").Inpaint
        (filled,) = node.execute(images, mask, disparity, spy, eye=eye).args
        torch.testing.assert_close(filled, images / 2)
        pixels = images if eye == "right" else images.flip(2)
        assert torch.equal(spy.frames[-1].video[0].movedim(0, -1), pixels[-1])
        holes, depth = (mask, disparity) if eye == "right" else (mask.flip(2), disparity.flip(3))
        assert torch.equal(spy.frames[-1].occlusion_mask[0, 0], holes[-1])
        assert torch.equal(spy.frames[-1].disparity[0], depth[-1])


class TestSources:
    @pytest.fixture
    def sources(self, node_module, tmp_path, monkeypatch):
        sources = node_module("sources")
        monkeypatch.setattr(sources, "temp_directory", lambda: tmp_path)
        return sources

    @pytest.fixture
    def film(self, tmp_path_factory):
        return write_film(tmp_path_factory.mktemp("film") / "film.mp4")

    def video(self, sources, *args):
        return sources.InputImpl.VideoFromFile(*args)

    def test_a_file_is_used_where_it_is(self, sources, film, tmp_path):
        with sources.stream_source(self.video(sources, str(film))) as source:
            assert source == str(film)
            assert list(tmp_path.iterdir()) == []

    def test_a_stream_is_written_as_it_is_and_removed(self, sources, film, tmp_path):
        video = self.video(sources, bytes_io.BytesIO(film.read_bytes()))
        with sources.stream_source(video) as source, open(source, "rb") as copy:
            assert copy.read() == film.read_bytes()
        assert list(tmp_path.iterdir()) == []

    def test_a_trimmed_film_is_written_as_it_is_seen(self, sources, film, tmp_path):
        seen = self.video(sources, str(film))

        class Trimmed(type(seen)):
            """As the trim of newer cores: the file is longer than the video."""

            def get_duration(self):
                return 0.5

            def save_to(self, path, **options):
                write_film(path, frames=6)

        with sources.stream_source(Trimmed(str(film))) as source:
            assert describe(source)["frames"] == 6
        assert list(tmp_path.iterdir()) == []

    def test_the_temporary_file_goes_when_the_user_interrupts(self, sources, film, tmp_path):
        video = self.video(sources, bytes_io.BytesIO(film.read_bytes()))
        with pytest.raises(KeyboardInterrupt), sources.stream_source(video):
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []


class TestComponents:
    def write(self, node_module, path, kind=None, **parts):
        components = node_module("components")
        values = {"frame_rate": Fraction(24000, 1001), "audio": None} | parts
        components.write_components(components.Types.VideoComponents(**values), path, **kind or {})

    def test_frames_come_back_almost_exact(self, node_module, tmp_path):
        images = torch.rand(3, 16, 24, 3)
        self.write(node_module, tmp_path / "x.mkv", images=images)
        with av.open(str(tmp_path / "x.mkv")) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == Fraction(24000, 1001)
            assert stream.codec_context.colorspace == 1
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        back = torch.stack([torch.from_numpy(frame) for frame in frames]) / 255
        assert (back - images).abs().max() < 3 / 255

    @pytest.mark.parametrize(("space", "tags"), [("sRGB", (1, 1, 1)), ("HDR PQ", (9, 16, 9))])
    def test_ten_bits_and_what_they_mean_stay(self, node_module, tmp_path, space, tags):
        ramp = torch.linspace(0, 1, 1024).reshape(1, 16, 64, 1).expand(-1, -1, -1, 3)
        kind = {"bit_depth": 10, "color_space": space}
        self.write(node_module, tmp_path / "x.mkv", kind, images=ramp)
        with av.open(str(tmp_path / "x.mkv")) as container:
            context = container.streams.video[0].codec_context
            assert context.pix_fmt == "yuv444p10le"
            assert (context.color_primaries, context.color_trc, context.colorspace) == tags
            (frame,) = container.decode(video=0)
        back = torch.from_numpy(frame.to_ndarray(format="rgb48le").astype("float32")) / 65535
        assert (back - ramp[0]).abs().max() < 2 / 1023

    def test_a_film_of_images_says_what_it_is(self, node_module, tmp_path, monkeypatch):
        sources = node_module("sources")
        parts = node_module("components").Types
        frames = parts.VideoComponents(images=torch.rand(2, 16, 24, 1), frame_rate=Fraction(5))
        video = sources.InputImpl.VideoFromComponents(frames)
        monkeypatch.setattr(video, "get_bit_depth", lambda: 10, raising=False)
        monkeypatch.setattr(video, "get_color_space", lambda: "HDR", raising=False)
        monkeypatch.setattr(sources, "temp_directory", lambda: tmp_path)
        with sources.stream_source(video) as source, av.open(source) as container:
            context = container.streams.video[0].codec_context
            assert (context.pix_fmt, context.color_trc) == ("yuv444p10le", 18)

    @pytest.mark.parametrize("channels", [1, 2, 6])
    def test_sound_ends_with_the_frames(self, node_module, tmp_path, channels):
        waveform = torch.rand(1, channels, 48000) * 0.1
        sound = {"waveform": waveform, "sample_rate": 24000}
        self.write(
            node_module,
            tmp_path / "x.mkv",
            images=torch.rand(12, 16, 16, 3),
            frame_rate=Fraction(24),
            audio=sound,
        )
        with av.open(str(tmp_path / "x.mkv")) as container:
            stream = container.streams.audio[0]
            assert stream.codec_context.channels == channels
            samples = sum(frame.samples for frame in container.decode(stream))
        assert 12000 <= samples <= 12000 + 2048

    def test_an_odd_number_of_channels_is_refused(self, node_module, tmp_path):
        sound = {"waveform": torch.zeros(1, 3, 4800), "sample_rate": 48000}
        with pytest.raises(ValueError, match="audio: expected 1, 2 or 6 channels, got 3"):
            self.write(
                node_module, tmp_path / "x.mkv", images=torch.rand(2, 16, 16, 3), audio=sound
            )
