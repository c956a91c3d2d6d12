"""Parts of a film that were converted apart become one film again."""

import os
from pathlib import Path
from uuid import uuid4

from comfy_api.latest import Input, InputImpl, io

from ..dreamstereo_core.pieces import join_videos
from .file_names import joined_name, name_output
from .messages import explained
from .places import media_files
from .sources import stream_source, temp_directory
from .wire_types import schema


class JoinVideos(io.ComfyNode):
    """Joins converted parts without encoding them again."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "JoinVideos",
            display_name="Join Videos",
            description=(
                "Joins the parts of a film that Convert 2D Video to 3D made apart, on several "
                "machines perhaps. Their packets are copied, nothing is encoded again; sound and "
                "subtitles are the film's own."
            ),
            aliases=("concatenate video", "concat", "merge video", "join video"),
            inputs=[
                io.Video.Input("video", tooltip="The 2D film that the parts were made of."),
                io.String.Input(
                    "parts",
                    default="video/*_part_*.mp4",
                    multiline=True,
                    tooltip=(
                        "The parts' files in ComfyUI's output folder, one a line, in order; "
                        "* stands for anything. All frames of the film once."
                    ),
                ),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="The stereo film. Save Video keeps it as it is."
                ),
                name_output("The film's name"),
            ],
        )

    @classmethod
    @explained
    def execute(cls, video: Input.Video, parts: str) -> io.NodeOutput:
        """Join the parts into ComfyUI's temp folder."""
        files = [Path(path) for path in media_files(parts)]
        target = temp_directory() / f"dreamstereo_{uuid4().hex[:12]}.mp4"
        with stream_source(video) as source:
            join_videos(files, source, target)
        return io.NodeOutput(InputImpl.VideoFromFile(str(target)), joined_name(files[0].stem))

    @classmethod
    def fingerprint_inputs(cls, parts: str, video: Input.Video | None = None) -> list:
        """Run again when the parts have changed."""
        return [(path, os.path.getmtime(path)) for path in media_files(parts)]
