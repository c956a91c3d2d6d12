"""Open sources in one way: files, file objects, folders and numbered images."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeAlias, cast

import av
from av.container import InputContainer
from av.error import FFmpegError

from ..errors import VideoError as VideoError

Source: TypeAlias = str | Path | BinaryIO
"""A video or image file, an open binary file, a folder of images, or a pattern (frame_%05d.png)."""

_DEMUXERS = (
    "mov matroska webm avi mpegts mpeg mpegvideo m4v h264 hevc vvc av1 obu ivf flv live_flv "
    "kux asf asf_o ogg wtv mxf gxf nut rm dv yuv4mpegpipe gif apng swf nsv h261 h263 cavsvideo "
    "dirac mjpeg mjpeg_2000 dnxhd vc1 vc1test flic smk bink roq film_cpk 4xm ea anm avs2 avs3 "
    "dhav nuv pva ty cine aac ac3 aiff caf eac3 flac mp3 wav image2 ico webp webp_anim "
    "jpegxl_anim bmp_pipe cri_pipe dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe "
    "j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe jpegxs_pipe pam_pipe pbm_pipe pcx_pipe "
    "pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe photocd_pipe png_pipe ppm_pipe psd_pipe "
    "qdraw_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe vbn_pipe webp_pipe xbm_pipe xpm_pipe "
    "xwd_pipe"
)
"""FFmpeg's names of the formats that may be read; none of them can name other files."""

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".exr", ".tga", ".dpx"),
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm"),
)
NUMBER_PATTERN = re.compile(r"%(?:0(\d+))?d")


def source_name(source: Source) -> str:
    """Return the name of a source for messages."""
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the given file object"


def reason(error: Exception) -> str:
    """Return FFmpeg's or the system's text for an error, without the errno and the path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def image_paths(source: Source) -> list[Path] | None:
    """Return the images of a folder or printf pattern in order, or None for any other source.

    Raises:
        VideoError: the path does not exist, or no image matches.
    """
    if not isinstance(source, str | Path):
        return None
    path = Path(source)
    if os.path.isdir(path):
        images = [p for p in path.iterdir() if _is_image(p)]
        if not images:
            raise VideoError(f"{path}: expected a folder of images, found none in it")
        return sorted(images, key=natural_key)
    if os.path.exists(path):  # unlike Path.exists, it is False for a name that is too long
        return None
    match = NUMBER_PATTERN.search(path.name)
    if match is None or not path.parent.is_dir():
        raise VideoError(f"{path}: no such file or folder")
    digits = rf"(\d{{{match[1]},}})" if match[1] else r"(\d+)"
    head, tail = path.name[: match.start()], path.name[match.end() :]
    wanted = re.compile(re.escape(head) + digits + re.escape(tail))
    numbered = [(int(m[1]), p) for p in path.parent.iterdir() if (m := wanted.fullmatch(p.name))]
    if not numbered:
        raise VideoError(f"{path}: no file matches this pattern")
    return [p for _, p in sorted(numbered)]


def _is_image(path: Path) -> bool:
    """Tell whether a path is an image, not a folder or one of macOS's hidden files."""
    return (
        path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts frame_2 before frame_10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def check_file(path: Path) -> None:
    """Require a file that can be read to its end, which a pipe or device may not have.

    Raises:
        VideoError: it is something else, which the message names.
    """
    if not os.path.exists(path):
        raise VideoError(f"{path}: no such file")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or device"
        raise VideoError(f"{path}: expected a file, this is {kind}")


class _SharedReader(io.RawIOBase):
    """A separate cursor over a file object, so that video and audio can be read in parallel."""

    _lock = Lock()  # between a seek and its read nobody else may seek

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self._size = file.seek(0, io.SEEK_END)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            self._file.seek(self._position)
            data = self._file.read(size)
        self._position += len(data)
        return data


@contextmanager
def open_bytes(source: Source) -> Iterator[BinaryIO]:
    """Open a file, or a separate cursor over a file object, for reading bytes.

    Raises:
        VideoError: it is missing, a pipe or device, or cannot be opened.
    """
    if not isinstance(source, str | Path):
        yield cast(BinaryIO, _SharedReader(source))
        return
    check_file(Path(source))
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(source).open("rb"))
        except OSError as error:
            raise VideoError(f"{source}: cannot be read ({reason(error)})") from error
        yield file


@contextmanager
def open_input(source: Source) -> Iterator[InputContainer]:
    """Open a media file or file object for reading.

    Raises:
        VideoError: it is missing, empty or not a media file.
    """
    name = source_name(source)
    # With "file:" a colon in a name is no protocol, and with "none" a % is no pattern.
    options = {
        "format_whitelist": ",".join(_DEMUXERS.split()),
        "protocol_whitelist": "file",
        "pattern_type": "none",
    }
    if isinstance(source, str | Path):
        check_file(Path(source))
        file = f"file:{Path(source)}"
    else:
        file = _SharedReader(source)
    try:
        container = av.open(file, "r", metadata_errors="replace", options=options)
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{name}: cannot be read as video or image ({reason(error)})") from error
    with container:
        yield container
