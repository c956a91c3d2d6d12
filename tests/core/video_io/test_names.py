"""File names that players recognise."""

from pathlib import Path

import pytest

from dreamstereo_core.video_io import stereo_name


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("full_sbs", "clip_LRF_Full_SBS.mp4"),
        ("half_sbs", "clip_LR.mp4"),
        ("full_tb", "clip_TBF_Full_TB.mp4"),
        ("half_tb", "clip_TB.mp4"),
        ("anaglyph", "clip_anaglyph.mp4"),
        ("anaglyph_dubois", "clip_anaglyph.mp4"),
        ("left", "clip_left.mp4"),
        ("right", "clip_right.mp4"),
        ("depth", "clip_depth.mp4"),
        ("mask", "clip_mask.mp4"),
    ],
)
def test_layouts(layout, expected):
    assert stereo_name(Path("films/clip.mp4"), layout) == Path("films", expected)


@pytest.mark.parametrize(
    ("source", "suffix", "expected"),
    [
        ("clip.avi", None, "clip_LR.mp4"),
        ("clip.mkv", None, "clip_LR.mkv"),
        ("clip.avi", ".mkv", "clip_LR.mkv"),
        ("photo.PNG", None, "photo_LR.png"),
        ("photo.tiff", None, "photo_LR.png"),
        ("a.b.mp4", None, "a.b_LR.mp4"),
        ("shot/frame_%05d.png", None, "shot/frame_LR.mp4"),
        ("shot/%d.png", None, "shot/shot_LR.mp4"),
        ("100%done.mp4", None, "100%done_LR.mp4"),
    ],
)
def test_suffixes(source, suffix, expected):
    assert stereo_name(Path(source), "half_sbs", suffix) == Path(expected)


def test_a_folder_becomes_a_video_beside_it(tmp_path):
    folder = tmp_path / "frames.v2"
    folder.mkdir()
    assert stereo_name(folder, "half_tb") == tmp_path / "frames.v2_TB.mp4"


def test_an_unknown_layout_is_named():
    with pytest.raises(ValueError, match=r"expected one of full_sbs, .*, got 'sideways'"):
        stereo_name(Path("clip.mp4"), "sideways")
