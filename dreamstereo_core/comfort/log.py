"""The frames' measurements, one row a frame, in memory and in a file that outlives the run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import nan
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..types import FrameComfort

_COLUMNS = len(FrameComfort._fields)
_ROW_BYTES = 8 * _COLUMNS


class ComfortLog:
    """Collects the frames' measurements: 100 bytes a frame, 17 MB for two hours.

    Example:
        >>> log = ComfortLog()
        >>> log.add([FrameComfort(*range(12))])
        >>> log.rows.shape
        (1, 12)
    """

    def __init__(self) -> None:
        self._values = array("d")
        self._file: BinaryIO | None = None

    @property
    def rows(self) -> np.ndarray:
        """`[frames, columns]` float64, the columns those of `FrameComfort`."""
        return np.array(self._values).reshape(-1, _COLUMNS)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._values) // _COLUMNS

    def add(self, frames: Iterable[FrameComfort]) -> None:
        """Add frames in order."""
        fresh = array("d", [value for frame in frames for value in frame])
        self._values += fresh
        if self._file is not None:
            self._file.write(fresh.tobytes())
            self._file.flush()

    def resume(self, path: Path, done: int) -> None:
        """Take over the first `done` frames that a former run has kept in a file, and go on in it.

        Frames that it has not kept count as not measured.
        """
        path.touch()
        self._file = path.open("r+b")
        self._values = _rows(self._file.read(done * _ROW_BYTES), done)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(self._values.tobytes())
        self._file.flush()

    def save(self, path: Path) -> None:
        """Write all to a file."""
        path.write_bytes(self._values.tobytes())

    def load(self, path: Path, frames: int) -> None:
        """Add so many frames from a file; those that it does not have count as not measured."""
        self._values += _rows(path.read_bytes() if path.is_file() else b"", frames)

    def close(self) -> None:
        """Close the file; what was measured stays here."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _rows(data: bytes, frames: int) -> array:
    """Return the values of so many frames; those that `data` lacks are not numbers."""
    values = array("d", data[: min(len(data) // 8, frames * _COLUMNS) * 8])
    values.extend([nan] * (frames * _COLUMNS - len(values)))
    return values
