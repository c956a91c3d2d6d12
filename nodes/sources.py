"""A VIDEO as something that the core decodes frame by frame."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import folder_paths
from av.error import FFmpegError
from comfy_api.latest import Input, InputImpl

from .components import write_components


@contextmanager
def stream_source(video: Input.Video) -> Iterator[str]:
    """Yield the path of a file that holds exactly `video`.

    A film that lies on disk is used where it is. What exists in memory only, or is a window of a
    longer film, goes to ComfyUI's temp folder first and leaves it again at the end.
    """
    in_memory = isinstance(video, InputImpl.VideoFromComponents)
    source = None if in_memory else video.get_stream_source()
    window = source is not None and _is_window(video, source)
    if isinstance(source, str) and not window:
        yield source
        return
    with tempfile.TemporaryDirectory(dir=temp_directory(), prefix="dreamstereo_") as folder:
        path = Path(folder) / "source.mp4"
        if in_memory:
            path = path.with_suffix(".mkv")
            # Older cores have neither word: theirs are sRGB of 8 bits.
            said = {"bit_depth": "get_bit_depth", "color_space": "get_color_space"}
            kind = {
                name: getattr(video, get)() for name, get in said.items() if hasattr(video, get)
            }
            write_components(video.get_components(), path, **kind)
        elif isinstance(source, BytesIO) and not window:
            path.write_bytes(source.getbuffer())
        else:
            video.save_to(str(path))
        yield str(path)


def temp_directory() -> Path:
    """Return ComfyUI's temp folder, which it empties when it starts and ends."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_window(video: Input.Video, source: str | BytesIO) -> bool:
    """Whether `video` shows less than its file: newer cores trim and crop that way."""
    whole = InputImpl.VideoFromFile(source)
    try:
        size, duration = whole.get_dimensions(), whole.get_duration()
        return (video.get_dimensions(), video.get_duration()) != (size, duration)
    except (FFmpegError, ValueError):
        return False  # The core opens this file next, and says what is wrong with it.
