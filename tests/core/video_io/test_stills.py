"""Photographs: tiles of HEIC, animations, transparency, folders."""

import numpy as np
import pytest
import torch
from PIL import Image

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
from dreamstereo_core.video_io import separate_pictures, suggest_suffix

from ..picture_files import mutants, write_film, write_heic

COLORS = np.array([[200, 40, 40], [40, 180, 60], [50, 60, 200], [220, 220, 90]], np.uint8)


def tiles(size=64):
    return [np.full((size, size, 3), color, np.uint8) for color in COLORS]


def middles(picture):
    """The colours of the four quarters of ``[3, h, w]``, line by line, in 8 bits."""
    _, height, width = picture.shape
    return [
        (picture[:, y, x] * 255).round().tolist()
        for y in (height // 4, 3 * height // 4)
        for x in (width // 4, 3 * width // 4)
    ]


def near(found, expected):
    return np.abs(np.array(found) - np.array(expected, float)).max() < 5


class TestTiles:
    def test_a_grid_is_one_picture_cut_to_its_size(self, tmp_path):
        path = write_heic(tmp_path / "a.heic", tiles(), 2, (110, 101))
        info = probe(path)
        assert (info.width, info.height, info.is_image, info.frame_count) == (110, 101, True, 1)
        assert suggest_suffix(path) == ".png"
        (frame,) = read_frames(path)
        assert near(middles(frame.pixels), COLORS)
        edges = [frame.pixels[:, 30, x] * 255 for x in (60, 67)]
        assert near(edges[0].tolist(), COLORS[0]) and near(edges[1].tolist(), COLORS[1])

    def test_it_is_turned_as_its_boxes_say(self, tmp_path):
        path = write_heic(tmp_path / "a.heic", tiles(), 2, (128, 100), turn=1)
        assert (probe(path).width, probe(path).height) == (100, 128)
        (frame,) = read_frames(path)
        assert near(middles(frame.pixels), COLORS[[1, 3, 0, 2]])

    def test_a_missing_tile_and_an_unknown_kind_are_refused(self, tmp_path):
        lost = write_heic(tmp_path / "a.heic", tiles(), 2, (128, 128), lost=1)
        with pytest.raises(VideoError, match="1 of the 4 tiles of its picture are missing"):
            list(read_frames(lost))
        other = write_heic(tmp_path / "b.heic", tiles(), 2, (128, 128), kind=b"iovl")
        with pytest.raises(VideoError, match="of the kind 'iovl', which is not supported"):
            probe(other)

    def test_damaged_boxes_are_one_line(self, tmp_path):
        data = write_heic(tmp_path / "a.heic", tiles(), 2, (128, 128)).read_bytes()
        for mutant in mutants(data, 24, 500):
            path = tmp_path / "m.heic"
            path.write_bytes(mutant)
            try:
                probe(path)
            except VideoError as error:
                assert "\n" not in str(error)


class TestAnimations:
    def webp(self, path, count):
        pictures = [Image.new("RGBA", (40, 30), (60 * i, 0, 0, 255)) for i in range(count)]
        pictures[0].putpixel((1, 0), (9, 9, 9, 255))
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[80, 40, 120],
                         lossless=True)  # fmt: skip
        return path

    def test_webp_is_read_wholly_with_its_times(self, tmp_path):
        path = self.webp(tmp_path / "a.webp", 3)
        info = probe(path)
        assert (info.frame_count, info.is_image) == (3, False)
        assert info.duration == pytest.approx(0.24)
        frames = list(read_frames(path))
        assert [float(f.time) for f in frames] == pytest.approx([0, 0.08, 0.12])
        assert [round(float(f.pixels[0, 9, 9]) * 255) for f in frames] == [0, 60, 120]
        assert suggest_suffix(path) == ".mp4"

    def test_a_gif_of_one_picture_is_a_still(self, tmp_path):
        Image.new("RGB", (8, 6), (0, 0, 255)).save(tmp_path / "a.gif")
        assert probe(tmp_path / "a.gif").is_image
        assert suggest_suffix(tmp_path / "a.gif") == ".png"
        moving = [Image.new("RGB", (8, 6), (i, 0, 255)) for i in (0, 200)]
        moving[0].save(tmp_path / "b.gif", save_all=True, append_images=moving[1:], duration=100)
        assert not probe(tmp_path / "b.gif").is_image


class TestTransparency:
    def test_what_is_transparent_shows_the_background_not_what_hides(self, tmp_path):
        pixels = np.zeros((8, 12, 4), np.uint8)
        pixels[:] = (0, 255, 0, 0)
        pixels[2:6, 2:6] = (150, 150, 150, 255)
        pixels[0, 0] = (255, 0, 0, 128)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        (frame,) = read_frames(tmp_path / "a.png")
        assert frame.pixels[:, 7, 7].tolist() == [0, 0, 0]
        assert frame.pixels[:, 3, 3].tolist() == pytest.approx([150 / 255] * 3)
        assert frame.pixels[:, 0, 0].tolist() == pytest.approx([128 / 255, 0, 0], abs=0.005)
        (frame,) = read_frames(tmp_path / "a.png", options=DecodeOptions(background="#0000ff"))
        assert frame.pixels[:, 7, 7].tolist() == [0, 0, 1]

    def test_alpha_of_a_webm_is_seen(self, tmp_path):
        pixels = np.zeros((32, 48, 4), np.uint8)
        pixels[:] = (0, 255, 0, 0)
        pixels[:, :24] = (150, 150, 150, 255)
        path = write_film(tmp_path / "a.webm", [pixels] * 3, codec="libvpx-vp9", pixels="yuva420p",
                          layout="rgba", metadata={"alpha_mode": "1"})  # fmt: skip
        frames = list(read_frames(path))
        assert len(frames) == 3
        for frame in frames:
            assert frame.pixels[:, 16, 40].max() < 0.02
            assert frame.pixels[:, 16, 8].mean() == pytest.approx(150 / 255, abs=0.02)

    def test_a_wrong_colour_is_named(self):
        with pytest.raises(ValueError, match="background: expected black, white, grey or RRGGBB"):
            DecodeOptions(background="blackish")


class TestFolders:
    def convert(self, source, target, **options):
        return convert_file(
            source,
            target,
            depth=load_depth("cues"),
            inpainter=ClassicInpainter(reach=(1,)),
            encode=EncodeOptions(layout="half_sbs"),
            **options,
        )

    def photos(self, folder, *sizes):
        folder.mkdir()
        for i, size in enumerate(sizes):
            noise = np.random.default_rng(i).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"p{i}.png")
        return folder

    def test_pictures_of_different_sizes_are_stills(self, tmp_path):
        folder = self.photos(tmp_path / "holiday", (64, 48), (48, 64))
        written = self.convert(folder, None)
        assert [path.name for path in written] == ["p0_3D_LR_H-SBS.png", "p1_3D_LR_H-SBS.png"]
        assert {path.parent for path in written} == {tmp_path / "holiday_3D_LR_H-SBS"}
        assert [(probe(p).width, probe(p).height) for p in written] == [(64, 48), (48, 64)]
        with pytest.raises(VideoError, match="exists already"):
            self.convert(folder, None)
        with pytest.raises(VideoError, match="expected a folder to put them in"):
            self.convert(folder, tmp_path / "a.mp4")

    def test_one_that_cannot_be_read_does_not_stop_the_others(self, tmp_path):
        folder = self.photos(tmp_path / "holiday", (64, 48), (48, 64), (64, 48))
        (folder / "p0.png").write_bytes(b"no picture")
        with pytest.raises(VideoError, match=r"1 of 3 pictures were left out: .*p0.png"):
            self.convert(folder, tmp_path / "out")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "p1_3D_LR_H-SBS.png",
            "p2_3D_LR_H-SBS.png",
        ]

    def test_pictures_of_one_size_are_a_film(self, tmp_path):
        folder = self.photos(tmp_path / "film", (64, 48), (64, 48))
        assert separate_pictures(folder) is None
        assert separate_pictures(folder / "p%d.png") is None

    def test_pixels_made_again_lie_as_their_own_picture_does(self, tmp_path):
        for number, orientation in enumerate((1, 3, 1)):  # 3: upside down
            exif = Image.Exif()
            exif[0x0112] = orientation
            picture = Image.fromarray(np.kron(COLORS.reshape(2, 2, 3), np.ones((8, 8, 1), "u1")))
            picture.save(tmp_path / f"p{number}.png", exif=exif)
        first, second, third = frames = list(read_frames(tmp_path))
        assert torch.equal(first.pixels.flip(1, 2), second.pixels)
        assert torch.equal(first.pixels, third.pixels)
        assert all(torch.equal(frame.again(), frame.pixels) for frame in frames)

    def test_a_camera_held_upright_makes_another_size(self, tmp_path):
        folder = self.photos(tmp_path / "film", (64, 48))
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (64, 48)).save(folder / "p1.png", exif=exif)
        assert len(separate_pictures(folder) or ()) == 2
