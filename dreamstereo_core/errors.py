"""The errors of this package, one family, so that one `except` catches them all."""

from __future__ import annotations


class DreamStereoError(Exception):
    """A file or a model cannot be used; the text is one readable line that names it."""


class VideoError(DreamStereoError, ValueError):
    """Something is wrong with a media file."""


class DepthError(DreamStereoError, RuntimeError):
    """A depth model or a supplied depth cannot be used."""


class CheckpointError(DreamStereoError, ValueError):
    """A file is not the checkpoint that it should be."""
