"""Do tasks side by side on the machines of a Ray cluster."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from .errors import DreamStereoError
from .version import read_version
from .workers import TRIES, WorkerError

Task = TypeVar("Task")
Result = TypeVar("Result")

CORES = 4
"""Cores of a worker on a machine without GPUs, or as many as it has if these are fewer."""
_POLL = 0.5  # seconds after which an interrupt is looked for

_KNOCK = 10.0  # seconds in which a cluster's head must answer

_log = logging.getLogger(__name__)


class ClusterError(DreamStereoError):
    """A cluster cannot be used."""


@dataclass(frozen=True)
class RayPool:
    """Workers of a Ray cluster: one for each GPU, or for every `CORES` cores where there are none.

    Tasks and results are small; what is large lies in a folder that all machines see under the same
    name. Each machine needs this package in the same version.
    """

    address: str = "auto"
    """Of the cluster's head, as "10.0.0.1:6379"; "auto" = the one that this machine belongs to."""
    workers: int = field(default=2, init=False)
    """More than one: how many there are is the cluster's affair."""

    def map(self, tasks: Sequence[Task], do: Callable[[Task], Result]) -> Iterator[Result]:
        """Yield the results as they come; what `do` holds goes to each worker once.

        A task whose worker or machine is lost is done again by another one.

        Raises:
            ClusterError: Ray is not installed, there is no cluster, or a machine does not fit.
            WorkerError: workers end again and again, from too little memory perhaps.
        """
        with _connected(self.address) as ray:
            yield from _Run(ray, tasks, do).results()


class _Worker:
    """What a worker does on its machine; Ray makes an actor of it."""

    def __init__(self, do: Callable, folder: str, version: str, threads: int) -> None:
        self._do, self._folder, self._version = do, folder, version
        torch.set_num_threads(threads)

    def ready(self) -> None:
        """Prepare.

        Raises:
            ClusterError: this machine does not fit.
        """
        try:
            os.chdir(self._folder)  # names of files count from where the command was given
        except OSError as error:
            raise ClusterError(
                f"{platform.node()}: expected the folder {self._folder}, as on the machine that "
                f"began ({error.strerror})"
            ) from error
        if read_version() != self._version:
            raise ClusterError(
                f"{platform.node()}: expected DreamStereo {self._version}, got {read_version()}"
            )

    def work(self, task: Any) -> Any:
        """Do a task."""
        return self._do(task)


class _Run:
    """Hands each worker its next task when it has done the one before."""

    def __init__(self, ray: Any, tasks: Sequence[Any], do: Callable) -> None:
        self._ray, self._tasks = ray, tasks
        self._todo = deque(range(len(tasks)))
        self._tries = [0] * len(tasks)
        self._running: dict[Any, tuple[_Seat, Any, int | None]] = {}
        self._do = ray.put(do)
        self._actor = ray.remote(_Worker)

    def results(self) -> Iterator[Any]:
        """Yield the results as they come."""
        for seat in _seats(self._ray)[: len(self._tasks)]:
            self._start(seat)
        left = len(self._tasks)
        while left:
            done, _ = self._ray.wait(list(self._running), timeout=_POLL)
            for reference in done:
                seat, actor, task = self._running.pop(reference)
                try:
                    result = self._ray.get(reference)
                except self._ray.exceptions.RayActorError as error:
                    self._lost(seat, task, error)
                    continue
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                if self._todo:
                    number = self._todo.popleft()
                    work = actor.work.remote(self._tasks[number])
                    self._running[work] = seat, actor, number
                if task is not None:
                    left -= 1
                    yield result

    def _start(self, seat: _Seat) -> None:
        """Ask for a worker; it gets no task before it is there, which may be never."""
        how = {"num_gpus": 1} if seat.gpu else {"num_cpus": seat.cores}
        actor = self._actor.options(**how).remote(self._do, os.getcwd(), read_version(), seat.cores)
        self._running[actor.ready.remote()] = seat, actor, None

    def _lost(self, seat: _Seat, task: int | None, error: Exception) -> None:
        if task is None:  # it never came up, and another one in its place would not, either
            if not self._running:
                raise ClusterError(f"cluster: no worker comes up ({_first_line(error)})") from error
            _log.warning("a worker did not come up; the others go on (%s)", _first_line(error))
            return
        self._tries[task] += 1
        if self._tries[task] >= TRIES:
            raise WorkerError(
                f"workers: {TRIES} times one ended while it did the same piece, from too little "
                f"memory perhaps ({_first_line(error)}); what is finished is kept"
            ) from error
        _log.warning("a worker was lost; its piece is done again")
        self._todo.appendleft(task)
        self._start(seat)


@dataclass(frozen=True)
class _Seat:
    """Room for a worker."""

    cores: int
    gpu: bool


def _seats(ray: Any) -> list[_Seat]:
    """Return the room that the cluster has.

    Raises:
        ClusterError: there is none.
    """
    seats = []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        cores, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        if gpus:
            seats += [_Seat(max(1, cores // gpus), True)] * gpus
        elif cores:
            share = min(cores, CORES)
            seats += [_Seat(share, False)] * (cores // share)
    if not seats:
        raise ClusterError("cluster: expected machines with cores or GPUs, got none")
    return seats


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Be part of a cluster; a program that is already stays so."""
    try:
        import ray
    except ImportError as error:
        raise ClusterError("cluster: needs pip install dreamstereo[ray]") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"cluster: none at {address!r} ({_first_line(error)})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out at once whether someone is there; Ray takes minutes to give up."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), _KNOCK).close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
