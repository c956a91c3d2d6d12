"""NVIDIA's encoder, by software that stands for it: the trial, its limits, tags, pieces."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from dreamstereo_core.video_io import (
    ColorTags,
    EncodeOptions,
    HdrMetadata,
    VideoError,
    nvenc,
    probe,
)
from dreamstereo_core.video_io import encoder as encoder_module
from dreamstereo_core.video_io.color import plane_views, repacked, rgb_to_frame
from dreamstereo_core.video_io.encode_options import CODECS
from dreamstereo_core.video_io.encoder import picture_format
from dreamstereo_core.video_io.frame_packing import FRAME_PACKING, _escaped

from ..pictures import INFO, ramp, save, times


@pytest.fixture
def no_card(monkeypatch):
    """Any machine is one without a card."""
    nvenc._try.cache_clear()
    monkeypatch.setattr(nvenc, "nvenc_name", lambda codec: f"no_{codec}_here")
    yield
    nvenc._try.cache_clear()


@pytest.fixture
def card(monkeypatch):
    """x264 and x265 stand for a card's encoders; returns the trials."""
    nvenc._try.cache_clear()
    trials = []

    def name(codec):
        return CODECS[codec].encoder

    def options(codec, crf, preset):
        trials.append(codec)
        return {"crf": str(crf), "preset": "ultrafast"}

    for module in (nvenc, encoder_module):
        monkeypatch.setattr(module, "nvenc_name", name)
        monkeypatch.setattr(module, "nvenc_options", options)
    yield trials
    nvenc._try.cache_clear()


def chosen(tmp_path, of="full_sbs", size=(128, 48), info=INFO, **encode):
    encode = EncodeOptions(**({"encoder": "auto"} | encode))
    return picture_format(info, size, encode, of, tmp_path / "a.mp4").encode.encoder


def test_the_default_asks_no_card(tmp_path, monkeypatch):
    monkeypatch.setattr(nvenc, "_try", lambda *_: pytest.fail("tried"))
    assert chosen(tmp_path, encoder="software") == EncodeOptions().encoder == "software"


def test_without_a_card_auto_says_so_and_nvenc_is_an_error(tmp_path, no_card, caplog):
    assert chosen(tmp_path) == "software"
    assert caplog.text.count("encoded by software (this build of PyAV has no no_h264_here)") == 1
    with pytest.raises(VideoError, match=r"a.mp4: encoder: nvenc cannot be used here \(this build"):
        chosen(tmp_path, encoder="nvenc")
    with pytest.raises(VideoError, match="encoder: nvenc cannot be used here"):
        save(tmp_path / "b.mp4", ramp(2), encode=EncodeOptions(encoder="nvenc"))
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_does_not_open_does_not_work(monkeypatch):
    """PyAV lists NVENC without a card, too: what counts is a picture."""
    nvenc._try.cache_clear()
    monkeypatch.setattr(nvenc, "nvenc_options", lambda *_: {"preset": "none such"})
    monkeypatch.setattr(nvenc, "nvenc_name", lambda codec: "libx264")
    assert "libx264: " in nvenc._try("h264", (64, 48), 8, False)
    nvenc._try.cache_clear()


def test_it_is_tried_once_for_each_kind_of_picture(tmp_path, card):
    assert [chosen(tmp_path) for _ in range(3)] == ["nvenc"] * 3
    assert card == ["h264"]
    assert chosen(tmp_path, codec="hevc") == "nvenc"
    assert card == ["h264", "hevc"]


@pytest.mark.parametrize(
    ("codec", "size", "works"),
    [
        *(("h264", (4096, 64), True), ("h264", (4098, 64), False)),
        *(("hevc", (8192, 64), True), ("hevc", (8194, 64), False), ("av1", (64, 8194), False)),
    ],
)
def test_its_widest_pictures(tmp_path, monkeypatch, caplog, codec, size, works):
    monkeypatch.setattr(nvenc, "_try", lambda *_: None)
    assert chosen(tmp_path, size=size, codec=codec) == ("nvenc" if works else "software")
    assert (f"{codec} up to" in caplog.text) != works


@pytest.mark.parametrize(
    ("change", "encode", "why"),
    [
        ({"bit_depth": 10}, {"codec": "h264"}, "no h264 of 10 bits 4:2:0"),
        ({"bit_depth": 10}, {"codec": "hevc", "chroma": "444"}, "no hevc of 10 bits 4:4:4"),
        ({"hdr": HdrMetadata(None, None, (1000, 400))}, {"codec": "hevc"}, "HDR10 brightness"),
        ({}, {"codec": "h264", "layout": "frame_sequential"}, "which eye a picture is for"),
    ],
)
def test_what_it_cannot_say_is_left_to_software(tmp_path, monkeypatch, caplog, change, encode, why):
    monkeypatch.setattr(nvenc, "_try", lambda *_: None)
    layout = encode.get("layout", "full_sbs")
    assert chosen(tmp_path, layout, info=replace(INFO, **change), **encode) == "software"
    assert why in caplog.text


def test_mv_hevc_is_software(tmp_path):
    with pytest.raises(ValueError, match="encoder: expected software with mv_hevc, got nvenc"):
        EncodeOptions(layout="mv_hevc", encoder="nvenc")
    assert chosen(tmp_path, "mv_hevc", layout="mv_hevc") == "software"


def test_its_options_are_ones_that_ffmpeg_knows():
    """An unknown value is refused before a card is looked for; an unknown name passes silently."""
    for codec in CODECS:
        names = {**nvenc.nvenc_options(codec, 20, None), **nvenc.nvenc_options(codec, 0, None)}
        for name in names:
            with pytest.raises(Exception, match="nvalid argument"):
                open_nvenc(codec, {name: "no such value"})
        top = nvenc.nvenc_options(codec, CODECS[codec].crf_max, "p7")
        try:
            open_nvenc(codec, top)
        except Exception as error:  # there is no card
            assert "out of range" not in str(error) and "nvalid argument" not in str(error)


def open_nvenc(codec, options):
    try:
        context = av.CodecContext.create(f"{codec}_nvenc", "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip("this build of PyAV has none")
    context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
    context.time_base, context.options = Fraction(1, 25), options
    context.open()


def test_ten_bits_are_repacked_without_loss():
    picture = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    frame = rgb_to_frame(picture, 1, False, 10)
    packed = repacked(frame, nvenc.nvenc_format(10, False))
    assert (packed.format.name, packed.color_range) == ("p010le", frame.color_range)
    luma = np.frombuffer(packed.planes[0], np.uint16).reshape(32, -1)[:, :48] >> 6
    assert np.array_equal(luma, plane_views(frame)[0])
    back = repacked(packed, "yuv420p10le")
    for plane, other in zip(plane_views(back), plane_views(frame), strict=True):
        assert np.array_equal(plane, other)


@pytest.mark.parametrize("layout", [name for name in FRAME_PACKING if name != "frame_sequential"])
def test_h264_says_how_the_eyes_lie(tmp_path, card, layout):
    """As x264 says it, which writes the message itself; in Matroska no box says it, too."""
    found = []
    for encoder in ("nvenc", "software"):
        encode = EncodeOptions("h264", encoder=encoder, preset="ultrafast")
        path = save(tmp_path / f"{encoder}.mkv", ramp(3, 48, 128), INFO, encode, layout=layout)
        found.append(messages(path))
    assert found[0] == found[1] and len(found[0]) == 1


def messages(path):
    """Return the payloads of the frame packing messages in a Matroska file's H.264."""
    result = []
    with av.open(str(path)) as file:
        for packet in file.demux(video=0):
            data = bytes(packet)
            while data:
                size = int.from_bytes(data[:4], "big")
                unit, data = data[4 : 4 + size], data[4 + size :]
                if unit[0] & 31 == 6 and unit[1] == 45:
                    result.append(unit[3 : 3 + unit[2]])
    return result


def test_tags_times_and_colours_are_those_of_software(tmp_path, card):
    info = replace(INFO, color=ColorTags(1, 1, 1, 1))
    probes = []
    for encoder in ("nvenc", "software"):
        encode = EncodeOptions("h264", encoder=encoder, preset="ultrafast")
        path = save(tmp_path / f"{encoder}.mp4", ramp(5), info, encode, times(5), layout="full_sbs")
        found = probe(path)
        probes.append((found.color, found.frame_count, found.frame_rate, found.bit_depth))
    assert probes[0] == probes[1]


def test_escaped_bytes_hold_no_start_code():
    assert _escaped(b"\1\0\0\1\0\0\0\0\3") == b"\1\0\0\3\1\0\0\3\0\0\3\3"
