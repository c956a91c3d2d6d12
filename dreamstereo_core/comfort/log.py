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

    def add(self, frames: Iterable[FrameComfort]) -> None:
        """Add frames in order."""
        fresh = array("d", [value for frame in frames for value in frame])
        self._values += fresh
        if self._file is not None:
            self._file.write(fresh.tobytes())
            self._file.flush()

    def read(self, path: Path) -> None:
        """Add the frames of a file that `rows.tofile` has written."""
        self._values.frombytes(path.read_bytes())

    def resume(self, path: Path, done: int) -> None:
        """Take over the first `done` frames that a former run has kept in a file, and go on in it.

        Frames that it has not kept count as not measured.
        """
        path.touch()
        self._file = path.open("r+b")
        kept = self._file.read(done * _ROW_BYTES)
        self._values = array("d", kept[: len(kept) // 8 * 8])
        missing = done * _COLUMNS - len(self._values)
        self._values.extend([nan] * missing)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(self._values.tobytes())
        self._file.flush()

    def close(self) -> None:
        """Close the file; what was measured stays here."""
        if self._file is not None:
            self._file.close()
            self._file = None
