"""Each layout as a file: how many pictures, of which size, when, and in which colours."""

from dataclasses import replace

import av
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    EncodeOptions,
    StereoPipeline,
    VideoError,
    convert_file,
    load_depth,
    probe,
    read_frames,
)
from dreamstereo_core.depth import ClipDepth
from dreamstereo_core.packing import DATA, FILE_LAYOUTS, MV_HEVC
from dreamstereo_core.video_io import ColorTags, HdrMetadata, VideoWriter

from .pictures import INFO, times

FAST = EncodeOptions(preset="ultrafast")
LAYOUTS = [layout for layout in FILE_LAYOUTS if layout != "separate"]
SIZES = {
    "full_sbs": (96, 32), "cross_eyed": (96, 32), "full_rgbd": (96, 32), "full_tb": (48, 64),
    "vr180": (152, 76),
}  # fmt: skip
"""Of a film of 48x32; others have its own."""
HDR = HdrMetadata(
    primaries=(13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450),
    luminance=(10000000, 50),
    content_light=(1000, 400),
)
PQ, HLG = ColorTags(9, 16, 9, 1), ColorTags(9, 18, 9, 1)


def write(path, info=INFO, count=6, encode=FAST):
    video = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    video = video.repeat_interleave(8, 2).repeat_interleave(8, 3) * 0.6 + 0.2
    video = torch.cat([video[:1]] * (count // 2) + [video[1:]] * (count - count // 2))
    with VideoWriter(path, replace(info, width=48, height=32), 48, 32, encode) as writer:
        writer.write(video, times(count))
    return path


def run(source, target, layout, encode=FAST, **keywords):
    return convert_file(
        source,
        target,
        depth=load_depth("cues"),
        inpainter=ClassicInpainter(reach=(1,)),
        encode=replace(encode, layout=layout),
        **keywords,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_its_size_and_the_sources_times(tmp_path, layout):
    (path,) = run(write(tmp_path / "clip.mp4"), None, layout)
    info = probe(path)
    assert (info.width, info.height) == SIZES.get(layout, (48, 32))
    found = [frame.time for frame in read_frames(path)]
    twice = layout == "frame_sequential"
    assert found == (times(12, 50) if twice else times(6))
    assert info.frame_rate == (50 if twice else 25)


def test_the_eyes_of_a_frame_follow_each_other(tmp_path):
    source = write(tmp_path / "clip.mp4")
    (path,) = run(source, None, "frame_sequential", replace(FAST, crf=1))
    (pair,) = run(source, None, "full_sbs", replace(FAST, crf=1))
    pictures = torch.stack([frame.pixels for frame in read_frames(path)])
    both = torch.stack([frame.pixels for frame in read_frames(pair)])
    assert (pictures[0::2] - both[..., :48]).abs().mean() < 0.01
    assert (pictures[1::2] - both[..., 48:]).abs().mean() < 0.01


@pytest.mark.parametrize("color", [PQ, HLG], ids=["PQ", "HLG"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_hdr_stays_hdr(tmp_path, layout, color):
    deep = replace(INFO, bit_depth=10, color=color, hdr=HDR)
    source = write(tmp_path / "clip.mp4", deep, 2, replace(FAST, codec="hevc"))
    (path,) = run(source, None, layout)
    info = probe(path)
    assert info.bit_depth == (8 if layout == MV_HEVC else 10)
    if layout in DATA:  # no light, but numbers
        assert (info.color.transfer, info.hdr) == (2, None)
    else:
        assert info.color == color
        # PyAV does not know the number of a view, which FFmpeg puts beside it in two layers.
        assert info.hdr == (None if layout == MV_HEVC else HDR)


def test_layers_are_joined_from_pieces_with_cuts_as_key_frames(tmp_path):
    """A film of three pieces, made by two runs, equals that of a run without an end."""
    source = write(tmp_path / "clip.mp4", count=40)
    (whole,) = run(source, tmp_path / "whole.mp4", MV_HEVC, piece=16 / 25)

    def stop(progress):
        if progress.done > 18:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(source, tmp_path / "a.mp4", MV_HEVC, piece=16 / 25, on_progress=stop)
    assert (tmp_path / "a.mp4.dreamstereo").is_dir()
    (path,) = run(source, tmp_path / "a.mp4", MV_HEVC, piece=16 / 25)
    eyes = []
    for film in (whole, path):
        with av.open(str(film)) as file:
            stream = file.streams.video[0]
            stream.codec_context.options = {"view_ids": "-1"}
            eyes.append([frame.to_ndarray() for frame in file.decode(stream)])
    assert len(eyes[0]) == len(eyes[1]) == 80
    assert all((a == b).all() for a, b in zip(*eyes, strict=True))
    with av.open(str(path)) as file:
        packets = [p for p in file.demux(video=0) if p.pts is not None]
        keys = [round(p.pts * p.time_base * 25) for p in packets if p.is_keyframe]
    assert keys == [0, 16, 20, 32]  # pieces of 16 frames, and the cut


@pytest.mark.parametrize(("source", "target"), [("a.mp4", "b.mkv"), ("a.png", None)])
def test_layers_need_a_movie(tmp_path, source, target):
    path = write(tmp_path / source, count=1)
    with pytest.raises(VideoError, match="mv_hevc needs a name ending in one of"):
        run(path, None if target is None else tmp_path / target, MV_HEVC)


def test_a_film_whose_tracks_need_matroska_becomes_a_quicktime_file(tmp_path):
    source = tmp_path / "clip.mkv"
    with av.open(str(source), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        sound = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        for number in range(3):
            frame = av.VideoFrame(48, 32, "yuv420p")
            frame.pts = number
            file.mux(video.encode(frame))
        samples = av.AudioFrame(format="s16", layout="mono", samples=800)
        samples.sample_rate, samples.pts = 8000, 0
        file.mux(sound.encode(samples))
        for stream in (video, sound):
            file.mux(stream.encode(None))
    (path,) = run(source, None, MV_HEVC)
    assert path.name == "clip_MV-HEVC.mov"
    assert probe(path).has_audio


def test_the_field_of_view_is_the_pictures(tmp_path):
    source = write(tmp_path / "clip.mp4", count=2)
    sides = []
    for degrees in (60, 120):
        (path,) = run(
            source, tmp_path / f"{degrees}.mp4", "vr180", replace(FAST, field_of_view=degrees)
        )
        info = probe(path)
        assert info.width == 2 * info.height
        sides.append(info.height)
        inside = next(read_frames(path)).pixels.amax(0)[info.height // 2, : info.height] > 0.1
        shares = inside.float().mean()
        assert float(shares) == pytest.approx(degrees / 180, abs=0.04)
    assert sides == [132, 44]


class TestTint:
    """The made eye has the source's colours: mean and deviation, where it shows what that shows."""

    width, height, box = 200, 48, slice(80, 120)

    def film(self):
        """A wall of colours, and a box of others before it."""
        generator = torch.Generator().manual_seed(0)
        wall = torch.rand(3, self.height // 4, self.width // 4, generator=generator)
        wall = wall.repeat_interleave(4, 1).repeat_interleave(4, 2)
        level = torch.tensor([0.5, 0.35, 0.2])[:, None, None]
        picture = level + 0.3 * (wall - 0.5)
        picture[..., self.box] = picture[..., self.box].flip(0) * 0.8
        depth = torch.zeros(1, 1, self.height, self.width)
        depth[..., self.box] = 1
        return picture, depth

    def shown(self, picture, mask):
        """Return what the right eye sees: the wall 4 pixels to the right, the box to the left.

        Only where that is known, and not at the box's borders.
        """
        right = torch.roll(picture, 4, -1)
        right[..., 76:116] = picture[..., self.box]
        known = (mask == 0).expand(1, self.height, self.width)[0].clone()
        known[:, :6] = known[:, -6:] = False
        for border in (76, 116):
            known[:, border - 3 : border + 3] = False
        return right, known

    def options(self):
        return ConvertOptions(max_disparity=4, convergence=0.5, max_front=None, max_behind=None)

    @pytest.mark.parametrize("count", [1, 3])
    def test_of_the_pipeline(self, count):
        picture, depth = self.film()
        raw = depth.expand(count, -1, -1, -1)
        pipeline = StereoPipeline(ClipDepth(raw), ClassicInpainter(reach=(1,)), self.options())
        (chunk,) = pipeline.convert([picture] * count)
        for made, mask in zip(chunk.right, chunk.occlusion_mask, strict=True):
            wanted, known = self.shown(picture, mask)
            assert known.float().mean() > 0.8
            ours, theirs = made[:, known], wanted[:, known]
            assert torch.allclose(ours.mean(1), theirs.mean(1), atol=1e-4)
            assert torch.allclose(ours.std(1), theirs.std(1), atol=1e-4)

    @pytest.mark.parametrize("color", [ColorTags(1, 1, 1, 1), PQ, HLG], ids=["SDR", "PQ", "HLG"])
    def test_of_the_file(self, tmp_path, color):
        picture, depth = self.film()
        bits = 8 if color.transfer == 1 else 10
        info = replace(INFO, width=self.width, height=self.height, color=color, bit_depth=bits)
        clean = EncodeOptions(crf=1, preset="ultrafast", chroma="444")
        with VideoWriter(tmp_path / "a.mp4", info, self.width, self.height, clean) as writer:
            writer.write(picture[None], times(1))
        (path,) = convert_file(
            tmp_path / "a.mp4",
            None,
            depth=ClipDepth(depth),
            inpainter=ClassicInpainter(reach=(1,)),
            encode=clean,
            options=self.options(),
        )
        both = next(read_frames(path)).pixels
        source = next(read_frames(tmp_path / "a.mp4")).pixels
        left, right = both.chunk(2, -1)
        wanted, known = self.shown(source, torch.zeros(1, self.height, self.width))
        known[:, 110:130] = False  # the hole
        level = 1 / ((1 << bits) - 1)
        for ours, theirs in ((left, source), (right, wanted)):
            ours, theirs = ours[:, known], theirs[:, known]
            assert torch.allclose(ours.mean(1), theirs.mean(1), atol=level / 2)
            assert torch.allclose(ours.std(1), theirs.std(1), atol=max(level / 2, 1e-3))  # codec
