"""Parts that were converted apart become one film by copying packets."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from dreamstereo_core import (
    ClassicInpainter,
    ConvertOptions,
    DecodeOptions,
    EncodeOptions,
    VideoError,
    convert_file,
    load_depth,
    read_frames,
)
from dreamstereo_core.pieces import join_videos, picture_times
from dreamstereo_core.plan import make_plan

from ..picture_files import write_film

CUT, FRAMES = 9, 20
SOURCE = DecodeOptions(source_layout="2d")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots with uneven times, which do not begin at 0, and sound."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    grounds = np.random.default_rng(0).integers(0, 255, (2, 8, 12, 3), np.uint8)
    base, stamps, pictures = Fraction(1, 1000), [500], []
    for i in range(FRAMES):
        picture = grounds[int(i >= CUT)].repeat(8, 0).repeat(8, 1)
        picture[20:44, 10 + 2 * i : 30 + 2 * i] = (200, 30, 60)
        pictures.append(picture)
        stamps.append(stamps[-1] + (31, 42, 90)[i % 3])
    at = [stamp * base for stamp in stamps[:-1]]
    return write_film(path, pictures, rate=24, base=base, at=at, silence=8 * stamps[-1])


def convert(film, target, **how):
    options = ConvertOptions(chunk_frames=4)
    convert_file(film, target, depth=load_depth("cues"), inpainter=ClassicInpainter(reach=(1,)),
                 options=options, encode=EncodeOptions(preset="ultrafast"), **how)  # fmt: skip
    return target


def seen(path):
    frames = list(read_frames(path, options=SOURCE))
    return torch.stack([f.pixels for f in frames]), [f.time for f in frames]


def sound(path):
    with av.open(str(path)) as container:
        return [(p.pts, bytes(p)) for p in container.demux(container.streams.audio[0]) if p.size]


@pytest.fixture(scope="module")
def parts(film, tmp_path_factory):
    folder, plan = tmp_path_factory.mktemp("parts"), make_plan(film)
    ranges = [(0, 6), (6, CUT), (CUT, None)]
    return [
        convert(film, folder / f"{first:02}.mkv", plan=plan, frames=(first, stop))
        for first, stop in ranges
    ]


def test_joined_parts_have_the_frames_times_and_sound_of_the_whole(film, parts, tmp_path):
    join_videos(parts, film, tmp_path / "joined.mkv")
    joined, whole = tmp_path / "joined.mkv", convert(film, tmp_path / "whole.mkv")
    pictures, times = seen(joined)
    assert torch.equal(pictures, torch.cat([seen(part)[0] for part in parts]))
    assert times == seen(whole)[1]
    assert (pictures - seen(whole)[0]).abs().mean() < 0.01  # encoded in other groups
    assert sound(joined) == sound(whole)


def test_a_part_that_is_missing_or_there_twice(film, parts, tmp_path):
    for wrong, found in ((parts[1:], 14), ([*parts, parts[1]], 23)):
        with pytest.raises(VideoError, match=f"expected parts of 20 frames together, got {found}"):
            join_videos(wrong, film, tmp_path / "a.mkv")
    with pytest.raises(VideoError, match="expected parts to join, got none"):
        join_videos([], film, tmp_path / "a.mkv")
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_coding(film, parts, tmp_path):
    other = tmp_path / "other.mkv"
    convert_file(film, other, depth=load_depth("cues"), inpainter=ClassicInpainter(reach=(1,)),
                 encode=EncodeOptions("hevc", preset="ultrafast"), frames=(CUT, None))  # fmt: skip
    with pytest.raises(VideoError, match="expected the same coding"):
        join_videos([*parts[:2], other], film, tmp_path / "a.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["other.mkv"]


def test_times_are_those_of_the_decoded_pictures(film):
    assert picture_times(film) == seen(film)[1]
