"""What an MP4 or QuickTime file says of MV-HEVC's two layers (ISO/IEC 14496-15, clause 9)."""

from __future__ import annotations

from collections.abc import Sequence

from .bits import join_units
from .box_tree import Box, box, full_box, number, parse
from .movie import film_entry, film_track
from .multiview import PPS, SEI, SPS, VPS, Layers, Profile, make_layers, other_layer, unit_type
from .stereo_boxes import LEFT_AND_RIGHT, extended_usage, field_of_view

_FIXED = 22  # bytes of a decoder configuration before its arrays
_VIEWS = 1 << 1
"""Of the scalability mask: layers differ in their view."""


def tag_layers(movie: Box, layers: Layers, spatial: tuple[float, int] | None) -> None:
    """Describe two layers in a movie box whose track has the base layer's description.

    Args:
        movie: as FFmpeg's muxer writes it for the base layer.
        layers: what both are made of.
        spatial: field of view in degrees and baseline in micrometres of a spatial clip; None for a
            film on a screen.
    """
    entry, track = film_entry(movie), film_track(movie)
    (base,) = [child.head for child in entry.children if child.kind == b"hvcC"]
    for kind in (b"st3d", b"sv3d", b"lhvC"):
        entry.replace(kind)
    entry.replace(b"hvcC", *decoder_configurations(base, layers))
    baseline = None if spatial is None else spatial[1]
    entry.replace(
        b"vexu", extended_usage(LEFT_AND_RIGHT, projection=b"rect", hero=1, baseline_um=baseline)
    )
    entry.replace(b"hfov", *([] if spatial is None else [field_of_view(spatial[0])]))
    samples = track.child(b"mdia", b"minf", b"stbl")
    sizes = None if samples is None else samples.child(b"stsz")
    assert samples is not None and sizes is not None
    count = int.from_bytes(sizes.head[8:12], "big")
    for kind, one in (("oinf", operating_points(layers)), ("linf", layer_information())):
        samples.children += parse(sample_group(kind, one, count))
    track.replace(b"trgr", box("trgr", full_box("cstg", number(1, 4))))


def layers_of(movie: Box) -> Layers:
    """Return the layers of a film that this module has described.

    Raises:
        ValueError: it has none.
    """
    entry = film_entry(movie)
    found = entry.child(b"hvcC")
    if found is None or entry.child(b"lhvC") is None:
        raise ValueError("movie: expected two layers of HEVC")
    return make_layers(join_units(list(_units(found.head))))


def decoder_configurations(base: bytes, layers: Layers) -> tuple[bytes, bytes]:
    """Return `hvcC` for the base layer and `lhvC` for the other one (8.3.3, 9.5.3).

    `base` is the content of FFmpeg's own `hvcC`.
    """
    ours = (layers.vps, layers.sps, layers.pps, layers.displays)
    theirs = (other_layer(layers.sps), other_layer(layers.pps))
    # version, segmentation, parallelism, then: layers, nesting, four bytes for a unit's length
    other = bytes([1]) + number(0xF000, 2) + bytes([0xFC, 0b11_001_1_11])
    return box("hvcC", base[:_FIXED], _arrays(ours)), box("lhvC", other, _arrays(theirs))


def _arrays(units: Sequence[bytes]) -> bytes:
    """Return an array of one unit for each; parameter sets stand nowhere else (8.3.3.1.2)."""
    data = number(len(units), 1)
    for unit in units:
        complete = unit_type(unit) in (VPS, SPS, PPS)
        data += number(complete << 7 | unit_type(unit), 1) + number(1, 2)
        data += number(len(unit), 2) + unit
    return data


def _units(configuration: bytes) -> list[bytes]:
    """Return the parameter sets in the arrays of a decoder configuration."""
    units, at = [], _FIXED + 1
    for _ in range(configuration[_FIXED]):
        count = int.from_bytes(configuration[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(configuration[at : at + 2], "big")
            units.append(configuration[at + 2 : at + 2 + size])
            at += 2 + size
    return [unit for unit in units if unit_type(unit) != SEI]


def sample_group(kind: str, entry: bytes, count: int) -> bytes:
    """Return a group of all `count` samples: its description, and who is in it (14496-12, 8.9)."""
    description = number(len(entry), 4) + number(1, 4) + entry
    every = number(1, 4) + number(count, 4) + number(1, 4)
    return full_box("sgpd", kind.encode(), description, version=1) + full_box(
        "sbgp", kind.encode(), every
    )


def operating_points(layers: Layers) -> bytes:
    """Return the entry of the group `oinf` (9.6.2): the base layer alone, or both."""
    width, height = layers.size
    points = b""
    for layer_set, numbers in enumerate(((0,), (0, 1))):
        points += number(layer_set, 2) + number(0, 1) + number(len(numbers), 1)
        for layer in numbers:
            # its profile's place in the list, from 1; its number; that it is shown
            points += number(layer + 1, 1) + number(layer << 2 | 0b10, 1)
        points += 2 * (number(width, 2) + number(height, 2))
        points += number(1 << 6, 1)  # 4:2:0, 8 bits, no rates
    structure = b"".join(
        number(layer, 1) + number(0, 1) + number(layer, 1)  # depends on none; its view
        for layer in (0, 1)
    )
    profiles = b"".join(map(_profile, layers.profiles))
    listed = number(len(layers.profiles), 1) + profiles
    return number(_VIEWS, 2) + listed + number(2, 2) + points + number(2, 1) + structure


def layer_information() -> bytes:
    """Return the entry of the group `linf` (9.6.3): layers 0 and 1, of one sub-layer each."""
    return number(2, 1) + b"".join(number(layer << 6, 2) for layer in (0, 1))


def _profile(profile: Profile) -> bytes:
    return (
        number(profile.idc, 1)
        + number(profile.compatibility, 4)
        + number(profile.constraints, 6)
        + number(profile.level, 1)
    )
