"""Count the frames of a source, where its container does not say or cannot be trusted."""

from __future__ import annotations

from .footage import open_footage
from .info import demux, video_stream
from .source import Source, image_paths, open_input, source_name


def count_frames(source: Source) -> int:
    """Count the pictures of a source without decoding them.

    Raises:
        VideoError: it is missing, unreadable, or has no video.
    """
    images = image_paths(source)
    if images is not None:
        return len(images)
    with open_footage(source) as footage:
        if footage.still or footage.stream is None:
            return footage.count or 1
    with open_input(source) as container:
        stream = video_stream(container, source_name(source))
        return sum(1 for packet in demux(container, stream) if packet.size)
