"""Where frames come from: files, file objects, folders and numbered images, opened the same way."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeAlias, cast

import av
from av.container import InputContainer
from av.error import FFmpegError

Source: TypeAlias = str | Path | BinaryIO
"""A video or image file, an open binary file, a folder of images, or a pattern (frame_%05d.png)."""

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".exr", ".tga", ".dpx"),
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm"),
)
NUMBER_PATTERN = re.compile(r"%(?:0(\d+))?d")


class VideoError(ValueError):
    """Something is wrong with a media file; the text is one readable line that names it."""


def source_name(source: Source) -> str:
    """Return what an error message calls this source."""
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the given file object"


def reason(error: Exception) -> str:
    """Return FFmpeg's or the system's own words for an error, without the errno and the path."""
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
    if path.is_dir():
        images = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise VideoError(f"{path}: expected a folder of images, found none in it")
        return sorted(images, key=_natural_key)
    if path.exists():
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


def _natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort frame_2 before frame_10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


class _SharedReader(io.RawIOBase):
    """A cursor of its own over a file object, so that video and audio can be read side by side."""

    _lock = Lock()  # seek and read of the shared file belong together

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
    """Open a file, or a cursor of its own over a file object, for reading bytes.

    Raises:
        VideoError: it cannot be opened.
    """
    if not isinstance(source, str | Path):
        yield cast(BinaryIO, _SharedReader(source))
        return
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
    options = {}
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise VideoError(f"{name}: no such file")
        # "file:" keeps a colon in a name from being a protocol, "none" a % from being a pattern.
        file = f"file:{path}"
        if path.suffix.lower() in IMAGE_SUFFIXES:
            options = {"pattern_type": "none"}
    else:
        file = _SharedReader(source)
    try:
        container = av.open(file, "r", metadata_errors="replace", options=options)
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{name}: cannot be read as video or image ({reason(error)})") from error
    with container:
        yield container
