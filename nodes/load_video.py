"""A video file, or the clip that ships with DreamStereo."""

import os
import shutil
from pathlib import Path

import folder_paths
from comfy_api.latest import InputImpl, io, ui

from .places import media_path
from .sources import temp_directory
from .wire_types import schema

EXAMPLE = "DreamStereo example"
EXAMPLE_PATH = Path(__file__).resolve().parents[1] / "docs" / "demo.mp4"


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
            aliases=("load video", "example video"),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[EXAMPLE, *videos],
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
        video = InputImpl.VideoFromFile(video_path(file))
        if file != EXAMPLE:
            return io.NodeOutput(video)
        # The page can only show what lies in ComfyUI's own folders.
        copy = temp_directory() / "dreamstereo_example.mp4"
        shutil.copyfile(EXAMPLE_PATH, copy)
        preview = ui.SavedResult(copy.name, "", io.FolderType.temp)
        return io.NodeOutput(video, ui=ui.PreviewVideo([preview]))

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
    """Return where `file` lies.

    Raises:
        ValueError: it lies outside ComfyUI's folders.
    """
    return str(EXAMPLE_PATH) if file == EXAMPLE else media_path(file)
