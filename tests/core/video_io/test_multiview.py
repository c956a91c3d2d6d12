"""MV-HEVC: both eyes in one track, to the bit what two plain encoders made."""

from dataclasses import replace
from fractions import Fraction

import av
import pytest
import torch
from av import CodecContext
from av.video.frame import PictureType

from dreamstereo_core.video_io import EncodeOptions, VideoError, VideoWriter, probe
from dreamstereo_core.video_io.bits import BitReader, BitWriter, join_units, split_units
from dreamstereo_core.video_io.color import rgb_to_frame
from dreamstereo_core.video_io.encoder import picture_format
from dreamstereo_core.video_io.movie import film_entry, film_track, read_movie
from dreamstereo_core.video_io.multiview import join_pictures, make_layers, unit_type

from ..pictures import INFO, ramp, save, times

LAYERED = EncodeOptions(preset="ultrafast", layout="mv_hevc")
CUT = 7


def film(count=20, height=48, width=64):
    """Blocks that move, another picture from `CUT` on, and a right eye that is shifted."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.rand(2, 3, height // 8 + 1, width // 8 + 12, generator=generator)
    large = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)[..., :height, :]
    frames = []
    for t in range(count):
        picture = large[int(t >= CUT)]
        eyes = [picture[..., 2 * t + shift : 2 * t + shift + width] for shift in (0, 5)]
        frames.append(torch.cat(eyes, -1))
    return torch.stack(frames)


def write(path, video, encode=LAYERED, info=INFO, at=None):
    """Write a film with a cut; the shots come in calls of their own."""
    height, width = video.shape[2:]
    at = at or times(len(video))
    with VideoWriter(path, info, width, height, encode, layout="mv_hevc") as writer:
        for begin, end in ((0, CUT), (CUT, len(video))):
            if video[begin:end].numel():
                writer.write(video[begin:end], at[begin:end], new_shot=True)
    return path


def decoded(path, views=None):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        if views is not None:
            stream.codec_context.options = {"view_ids": views}
        return [frame.to_ndarray() for frame in file.decode(stream)]


def plain(video, eye, tmp_path, encode=LAYERED):
    """Return what a plain HEVC encoder makes of one eye, decoded."""
    height, width = video.shape[2:]
    how = picture_format(INFO, (width, height), encode, "mv_hevc", tmp_path / "a.mp4")
    context = CodecContext.create("libx265", "w")
    how.configure(context)
    context.time_base, context.framerate = how.time_base, how.rate
    packets = []
    for number, picture in enumerate(video):
        frame = rgb_to_frame(picture.chunk(2, -1)[eye], how.matrix, how.full, 8)
        frame.pts, frame.time_base = round(number / how.rate / how.time_base), how.time_base
        if number in (0, CUT):
            frame.pict_type = PictureType.I
        packets += context.encode(frame)
    path = tmp_path / "plain.hevc"
    path.write_bytes(b"".join(map(bytes, [*packets, *context.encode(None)])))
    return decoded(path)


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
def test_both_eyes_are_to_the_bit_what_plain_encoders_make(tmp_path, preset):
    video, encode = film(), replace(LAYERED, preset=preset)
    path = write(tmp_path / "a.mp4", video, encode)
    both = decoded(path, views="-1")
    left, right = (plain(video, eye, tmp_path, encode) for eye in (0, 1))
    assert (len(both), len(left), len(right)) == (40, 20, 20)
    assert all((a == b).all() for a, b in zip(both[::2], left, strict=True))
    assert all((a == b).all() for a, b in zip(both[1::2], right, strict=True))
    # A player that knows one layer only shows the left eye.
    assert all((a == b).all() for a, b in zip(decoded(path), left, strict=True))
    wanted = rgb_to_frame(video[3].chunk(2, -1)[1], 6, False, 8).to_ndarray()
    assert abs(both[7].astype(int) - wanted).mean() < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_container_describes_two_layers(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}", film(9))
    movie = read_movie(path)
    entry = film_entry(movie)
    assert entry.kind == b"hvc1"
    kinds = [child.kind for child in entry.children]
    assert {b"hvcC", b"lhvC", b"vexu"} <= set(kinds)
    assert not {b"st3d", b"hfov"} & set(kinds)
    track = film_track(movie)
    samples = track.child(b"mdia", b"minf", b"stbl")
    groups = {c.head[4:8]: c.head for c in samples.children if c.kind == b"sbgp"}
    assert set(groups) == {b"oinf", b"linf"}
    assert all(int.from_bytes(head[12:16], "big") == 9 for head in groups.values())
    assert track.child(b"trgr").head[4:8] == b"cstg"
    assert b"moov" in path.read_bytes()[:64]


def test_a_spatial_clip_says_how_wide_it_is_seen(tmp_path):
    path = write(tmp_path / "a.mov", film(2), replace(LAYERED, spatial=True, field_of_view=60))
    entry = film_entry(read_movie(path))
    assert entry.child(b"hfov").head == (60_000).to_bytes(4, "big")
    usage = entry.child(b"vexu").head
    assert usage[usage.index(b"blin") + 8 :][:4] == (63_500).to_bytes(4, "big")
    assert usage[usage.index(b"dadj") + 8 :][:4] == bytes(4)


def test_cuts_are_key_frames(tmp_path):
    path = write(tmp_path / "a.mp4", film())
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.pts is not None]
        keys = [round(p.pts * p.time_base * 25) for p in packets if p.is_keyframe]
    assert keys == [0, CUT]


def test_there_is_a_key_frame_every_two_seconds(tmp_path):
    path = save(tmp_path / "a.mp4", ramp(120, 16, 64), encode=LAYERED, layout="mv_hevc")
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.pts is not None]
        keys = [round(p.pts * p.time_base * 25) for p in packets if p.is_keyframe]
    assert keys == [0, 50, 100]


@pytest.mark.parametrize("size", [(47, 63), (17, 16), (48, 65)])
def test_an_odd_size_grows_by_a_row_or_column(tmp_path, size):
    height, width = size
    video = film(3, height, width)
    path = write(tmp_path / "a.mp4", video)
    even = width + width % 2, height + height % 2
    assert (probe(path).width, probe(path).height) == even
    both = decoded(path, views="-1")
    assert [frame.shape for frame in both] == [(even[1] * 3 // 2, even[0])] * 6


def test_a_film_of_one_frame(tmp_path):
    assert len(decoded(write(tmp_path / "a.mp4", film(1)), views="-1")) == 2


def test_times_are_the_sources_own(tmp_path):
    at = [Fraction(n, 12800) for n in (100, 612, 2000, 2001, 9000)]
    path = write(tmp_path / "a.mp4", film(5), at=at)
    with av.open(str(path)) as file:
        found = [frame.pts * frame.time_base for frame in file.decode(video=0)]
    assert found == [t - at[0] for t in at]


def test_pieces_join_to_one_film(tmp_path):
    """What a long film does: files of their own, whose packets are copied."""
    video, parts = film(), []
    for begin, end in ((0, CUT), (CUT, 20)):
        part = tmp_path / f"{begin}.mp4"
        with VideoWriter(part, INFO, 128, 48, LAYERED, layout="mv_hevc") as writer:
            writer.write(video[begin:end], times(20)[begin:end], new_shot=True)
        parts.append((part, Fraction(begin, 25)))
    joined = tmp_path / "joined.mp4"
    with VideoWriter(joined, INFO, 128, 48, LAYERED, layout="mv_hevc", like=parts[0][0]) as writer:
        for part, time in parts:
            writer.copy(part, time)
    pictures = [picture for part, _ in parts for picture in decoded(part, views="-1")]
    pairs = zip(decoded(joined, views="-1"), pictures, strict=True)
    assert all((a == b).all() for a, b in pairs)
    entries = [film_entry(read_movie(path)).children for path in (joined, parts[0][0])]
    ours, theirs = ({c.kind: c.head for c in children} for children in entries)
    assert ours.keys() == theirs.keys()
    for kind in (b"hvcC", b"lhvC", b"vexu"):
        assert ours[kind] == theirs[kind]


def test_deeper_sources_become_8_bits_and_keep_their_transfer(tmp_path, caplog):
    info = replace(INFO, bit_depth=10, color=replace(INFO.color, primaries=9, transfer=16))
    path = write(tmp_path / "a.mp4", film(2), info=info)
    assert "mv_hevc has 8 bits" in caplog.text
    assert probe(path).bit_depth == 8
    assert (probe(path).color.primaries, probe(path).color.transfer) == (9, 16)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.png", "a_%05d.png"])
def test_other_files_are_refused_at_the_door(tmp_path, name):
    with pytest.raises(VideoError, match=r"mv_hevc needs a name ending in one of .mp4, .m4v, .mov"):
        VideoWriter(tmp_path / name, INFO, 128, 48, LAYERED, layout="mv_hevc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "h264"}, "codec: expected hevc with mv_hevc, got h264"),
        ({"bit_depth": 10}, "bit_depth: expected 8 with mv_hevc, got 10"),
        ({"chroma": "444"}, "chroma: expected 420 with mv_hevc, got 444"),
        ({"layout": "full_sbs", "spatial": True}, "spatial: expected the layout mv_hevc"),
        ({"field_of_view": 200}, r"field_of_view: expected a value in \[10, 170\]"),
    ],
)
def test_options_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        EncodeOptions(**{"layout": "mv_hevc", **options})


def test_bits_survive_and_never_look_like_a_start():
    writer = BitWriter().put(5, 3).exponential(0, 1, 2, 3, 255, 70_000).put(0, 64).put(3, 8)
    unit = writer.unit(32)
    assert b"\0\0\0" not in unit and b"\0\0\1" not in unit
    reader = BitReader(unit)
    assert reader.take(3) == 5
    assert [reader.exponential() for _ in range(6)] == [0, 1, 2, 3, 255, 70_000]
    assert reader.take(64) == 0 and reader.take(8) == 3
    with pytest.raises(ValueError, match="ends too early"):
        reader.take(64)


def test_units_are_split_as_they_were_joined():
    units = [b"\x40\x01a", b"\x42\x01\0\0\3b", b"\x02\x01c"]
    assert split_units(join_units(units)) == units
    assert split_units(b"\0\0\1\x40\x01a\0\0\0\1\x42\x01b") == [b"\x40\x01a", b"\x42\x01b"]


def test_pictures_of_different_kinds_are_not_joined():
    left, right = join_units([b"\x02\x01l"]), join_units([b"\x26\x01r"])
    assert unit_type(split_units(right)[0]) == 19
    with pytest.raises(ValueError, match="same kinds"):
        join_pictures(left, right, key=False)


def test_headers_must_be_those_of_a_plain_stream_of_8_bits():
    with pytest.raises(ValueError, match="expected a video, a sequence and a picture"):
        make_layers(join_units([b"\x40\x01a"]))
    context = CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt = 64, 48, "yuv420p10le"
    context.time_base, context.options = Fraction(1, 25), {"x265-params": "log-level=error"}
    context.flags |= av.codec.context.Flags.global_header
    context.open()
    with pytest.raises(ValueError, match="8 bits"):
        make_layers(context.extradata)
