"""Long films in pieces: what is finished stays, and a run that was ended goes on where it was."""

from .folder import WORK_SUFFIX, WorkFolder, describe_source, remove_joined, work_folder, work_path
from .join import join_videos, picture_times
from .marks import Marks
from .writer import PieceWriter

__all__ = [
    "WORK_SUFFIX",
    "Marks",
    "PieceWriter",
    "WorkFolder",
    "describe_source",
    "join_videos",
    "picture_times",
    "remove_joined",
    "work_folder",
    "work_path",
]
