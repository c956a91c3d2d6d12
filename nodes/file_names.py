"""Names of saved films: they tell the film, and a player the layout."""

import os
import re
from pathlib import Path

from comfy_api.latest import Input, InputImpl, io

from ..dreamstereo_core.video_io import stereo_name

FOLDER = "video"
NAMELESS = "DreamStereo"
"""Of a film that is no file."""
NAME_BYTES = 200
"""Of a film's name. File systems allow 255; a part's, a layout's and Save Video's come behind."""


def film_name(video: Input.Video) -> str:
    """Return the name of the file that a VIDEO is, without its ending; a very long one is cut."""
    if isinstance(video, InputImpl.VideoFromComponents):
        return NAMELESS
    source = video.get_stream_source()
    if not isinstance(source, str | os.PathLike):
        return NAMELESS
    return os.fsencode(Path(source).stem)[:NAME_BYTES].decode(errors="ignore")


def saved_name(film: str, layout: str, *, swapped: bool = False) -> str:
    """Return what Save Video takes as its `filename_prefix`: "video/film_3D_LRF_FSBS_SBS".

    With the eyes `swapped` the name tells no player a layout: it would exchange them again.
    """
    name = film.replace("%", "_")  # which begins a placeholder there
    if swapped:
        return f"{FOLDER}/{name}_cross_eyed"
    return f"{FOLDER}/{stereo_name(Path(f'{name}.mp4'), layout).stem}"


def part_name(film: str, start_frame: int) -> str:
    """Return the name of a part of a film; names of parts sort as their frames do."""
    return f"{film}_part_{start_frame:08d}"


def joined_name(part: str) -> str:
    """Return what Save Video takes for a film, from the name of a file of one of its parts.

    Save Video puts a number behind each name: "a_part_00000240_LR_00001_" becomes "video/a_LR".
    """
    name = re.sub(r"_\d{5}_$", "", re.sub(r"_part_\d{8}", "", part))
    return f"{FOLDER}/{name.replace('%', '_')}"


def name_output(what: str) -> io.Output:
    """Return the output for `filename_prefix` of Save Video."""
    return io.String.Output(
        display_name="filename_prefix",
        tooltip=f"{what} and the layout's, by which players know it, for Save Video.",
    )
