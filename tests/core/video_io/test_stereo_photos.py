"""Photographs in and out: every format, EXIF, MPO, JPS, spatial photographs, wigglegrams."""

import struct

import av
import numpy as np
import pytest
import torch
from PIL import Image, features

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    probe,
    read_frames,
)
from dreamstereo_core.cli import main
from dreamstereo_core.comfort import Viewing
from dreamstereo_core.video_io import is_own
from dreamstereo_core.video_io.boxes import Boxes, read_image_file
from dreamstereo_core.video_io.exif import CameraData, read_camera_data, with_exif
from dreamstereo_core.video_io.photo_layouts import PHOTO_LAYOUTS, photo_layout, photo_name
from dreamstereo_core.video_io.spatial_photo import write_spatial_photo
from dreamstereo_core.video_io.stereo_photos import write_jps, write_mpo

from ..pictures import ramp, save

DATE, DATE_TAG, ORIENTATION = "2024:05:06 07:08:09", 0x0132, 0x0112


def smooth(seed, height=48, width=64):
    """A picture `[3, H, W]` that JPEG changes little."""
    small = torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")[0]


def photo(path, orientation=1, size=(48, 64), **how):
    """A photograph with EXIF; its left upper quarter is red."""
    pixels = np.full((*size, 3), 120, np.uint8)
    pixels[: size[0] // 2, : size[1] // 2] = (220, 40, 40)
    exif = Image.Exif()
    exif[ORIENTATION], exif[DATE_TAG] = orientation, DATE
    Image.fromarray(pixels).save(path, exif=exif, **how)
    return path


def as_tensor(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).float() / 255


def close(a, b, most=0.03):
    return a.shape == b.shape and float((a - b).abs().mean()) < most


class TestReading:
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
    def test_every_format_is_read(self, tmp_path, suffix):
        if suffix == ".avif" and not features.check("avif"):
            pytest.skip("this Pillow writes no AVIF")
        path = tmp_path / f"a{suffix}"
        Image.fromarray((smooth(0).movedim(0, -1) * 255).byte().numpy()).save(path, quality=95)
        info = probe(path)
        assert (info.width, info.height, info.is_image) == (64, 48, True)
        (frame,) = read_frames(path)
        assert close(frame.pixels, smooth(0))

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
    def test_what_the_camera_wrote_is_found(self, tmp_path, suffix):
        camera = read_camera_data(photo(tmp_path / f"a{suffix}", orientation=6))
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + camera.exif)
        assert exif[DATE_TAG] == DATE and ORIENTATION not in exif
        assert not {0x0100, 0x0111, 0x0117} & set(exif)  # of a TIFF's own pixels

    def test_nothing_is_found_where_nothing_is(self, tmp_path):
        broken = tmp_path / "a.jpg"
        broken.write_bytes(b"\xff\xd8\xff\xe1\0\x20Exif\0\0II*\0\xff\xff\xff\xff" + bytes(40))
        for source in (broken, tmp_path / "none.jpg", tmp_path, "synthetic"):
            assert read_camera_data(source) == CameraData()
        assert with_exif(b"data", ".jpg", b"") == with_exif(b"data", ".webp", b"II*") == b"data"
        assert with_exif(b"data", ".jpg", bytes(70000)) == b"data"


class TestWriting:
    VIEWS = smooth(1), smooth(2)

    def test_mpo_holds_both_views(self, tmp_path):
        path = tmp_path / "a.mpo"
        camera = read_camera_data(photo(tmp_path / "a.jpg"))._replace(icc=b"profile" * 20)
        write_mpo(path, *self.VIEWS, camera)
        with Image.open(path) as image:
            assert (image.format, image.n_frames) == ("MPO", 2)
            assert image.getexif()[DATE_TAG] == DATE
            assert image.info["icc_profile"] == camera.icc
            kinds = [entry["Attribute"]["MPType"] for entry in image.mpinfo[0xB002]]
            assert kinds == ["Multi-Frame Image: (Disparity)"] * 2
            for index, view in enumerate(self.VIEWS):
                image.seek(index)
                assert close(as_tensor(image), view)
        assert is_own(path)

    def test_jps_says_which_view_is_where(self, tmp_path):
        path = tmp_path / "a.jps"
        write_jps(path, *self.VIEWS, CameraData())
        with Image.open(path) as image:
            assert close(as_tensor(image), torch.cat(self.VIEWS, dim=-1))
        data = path.read_bytes()
        at = data.index(b"_JPSJPS_")
        assert struct.unpack(">H4B", data[at + 8 : at + 14]) == (4, 0, 0x04, 2, 1)
        assert data[at - 4 : at - 2] == b"\xff\xe3"
        assert is_own(path)

    @pytest.mark.parametrize("size", [(48, 64), (45, 67)])
    @pytest.mark.parametrize("exif", [b"", b"II*\0\x08\0\0\0\0\0\0\0\0\0"])
    def test_a_spatial_photograph_holds_a_stereo_pair(self, tmp_path, size, exif):
        path = tmp_path / "a.heic"
        views = smooth(1, *size), smooth(2, *size)
        write_spatial_photo(path, *views, CameraData(exif))
        (frame,) = read_frames(path)  # the left one is what others show
        assert close(frame.pixels[:, : size[0], : size[1]], views[0])
        with path.open("rb") as file:
            meta = read_image_file(file).meta
        group = Boxes(meta.data).child(b"grpl", b"ster")
        assert struct.unpack(">IIIII", group.data) == (0, 100, 2, 1, 2)
        kinds = [kind for kind, _ in Boxes(meta.data).child(b"iprp", b"ipco").children()]
        assert kinds == [b"hvcC", b"hvcC", b"ispe", b"colr", b"pixi", b"cmin", b"cmex", b"cmex"]
        with av.open(str(path)) as container:  # FFmpeg has a stream for each item
            pictures = [f for s in container.streams.video for f in self.decoded(path, s.index)]
        assert len(pictures) == 2
        for found, view in zip(pictures, views, strict=True):
            assert close(found[:, : size[0], : size[1]], view)
        assert is_own(path)

    def decoded(self, path, index):
        with av.open(str(path)) as container:
            for frame in container.decode(container.streams[index]):
                yield torch.from_numpy(frame.to_ndarray(format="rgb24")).movedim(-1, 0) / 255

    def test_a_spatial_photograph_in_libheif(self, tmp_path):
        import pillow_heif as heif

        path = tmp_path / "a.heic"
        write_spatial_photo(path, *self.VIEWS, CameraData())
        found = heif.open_heif(path)
        assert len(found) == 2
        for image, view in zip(found, self.VIEWS, strict=True):
            assert close(as_tensor(image.to_pillow()), view)
        if "entity_groups" not in found[0].info:
            pytest.skip("an older pillow-heif")
        (group,) = found[0].info["entity_groups"]
        assert (group["type"], group["images"]) == ("ster", [0, 1])
        camera = found[0].info["heif"]["camera_intrinsic_matrix"]
        assert camera["focal_length_x"] == pytest.approx(
            0.5 / np.tan(np.radians(30)) * 64, rel=0.01
        )
        assert (camera["principal_point_x"], camera["principal_point_y"]) == (32, 24)

    def test_a_spatial_photograph_that_hevc_cannot_hold(self, tmp_path):
        wide = torch.zeros(3, 2, 20000)
        with pytest.raises(VideoError, match="HEVC holds up to 16384 pixels"):
            write_spatial_photo(tmp_path / "a.heic", wide, wide, CameraData())


def convert(source, target=None, layout="full_sbs", **how):
    options = ConvertOptions(max_disparity=6.0, eye=how.pop("eye", "right"))
    return convert_file(
        source, target, depth=load_depth("cues"), inpainter=ClassicInpainter(), options=options,
        encode=EncodeOptions(layout=layout, preset="ultrafast"), **how,
    )  # fmt: skip


class TestConversion:
    @pytest.mark.parametrize("layout", PHOTO_LAYOUTS)
    def test_each_layout_beside_the_photograph(self, tmp_path, layout):
        source = photo(tmp_path / "a.png")
        (path,) = convert(source, layout=layout)
        assert path == photo_name(source, layout) and is_own(path)
        if layout not in ("mpo", "jps"):  # FFmpeg knows none of these by its name
            (frame, *_) = read_frames(path)
            assert frame.pixels.shape == (3, 48, 64)
        with pytest.raises(VideoError, match="exists already"):
            convert(source, layout=layout)
        assert convert(source, layout=layout, overwrite=True) == (path,)
        assert len(list(tmp_path.iterdir())) == 2

    @pytest.mark.parametrize("eye", ["right", "left"])
    def test_the_views_are_those_of_a_usual_conversion(self, tmp_path, eye):
        source = photo(tmp_path / "a.png")
        (usual,) = convert(source, tmp_path / "usual.png", eye=eye)
        (mpo,) = convert(source, tmp_path / "b.mpo", eye=eye)
        (frame,) = read_frames(usual)
        with Image.open(mpo) as image:
            for index, view in enumerate(frame.pixels.chunk(2, dim=-1)):
                image.seek(index)
                assert close(as_tensor(image), view, 0.01)

    @pytest.mark.parametrize(("layout", "rounds"), [("wiggle_gif", 1), ("wiggle_webp", 1),
                                                    ("wiggle_mp4", 6)])  # fmt: skip
    def test_a_wigglegram_goes_there_and_back(self, tmp_path, layout, rounds):
        (path,) = convert(photo(tmp_path / "a.png"), layout=layout)
        frames = list(read_frames(path))
        assert len(frames) == 6 * rounds
        views = [frame.pixels for frame in frames[:6]]
        assert close(views[1], views[5], 0.01) and close(views[2], views[4], 0.01)
        assert (views[0] - views[3]).abs().mean() > (views[0] - views[1]).abs().mean() > 0
        assert float(frames[1].time - frames[0].time) == pytest.approx(0.1)

    def test_orientation_is_applied_once_and_the_date_stays(self, tmp_path):
        source = photo(tmp_path / "a.jpg", orientation=6, quality=95)  # it lies on its side
        for name in ("b.jpg", "b.png", "b.mpo", "b.jps"):
            (path,) = convert(source, tmp_path / name)
            with Image.open(path) as image:
                assert image.getexif()[DATE_TAG] == DATE
                assert ORIENTATION not in image.getexif()
                both = 1 if name == "b.mpo" else 2
                assert image.size == (both * 48, 64)  # upright
                red = image.convert("RGB").getpixel((36, 10))
                assert red[0] > 180 and red[1] < 80, name

    def test_a_folder_at_once(self, tmp_path):
        folder = tmp_path / "holiday"
        folder.mkdir()
        photo(folder / "a.jpg"), photo(folder / "b.png", size=(64, 48))
        written = convert(folder, layout="mpo")
        assert written == (tmp_path / "holiday_mpo" / "a.mpo", tmp_path / "holiday_mpo" / "b.mpo")

    def test_a_film_is_no_photograph(self, tmp_path):
        film = save(tmp_path / "film.mp4", ramp(3))
        for target, layout in ((None, "mpo"), (tmp_path / "a.gif", "full_sbs")):
            with pytest.raises(VideoError, match="is no photograph"):
                convert(film, target, layout)
        with pytest.raises(VideoError, match="a report is for films"):
            convert(photo(tmp_path / "a.png"), layout="mpo", report=Viewing())
        with pytest.raises(VideoError, match=r"expected a name ending in \.jps"):
            convert(photo(tmp_path / "a.png"), tmp_path / "b.png", "jps")
        with pytest.raises(VideoError, match="expected a name ending in one of"):
            convert(photo(tmp_path / "a.png"), tmp_path / "b.heic", "depth")
        assert photo_layout(tmp_path / "b.HEIC", "full_sbs") == "spatial_photo"

    def test_the_command_skips_what_it_made(self, tmp_path, capsys):
        photo(tmp_path / "a.png"), photo(tmp_path / "b.jpg")
        how = ["--fill", "classic", "--depth", "embedded", "--layout", "wiggle_gif"]
        assert main(["convert", str(tmp_path / "*.*"), *how]) == 0
        assert {p.name for p in tmp_path.glob("*.gif")} == {"a_wiggle.gif", "b_wiggle.gif"}
        assert main(["convert", str(tmp_path / "*.*"), *how]) == 0
        assert len(list(tmp_path.iterdir())) == 4
        assert "made by DreamStereo" in capsys.readouterr().err
