"""File names: the rules by which players read a layout, and that each one reads ours."""

import re
from pathlib import Path

import pytest

from dreamstereo_core.packing import FILE_LAYOUTS
from dreamstereo_core.video_io import stereo_name

SIDE, OVER = "side by side", "top-bottom"


def words(name):
    """Return a name's words in small letters."""
    return re.split(r"[^a-z0-9]+", Path(name).stem.lower())


def either(name, side, over):
    """Return the layout that words stand for; words of both would leave it to chance."""
    found = {SIDE: set(side) & set(words(name)), OVER: set(over) & set(words(name))}
    (layout,) = [kind for kind, seen in found.items() if seen] or [None]
    return layout


def skybox(name):
    """https://skybox.xyz/en/support/add-suffix-to-filename-to-recognize-the-correct-format/

    Words in any order, one sign or none between their parts.
    """
    layout = either(name, {"3dh", "lr", "sbs", "hsbs"}, {"3dv", "tb", "ou", "hou"})
    projection = None
    if {"f180", "vr180"} & set(words(name)):
        projection = "fisheye"
    elif {"180x180", "180"} & set(words(name)):
        projection = "180"
    return layout, projection


def deovr(name):
    """SBS, LR or TB behind an underscore; LRF alone is not read. _180 for half a sphere."""
    layout = None
    if re.search(r"_(sbs|lr)(?=[_.])", name.lower()):
        layout = SIDE
    elif re.search(r"_tb(?=[_.])", name.lower()):
        layout = OVER
    return layout, "180" if re.search(r"_180(?=[_.])", name) else None


def pigasus(name):
    """LRF: two eyes of full width side by side."""
    return "full side by side" if "lrf" in words(name) else None


def kodi(name):
    """Kodi's AdvancedSettings.cpp, m_stereoscopicregex_3d, _sbs and _tab."""
    if not re.search(r"[-. _]3d[-. _]", name, re.IGNORECASE):
        return None
    if re.search(r"[-. _]h?sbs[-. _]", name, re.IGNORECASE):
        return SIDE
    return OVER if re.search(r"[-. _]h?tab[-. _]", name, re.IGNORECASE) else None


def jellyfin(name):
    """Jellyfin's NamingOptions.cs, Format3DRules, and Format3DParser.cs: the first rule that fits.

    The first four want "3d" right before. SBS and TAB without an H or F are half ones.
    """
    flags = re.split(r"[()\-._\[\] ]+", name.lower())
    behind = flags[flags.index("3d") + 1] if "3d" in flags[:-1] else None
    for token in ("hsbs", "sbs", "htab", "tab"):
        if behind == token:
            return f"half {SIDE if 'sbs' in token else OVER}"
    for token in ("fsbs", "hsbs", "sbs", "ftab", "htab", "tab"):
        if token in flags:
            size = "full" if token.startswith("f") else "half"
            return f"{size} {SIDE if 'sbs' in token else OVER}"
    return None


def television(name):
    """Samsung's and others': H-SBS, H-OU or H-TAB; eyes of full size are not read."""
    if re.search(r"\bh-sbs\b", name.lower().replace("_", " ")):
        return SIDE
    return OVER if re.search(r"\bh-(ou|tab)\b", name.lower().replace("_", " ")) else None


def meta(name):
    """https://developers.meta.com/horizon/documentation/native/android/mobile-media-overview"""
    return {"_LR": SIDE, "_TB": OVER}.get(Path(name).stem[-3:])


READ = {
    #            Skybox         DeoVR          Pigasus         Kodi  Jellyfin        television
    "full_sbs": ((SIDE, None), (SIDE, None), f"full {SIDE}", SIDE, f"full {SIDE}", None),
    "half_sbs": ((SIDE, None), (SIDE, None), None, SIDE, f"half {SIDE}", SIDE),
    "full_tb": ((OVER, None), (OVER, None), None, OVER, f"full {OVER}", None),
    "half_tb": ((OVER, None), (OVER, None), None, OVER, f"half {OVER}", OVER),
    "vr180": ((SIDE, "180"), (SIDE, "180"), None, None, None, None),
}  # fmt: skip


@pytest.mark.parametrize("film", ["film.mp4", "A. film - 2 (2024).mkv", "film_1080p.mp4"])
@pytest.mark.parametrize("layout", READ)
def test_each_player_reads_the_layout_by_its_own_rule(film, layout):
    name = stereo_name(Path(film), layout).name
    players = (skybox, deovr, pigasus, kodi, jellyfin, television)
    assert tuple(rule(name) for rule in players) == READ[layout], name


def test_metas_player_reads_half_spheres():
    assert meta(stereo_name(Path("film.mp4"), "vr180").name) == SIDE


@pytest.mark.parametrize("layout", [x for x in FILE_LAYOUTS if x not in (*READ, "separate")])
def test_no_player_takes_other_layouts_for_two_eyes(layout):
    name = stereo_name(Path("film.mp4"), layout).name
    assert (skybox(name), deovr(name)) == ((None, None), (None, None))
    assert not any(rule(name) for rule in (pigasus, kodi, jellyfin, television, meta))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("full_sbs", "clip_3D_LRF_FSBS_SBS.mp4"),
        ("half_sbs", "clip_3D_LR_H-SBS.mp4"),
        ("full_tb", "clip_3D_TBF_FTAB_TAB_TB.mp4"),
        ("half_tb", "clip_3D_TB_H-TAB_H-OU.mp4"),
        ("vr180", "clip_180_180x180_3dh_LR.mp4"),
        ("anaglyph", "clip_anaglyph.mp4"),
        ("anaglyph_dubois", "clip_anaglyph.mp4"),
        ("full_rgbd", "clip_RGBD.mp4"),
        ("cross_eyed", "clip_cross_eyed.mp4"),
        ("depth", "clip_depth.mp4"),
    ],
)
def test_layouts(layout, expected):
    assert stereo_name(Path("films/clip.mp4"), layout) == Path("films", expected)


@pytest.mark.parametrize(
    ("source", "suffix", "expected"),
    [
        ("clip.avi", None, "clip_3D_LR_H-SBS.mp4"),
        ("clip.mkv", None, "clip_3D_LR_H-SBS.mkv"),
        ("clip.avi", ".mkv", "clip_3D_LR_H-SBS.mkv"),
        ("photo.PNG", None, "photo_3D_LR_H-SBS.png"),
        ("photo.tiff", None, "photo_3D_LR_H-SBS.png"),
        ("a.b.mp4", None, "a.b_3D_LR_H-SBS.mp4"),
        ("shot/frame_%05d.png", None, "shot/frame_3D_LR_H-SBS.mp4"),
        ("shot/%d.png", None, "shot/shot_3D_LR_H-SBS.mp4"),
        ("100%done.mp4", None, "100%done_3D_LR_H-SBS.mp4"),
    ],
)
def test_suffixes(source, suffix, expected):
    assert stereo_name(Path(source), "half_sbs", suffix) == Path(expected)


def test_a_folder_becomes_a_video_beside_it(tmp_path):
    folder = tmp_path / "frames.v2"
    folder.mkdir()
    assert stereo_name(folder, "half_tb") == tmp_path / "frames.v2_3D_TB_H-TAB_H-OU.mp4"


def test_an_unknown_layout_is_named():
    with pytest.raises(ValueError, match=r"expected one of full_sbs, .*, got 'sideways'"):
        stereo_name(Path("clip.mp4"), "sideways")
