"""A video file, or the clip that ships with DreamStereo."""

import logging
import os
import shutil
from pathlib import Path

import folder_paths
from comfy_api.latest import InputImpl, io

from .places import media_path
from .wire_types import schema

EXAMPLE = "dreamstereo_example.mp4"
"""The clip's name in ComfyUI's input folder, where every node that loads a video finds it."""
OLD_EXAMPLE = "DreamStereo example"
"""What graphs of the first days call it."""
EXAMPLE_PATH = Path(__file__).resolve().parents[1] / "docs" / "demo.mp4"

_log = logging.getLogger(__name__)


class LoadVideoOrExample(io.ComfyNode):
    """Loads a video of the input folder, or the shipped example."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        folder = folder_paths.get_input_directory()
        names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
        videos = sorted(folder_paths.filter_files_content_types(names, ["video"]))
        return schema(
            "LoadVideo",
            display_name="Load Video or Example",
            description=(
                "Loads a video of ComfyUI's input folder, or the short example clip, so that a "
                "workflow runs before you have chosen anything."
            ),
            aliases=("load video", "example video", "import video"),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[EXAMPLE, *(name for name in videos if name != EXAMPLE)],
                    default=EXAMPLE,
                    upload=io.UploadType.video,
                    tooltip=(
                        "The example, or a video of the input folder. The button below uploads "
                        "your own."
                    ),
                )
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="The film, not decoded yet.")],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Return the film, still on disk."""
        return io.NodeOutput(InputImpl.VideoFromFile(video_path(file)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> float:
        """Run again when the file has changed."""
        return os.path.getmtime(video_path(file))

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        """Accept the example and what lies in the input folder."""
        try:
            if os.path.isfile(video_path(file)):
                return True
        except ValueError as error:
            return str(error)
        return f"file: expected a video in ComfyUI's input folder, got {file!r}, which is not there"


def video_path(file: str) -> str:
    """Return where `file` lies; the example is there even where the input folder lacks it.

    Raises:
        ValueError: it lies outside ComfyUI's folders.
    """
    path = media_path(EXAMPLE if file == OLD_EXAMPLE else file)
    if file in (EXAMPLE, OLD_EXAMPLE) and not os.path.isfile(path):
        return str(EXAMPLE_PATH)
    return path


def put_example() -> None:
    """Put the example into ComfyUI's input folder, as ComfyUI does with its own, when absent."""
    target = Path(folder_paths.get_input_directory(), EXAMPLE)
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(EXAMPLE_PATH, target)
    except OSError as error:
        _log.warning("DreamStereo: the example video could not be put into %s: %s", target, error)
