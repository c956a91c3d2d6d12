"""What MP4 and QuickTime files say of two eyes: boxes as data, each beside its specification.

`st3d` and `sv3d`: Spherical Video V2 (google/spatial-media, docs/spherical-video-v2-rfc.md).
`vexu`: Apple, "ISO Base Media File Format and Apple HEVC Stereo Video", chapter 2.
"""

from __future__ import annotations

from .box_tree import Box, box, full_box, number
from .movie import film_entry

LEFT_AND_RIGHT, REVERSED = 0b0011, 0b1000
BASELINE_UM, FIELD_OF_VIEW = 63_500, 63.5
"""Of a spatial clip, where nothing else is known: a phone's two cameras."""
_HALF_SPHERE = 1 << 30
"""A quarter of the full turn, as 0.32 fixed point: left out at either side."""
_STEREO_MODES = {  # layout -> stereo_mode, view_packing_kind, stereo view flags
    "full_sbs": (2, b"side", LEFT_AND_RIGHT),
    "half_sbs": (2, b"side", LEFT_AND_RIGHT),
    "vr180": (2, b"side", LEFT_AND_RIGHT),
    "full_tb": (1, b"over", LEFT_AND_RIGHT),
    "half_tb": (1, b"over", LEFT_AND_RIGHT),
    # stereo_mode 4 would be right-left, but FFmpeg and others know 0, 1 and 2 only.
    "cross_eyed": (None, b"side", LEFT_AND_RIGHT | REVERSED),
}


def stereo_3d(mode: int) -> bytes:
    """Stereoscopic 3D Video Box: stereo_mode 1 = top-bottom, 2 = left-right."""
    return full_box("st3d", number(mode, 1))


def spherical_video() -> bytes:
    """Spherical Video Box: its header, the pose (0), and half an equirectangular picture."""
    bounds = (0, 0, _HALF_SPHERE, _HALF_SPHERE)  # top, bottom, left, right
    return box(
        "sv3d",
        full_box("svhd", b"DreamStereo\0"),
        box(
            "proj",
            full_box("prhd", *(number(0, 4) for _ in ("yaw", "pitch", "roll"))),
            full_box("equi", *(number(bound, 4) for bound in bounds)),
        ),
    )


def extended_usage(
    views: int,
    *,
    packing: bytes | None = None,
    projection: bytes | None = None,
    hero: int | None = None,
    baseline_um: int | None = None,
) -> bytes:
    """Video Extended Usage box.

    Args:
        views: bits of the Stereo View Information box.
        packing: view_packing_kind: "side" or "over".
        projection: "rect", or "hequ" for half an equirectangular picture.
        hero: the eye to show where one is shown: 1 = left.
        baseline_um: between the cameras' lenses, in micrometres; with it a disparity adjustment of
            0.
    """
    eyes = [full_box("stri", number(views, 1))]
    if hero is not None:
        eyes.append(full_box("hero", number(hero, 1)))
    if baseline_um is not None:
        eyes.append(box("cams", full_box("blin", number(baseline_um, 4))))
        eyes.append(box("cmfy", full_box("dadj", number(0, 4))))
    content = [box("eyes", *eyes)]
    if projection is not None:
        content.insert(0, box("proj", full_box("prji", projection)))
    if packing is not None:
        content.append(box("pack", full_box("pkin", packing)))
    return box("vexu", *content)


def field_of_view(degrees: float) -> bytes:
    """Horizontal Field of View box, in thousandths of a degree."""
    return box("hfov", number(round(degrees * 1000), 4))


def tag_layout(movie: Box, layout: str | None) -> None:
    """Say in a movie box how the eyes of a layout lie in the picture, or that it has none."""
    entry = film_entry(movie)
    mode, packing, views = _STEREO_MODES.get(layout or "", (None, None, 0))
    sphere = layout == "vr180"
    tags = {
        b"st3d": [stereo_3d(mode)] if mode is not None else [],
        b"sv3d": [spherical_video()] if sphere else [],
        b"vexu": [],
        b"hfov": [field_of_view(180)] if sphere else [],
    }
    if packing is not None:
        projection = b"hequ" if sphere else None
        tags[b"vexu"] = [extended_usage(views, packing=packing, projection=projection)]
    for kind in tags:  # a copied piece may have some already
        entry.replace(kind)
    for kind, data in tags.items():  # in this order: FFmpeg refuses `st3d` behind `vexu`
        entry.replace(kind, *data)
