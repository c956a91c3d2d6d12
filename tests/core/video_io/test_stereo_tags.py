"""Every layout in every container: FFmpeg reads the stereo metadata that is meant."""

import av
import numpy as np
import pytest

from dreamstereo_core.packing import FILE_LAYOUTS, MV_HEVC, PAIRED
from dreamstereo_core.video_io import DecodeOptions, EncodeOptions, probe, read_frames
from dreamstereo_core.video_io.movie import film_entry, read_movie
from dreamstereo_core.video_io.stereo_boxes import tag_layout

from ..pictures import ramp, save

SIDE, OVER, TIME, LINES, COLUMNS = 1, 2, 3, 6, 7
"""AVStereo3DType: two eyes side by side, top-bottom, frame by frame, line by line, by columns."""
HALF_SPHERE = 3
BOXES = {"full_sbs": SIDE, "half_sbs": SIDE, "vr180": SIDE, "full_tb": OVER, "half_tb": OVER,
         "cross_eyed": SIDE}  # fmt: skip
"""What `st3d` and `vexu` can say, in MP4 and QuickTime files, whatever the codec is."""
MATROSKA = {**BOXES, "row_interleaved": LINES, "column_interleaved": COLUMNS}
H264 = {**MATROSKA, "frame_sequential": TIME}
"""What H.264's own message can say, in any container."""
CONTAINERS = {
    ("h264", ".mp4"): H264, ("h264", ".mov"): H264, ("h264", ".mkv"): H264,
    ("hevc", ".mp4"): BOXES, ("hevc", ".mov"): BOXES, ("hevc", ".mkv"): MATROSKA,
    ("av1", ".mp4"): BOXES, ("av1", ".mkv"): MATROSKA, ("av1", ".webm"): MATROSKA,
}  # fmt: skip
LAYOUTS = [layout for layout in FILE_LAYOUTS if layout not in ("separate", MV_HEVC)]


def side_data(frame, name):
    found = frame.side_data.get(name)
    return None if found is None else np.frombuffer(bytes(found), np.int32).tolist()


def written(tmp_path, codec, suffix, layout):
    preset = "12" if codec == "av1" else "ultrafast"
    options = EncodeOptions(codec, preset=preset, layout=layout)
    return save(tmp_path / f"a{suffix}", ramp(2, 96, 192), encode=options, layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("codec", "suffix"), CONTAINERS, ids="".join)
def test_layouts_are_read_back(tmp_path, codec, suffix, layout):
    with av.open(str(written(tmp_path, codec, suffix, layout))) as file:
        frames = list(file.decode(video=0))
        mode = file.streams.video[0].metadata.get("stereo_mode")
    assert len(frames) == (4 if layout in PAIRED else 2)
    stereo = side_data(frames[0], "STEREO3D")
    kind = CONTAINERS[codec, suffix].get(layout)
    assert (None if stereo is None else stereo[0]) == kind
    if kind is not None:
        assert (stereo[1] == 1) == (layout == "cross_eyed")  # the right eye comes first
    assert (mode is not None) == (suffix in (".mkv", ".webm") and layout in MATROSKA)
    sphere = side_data(frames[0], "SPHERICAL")
    assert (sphere is not None and sphere[0] == HALF_SPHERE) == (
        layout == "vr180" and suffix in (".mp4", ".mov")
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_layers_are_no_packed_picture(tmp_path, suffix):
    options = EncodeOptions(preset="ultrafast", layout=MV_HEVC)
    path = save(tmp_path / f"a{suffix}", ramp(2, 96, 192), encode=options, layout=MV_HEVC)
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == 2
    assert (probe(path).width, probe(path).height) == (96, 96)


@pytest.mark.parametrize("eye", ["left", "right"])
@pytest.mark.parametrize("layout", ["full_sbs", "cross_eyed"])
def test_our_own_reader_takes_the_right_eye_of_it(tmp_path, layout, eye):
    frames = ramp(2, 96, 192).clone()
    frames[..., :96], frames[..., 96:] = 0.2, 0.8
    path = tmp_path / "a.mp4"
    save(path, frames, encode=EncodeOptions("hevc", preset="ultrafast"), layout=layout)
    picture = next(read_frames(path, options=DecodeOptions(source_eye=eye))).pixels
    first = (eye == "left") == (layout == "full_sbs")
    assert float(picture.mean()) == pytest.approx(0.2 if first else 0.8, abs=0.02)


def test_tags_of_a_copied_piece_are_not_doubled(tmp_path):
    path = written(tmp_path, "hevc", ".mp4", "full_sbs")
    movie = read_movie(path)
    before = movie.pack()
    tag_layout(movie, "full_sbs")
    assert movie.pack() == before
    children = film_entry(movie).children
    children.sort(key=lambda child: child.kind != b"vexu")  # as FFmpeg's muxer would put it
    tag_layout(movie, "full_sbs")
    kinds = [child.kind for child in film_entry(movie).children]
    assert kinds.index(b"st3d") < kinds.index(b"vexu")
    tag_layout(movie, None)
    kinds = [child.kind for child in film_entry(movie).children]
    assert not {b"st3d", b"vexu", b"sv3d", b"hfov"} & set(kinds)


def test_pictures_lie_behind_the_index_and_are_whole(tmp_path):
    """FFmpeg's own pass that moves the index is not used any more."""
    data = written(tmp_path, "h264", ".mp4", "full_tb").read_bytes()
    assert data.index(b"ftyp") < data.index(b"moov") < data.index(b"mdat")
