"""What became of each of several inputs, as a table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .jobs import Job, Plan

_ROWS = 50
"""Rows up to which all inputs are listed; of more, only those that failed."""
_DONE, _LEFT_OUT, _FAILED, _NOT_BEGUN = "done", "left out", "failed", "not begun"


class Summary:
    """Counts a plan's jobs while they are done; as text it is the table."""

    def __init__(self, plan: Plan) -> None:
        self.batch = plan.batch
        self.frames = 0
        """Frames of the running job that are written."""
        self._numbers = {job.source: number for number, job in enumerate(plan.jobs, 1)}
        self._state = {job.source: _NOT_BEGUN for job in plan.jobs}
        self._state |= dict.fromkeys(plan.skipped, _LEFT_OUT)
        self._state |= dict.fromkeys(plan.refused, _FAILED)
        self._told = plan.skipped | plan.refused
        self._figures: dict[Path, tuple[int, float]] = {}

    @property
    def failed(self) -> int:
        """Inputs that could not be converted, or whose turn did not come."""
        return sum(state in (_FAILED, _NOT_BEGUN) for state in self._state.values())

    @property
    def progress(self) -> str:
        """How many jobs are done, in words."""
        return f"{self._count(_DONE)} of {len(self._numbers)} are done"

    def label(self, job: Job) -> str | None:
        """Return what stands before a job's progress; nothing where it is the only one."""
        if not self.batch:
            return None
        return f"{self._numbers[job.source]}/{len(self._numbers)} {job.source.name}"

    @contextmanager
    def timed(self, job: Job) -> Iterator[None]:
        """Measure how long a job takes, and count its frames."""
        begin, self.frames = time.monotonic(), 0
        yield
        self._figures[job.source] = self.frames, time.monotonic() - begin

    def finish(self, job: Job, written: tuple[Path, ...]) -> None:
        """Note what a job has written."""
        self._state[job.source] = _DONE
        self._told[job.source] = ", ".join(map(str, written))

    def fail(self, job: Job, error: BaseException) -> None:
        """Note why a job failed."""
        self._state[job.source] = _FAILED
        self._told[job.source] = str(error)

    def __str__(self) -> str:
        """Return a line for each input, those that failed last, and one with the sums."""
        order = (_LEFT_OUT, _DONE, _NOT_BEGUN, _FAILED)
        rows = sorted(self._state, key=lambda source: order.index(self._state[source]))
        if len(rows) > _ROWS:
            rows = [source for source in rows if self._state[source] == _FAILED]
        width = max((len(str(source)) for source in rows), default=0)
        return "\n".join([*(self._row(source, width) for source in rows), self._sums()])

    def _row(self, source: Path, width: int) -> str:
        frames, seconds = self._figures.get(source, (0, 0.0))
        many = "frame" if frames == 1 else "frames"
        speed = f"{frames} {many} in {seconds:.0f} s" if self._state[source] == _DONE else ""
        told = " ".join(self._told.get(source, "").removeprefix(f"{source}: ").split())
        return f"{source!s:{width}}  {self._state[source]:9}  {speed:24}  {told}".rstrip()

    def _sums(self) -> str:
        counts = [(self._count(state), state) for state in (_DONE, _LEFT_OUT, _FAILED, _NOT_BEGUN)]
        return ", ".join(f"{number} {state}" for number, state in counts if number) or "nothing"

    def _count(self, state: str) -> int:
        return sum(found == state for found in self._state.values())
