"""Turn interlaced frames into whole pictures at the same rate, by FFmpeg's bwdif."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

from av import VideoFrame
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as EndOfFile
from av.filter import Graph

from .source import VideoError

_log = logging.getLogger(__name__)


def deinterlace(frames: Iterator[VideoFrame], mode: str, name: str) -> Iterator[VideoFrame]:
    """Yield one frame for each that comes, with its own time stamp, one frame late.

    Args:
        frames: decoded, in display order.
        mode: "auto" takes the frames that are tagged as interlaced, "on" takes all, "off" none.
        name: the source's name, for the warning.

    Raises:
        VideoError: the filter refuses the pixel format.
    """
    filter_: _Bwdif | None = None
    for frame in frames:
        if filter_ is None and (mode == "on" or (mode == "auto" and frame.interlaced_frame)):
            _log.warning("%s: is interlaced; its two fields become whole pictures (bwdif)", name)
            filter_ = _Bwdif(frame, mode, name)
        if filter_ is None:
            yield frame
            continue
        if not filter_.fits(frame):
            yield from filter_.flush()
            filter_ = _Bwdif(frame, mode, name)
        yield from filter_.push(frame)
    if filter_ is not None:
        yield from filter_.flush()


class _Bwdif:
    """The filter bwdif for frames of one size and format."""

    def __init__(self, frame: VideoFrame, mode: str, name: str) -> None:
        self._name = name
        self._form = _form(frame)
        self._waiting: deque[tuple[int | None, Fraction | None, int, int]] = deque()
        self._count = 0
        graph = Graph()
        try:
            source = graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=Fraction(1, 1000),
            )
            which = "interlaced" if mode == "auto" else "all"
            bwdif = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={which}")
            sink = graph.add("buffersink")
            source.link_to(bwdif)
            bwdif.link_to(sink)
            graph.configure()
        except (OSError, ValueError) as error:
            raise VideoError(
                f"{name}: cannot be deinterlaced ({error}); turn deinterlacing off"
            ) from error
        self._graph = graph

    def fits(self, frame: VideoFrame) -> bool:
        """Tell whether the frame is of the size and format that the filter was made for."""
        return _form(frame) == self._form

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Take a frame and yield the frames that are ready, usually the one before it."""
        self._waiting.append((frame.pts, frame.time_base, frame.colorspace, frame.color_range))
        # The filter sees a count instead of the stamps, which may be missing or run back.
        frame.pts, frame.time_base = self._count, Fraction(1, 1000)
        self._count += 1
        self._graph.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[VideoFrame]:
        """Yield the frames that are left."""
        self._graph.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[VideoFrame]:
        while self._waiting:
            try:
                frame = self._graph.pull()
            except (NothingYet, EndOfFile):
                return
            assert isinstance(frame, VideoFrame)
            pts, base, frame.colorspace, frame.color_range = self._waiting.popleft()
            frame.pts = pts
            if base is not None:
                frame.time_base = base
            yield frame


def _form(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
