"""Boxes of MP4 and QuickTime files: their bytes by hand, and the movie box's way to the front."""

import io

import pytest

from dreamstereo_core.video_io import layered_boxes, movie, stereo_boxes
from dreamstereo_core.video_io.box_tree import Box, box, full_box, number, parse
from dreamstereo_core.video_io.multiview import Layers, Profile

from ..pictures import ramp, save

LAYERS = Layers(
    vps=b"\x40\x01V",
    sps=b"\x42\x01S",
    pps=b"\x44\x01P",
    profiles=(
        Profile(1, 0x60000000, 0x900000000000, 93),
        Profile(6, 0x02000000, 0x9F8800000000, 93),
    ),
    size=(1920, 1080),
)


def plain(text):
    """Return bytes written as hexadecimal numbers and 'letters'."""
    return b"".join(
        word[1:-1].encode() if word.startswith("'") else bytes.fromhex(word)
        for word in text.split()
    )


GOLDEN = {
    "st3d": (stereo_boxes.stereo_3d(2), "0000000d 'st3d' 00000000 02"),
    "sv3d": (
        stereo_boxes.spherical_video(),
        "0000005c 'sv3d' 00000018 'svhd' 00000000 'DreamStereo' 00"
        " 0000003c 'proj' 00000018 'prhd' 00000000 00000000 00000000 00000000"
        " 0000001c 'equi' 00000000 00000000 00000000 40000000 40000000",
    ),
    "vexu": (
        stereo_boxes.extended_usage(3, packing=b"side"),
        "00000035 'vexu' 00000015 'eyes' 0000000d 'stri' 00000000 03"
        " 00000018 'pack' 00000010 'pkin' 00000000 'side'",
    ),
    "vexu of a clip": (
        stereo_boxes.extended_usage(3, projection=b"rect", hero=1, baseline_um=63_500),
        "00000072 'vexu' 00000018 'proj' 00000010 'prji' 00000000 'rect'"
        " 00000052 'eyes' 0000000d 'stri' 00000000 03 0000000d 'hero' 00000000 01"
        " 00000018 'cams' 00000010 'blin' 00000000 0000f80c"
        " 00000018 'cmfy' 00000010 'dadj' 00000000 00000000",
    ),
    "hfov": (stereo_boxes.field_of_view(63.5), "0000000c 'hfov' 0000f80c"),
    "lhvC": (
        layered_boxes.decoder_configurations(bytes(22), LAYERS)[1],
        "0000001e 'lhvC' 01 f000 fc cf 02"
        " a1 0001 0003 4209 'S' a2 0001 0003 4409 'P'",
    ),
    "linf": (
        layered_boxes.sample_group("linf", layered_boxes.layer_information(), 9),
        "0000001d 'sgpd' 01000000 'linf' 00000005 00000001 02 0000 0040"
        " 0000001c 'sbgp' 00000000 'linf' 00000001 00000009 00000001",
    ),
    "oinf": (
        layered_boxes.operating_points(LAYERS),
        "0002 02 01 60000000 900000000000 5d 06 02000000 9f8800000000 5d"
        " 0002"
        " 0000 00 01 01 02 0780 0438 0780 0438 40"
        " 0001 00 02 01 02 02 06 0780 0438 0780 0438 40"
        " 02 00 00 00 01 00 01",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_boxes_are_these_bytes(name):
    made, wanted = GOLDEN[name]
    assert made.hex(" ") == plain(wanted).hex(" ")


def test_the_base_layers_configuration_keeps_ffmpegs_beginning():
    made = layered_boxes.decoder_configurations(bytes(range(22)) + b"rest", LAYERS)[0]
    assert made[:31] == number(len(made), 4) + b"hvcC" + bytes(range(22)) + b"\x04"
    assert [made[i : i + 1] for i in (31, 39, 47, 55)] == [b"\xa0", b"\xa1", b"\xa2", b"\x27"]


def test_what_is_parsed_packs_to_the_same_bytes(tmp_path):
    data = save(tmp_path / "a.mp4", ramp(3), layout="full_sbs").read_bytes()
    (found,) = [made for made in parse(data) if made.kind == b"moov"]
    assert found.pack() in data


@pytest.mark.parametrize("data", [b"\0\0\0\7free", b"\0\0\0\x20freeab", b"\0\0"])
def test_damaged_boxes_are_refused(data):
    with pytest.raises(ValueError, match="expected at most"):
        list(parse(data))


def table(*offsets, wide=False):
    width = 8 if wide else 4
    content = number(len(offsets), 4), *(number(offset, width) for offset in offsets)
    return full_box("co64" if wide else "stco", *content)


def track(*boxes):
    return box("trak", box("mdia", box("minf", box("stbl", *boxes))))


def movie_file(path, *tracks, pictures=b"pictures"):
    path.write_bytes(
        box("ftyp", b"isom") + box("free") + box("mdat", pictures) + box("moov", *tracks)
    )
    return path


def offsets(movie_box):
    """Return the type and the numbers of each track's table of chunks."""
    found = []
    for one in movie_box.children:
        (chunks,) = one.child(b"mdia", b"minf", b"stbl").children
        width = 8 if chunks.kind == b"co64" else 4
        data = chunks.head[8:]
        found.append(
            (chunks.kind, [int.from_bytes(data[i : i + width]) for i in range(0, len(data), width)])
        )
    return found


def test_the_movie_box_moves_to_the_front_and_offsets_follow(tmp_path):
    pictures = b"first-then-second"
    path = movie_file(tmp_path / "a.mp4", track(table(28, 34)), pictures=pictures)
    movie.finish_movie(path, lambda found: found.children.append(Box(b"udta", b"something")))
    data = path.read_bytes()
    assert [made.kind for made in parse(data)] == [b"ftyp", b"moov", b"free", b"mdat"]
    assert data.endswith(pictures) and b"something" in data
    found = movie.read_movie(path)
    found.children = [child for child in found.children if child.kind == b"trak"]
    ((kind, (first, second)),) = offsets(found)
    assert kind == b"stco"
    assert data[first:].startswith(b"first") and data[second:].startswith(b"then")


def test_blocks_are_moved_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(movie, "_BLOCK", 7)
    pictures = bytes(range(256)) * 3
    path = movie_file(tmp_path / "a.mp4", track(table(28)), pictures=pictures)
    movie.finish_movie(path)
    assert path.read_bytes().endswith(pictures)


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        ((1 << 32) - 1000, b"stco"),  # it fits still
        ((1 << 32) - 100, b"co64"),  # it does not, once the movie box lies before it
        ((1 << 32) - 1, b"co64"),
    ],
)
def test_offsets_beyond_4_gb_get_64_bits(before, kind):
    """The headers of a film of 4 GiB, without the film; the sound's chunks stay where they fit."""
    large = box("moov", track(table(28, before)), track(table(28)))
    (found,) = parse(large)
    data = movie._moved(found)
    (moved,) = parse(data)
    assert offsets(moved) == [
        (kind, [28 + len(data), before + len(data)]),
        (b"stco", [28 + len(data)]),
    ]


def test_offsets_of_64_bits_stay_so():
    (found,) = parse(box("moov", track(table(28, 1 << 33, wide=True))))
    data = movie._moved(found)
    assert offsets(next(parse(data))) == [(b"co64", [28 + len(data), (1 << 33) + len(data)])]


def test_a_size_of_64_bits_is_read():
    """`mdat` of more than 4 GiB has its size behind its type."""
    large = number(1, 4) + b"mdat" + number(20, 8) + b"abcd"
    places = list(movie._top_level(io.BytesIO(box("ftyp", b"isom") + large + box("moov"))))
    assert [(place.kind, place.end - place.start) for place in places] == [
        (b"ftyp", 12), (b"mdat", 20), (b"moov", 8),
    ]  # fmt: skip


def test_other_files_are_left_alone(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(box("ftyp", b"isom") + box("moov") + box("mdat", b"pictures"))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="expected a movie box at the end, got ftyp moov mdat"):
        movie.finish_movie(path)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="no track of pictures"):
        movie.film_entry(movie.read_movie(path))
    path.write_bytes(box("ftyp", b"isom"))
    with pytest.raises(ValueError, match="has no movie box"):
        movie.read_movie(path)
