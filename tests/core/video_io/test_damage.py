"""Files that nobody should trust: they end in one line, soon, and open no other file."""

import os

import av
import numpy as np
import pytest

from dreamstereo_core import load_depth
from dreamstereo_core.video_io import VideoError, probe, read_frames

from ..pictures import ramp, save
from ..sound import film


@pytest.mark.timeout(20)
def test_a_decoder_that_cannot_open_does_not_hang(tmp_path):
    """An ALAC-sized lie in the header of a Matroska H.264 track."""
    path = save(tmp_path / "a.mkv", ramp(5))
    data = bytearray(path.read_bytes())
    at = data.find(b"V_MPEG4/ISO/AVC")
    data[at : at + 15] = b"V_QUICKTIME" + b"\0" * 4
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.mkv: "):
        probe(path)
    with pytest.raises(VideoError, match=r"a\.mkv: "):
        list(read_frames(path))


@pytest.mark.timeout(20)
def test_packets_that_all_fail_end(tmp_path, monkeypatch):
    """The decoder's last call fails as well, again and again."""
    from dreamstereo_core.video_io import info

    class Broken:
        is_open = False

        def decode(self, packet):
            raise av.error.InvalidDataError(1, "Invalid data")

    class Stream:
        codec_context = Broken()

    film(tmp_path / "a.mp4")
    for opened in (False, True):
        Broken.is_open = opened
        with (
            av.open(str(tmp_path / "a.mp4")) as container,
            monkeypatch.context() as patched,
            pytest.raises(VideoError, match="its video cannot be decoded"),
        ):
            packets = container.demux(video=0)
            patched.setattr(info, "demux", lambda *_, packets=packets: packets)
            list(info.decode_frames(container, Stream(), "a.mp4"))


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.exr"])
def test_a_pipe_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for read in (probe, lambda p: list(read_frames(p)), load_depth):
        with pytest.raises(VideoError, match="expected a file, this is a pipe or device"):
            read(tmp_path / name)
    with pytest.raises(VideoError, match="expected a folder of images, found none"):
        probe(tmp_path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "list.mp4", "list.mpd", "list.sdp"])
@pytest.mark.parametrize("kind", ["m3u8", "ffconcat", "mpd", "sdp", "imf"])
def test_a_list_opens_no_other_file(tmp_path, name, kind):
    secret = film(tmp_path / "secret.ts")
    text = {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{secret.name}'\n",
        "mpd": f'<?xml version="1.0"?><MPD><Period><BaseURL>{secret}</BaseURL></Period></MPD>',
        "sdp": "v=0\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "imf": f'<?xml version="1.0"?><CompositionPlaylist>{secret}</CompositionPlaylist>',
    }[kind]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(VideoError, match="cannot be read as video or image"):
        probe(path)
    with path.open("rb") as file, pytest.raises(VideoError, match="cannot be read"):
        probe(file)


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(VideoError, match=r"(cannot be read|no such file)"):
        probe(tmp_path / ("x" * 300 + ".mp4"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_mutants_end(tmp_path, suffix):
    source = film(tmp_path / f"a{suffix}").read_bytes()
    random = np.random.default_rng(7)
    for number in range(12):
        data = bytearray(source)
        for at in random.integers(0, len(data), 20 * (number + 1)):
            data[at] = random.integers(256)
        (tmp_path / f"m{suffix}").write_bytes(data[: len(data) - 500 * number])
        try:
            times = [frame.time for frame in read_frames(tmp_path / f"m{suffix}")]
        except VideoError as error:
            assert "\n" not in str(error)
        else:
            assert times == sorted(set(times))


@pytest.mark.timeout(20)
def test_an_index_that_lies_about_sizes_ends_the_film(tmp_path):
    """FFmpeg reports too little memory for a packet of 900 MB in a file of 50 KB."""
    source = film(tmp_path / "a.avi").read_bytes()
    index = source.rfind(b"idx1") + 8
    counts = set()
    for entry in range(48, 56):  # tag, flags, offset and size, 4 bytes each
        data = bytearray(source)
        data[index + 16 * entry + 15] = 0x35
        (tmp_path / "m.avi").write_bytes(data)
        counts.add(sum(1 for _ in read_frames(tmp_path / "m.avi")))
    assert min(counts) < 50 and max(counts) <= 50
