"""Do tasks side by side in processes of this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from typing import Any, Protocol, TypeVar

import torch

from .errors import DreamStereoError

Task = TypeVar("Task")
Result = TypeVar("Result")

TRIES = 3
"""How often a task is begun before a worker that ends is an error."""
_POLL = 0.5  # seconds after which an interrupt is looked for


class WorkerError(DreamStereoError):
    """Workers end before their tasks are done."""


class Pool(Protocol):
    """Who does tasks: `LocalPool`, or `RayPool` of `cluster`."""

    @property
    def workers(self) -> int:
        """How many work side by side; 1 = the caller itself does."""
        ...

    def map(self, tasks: Sequence[Task], do: Callable[[Task], Result]) -> Iterator[Result]:
        """Yield the results as they come."""
        ...


@dataclass(frozen=True)
class LocalPool:
    """Processes of this machine, each with a share of its cores or a GPU of its own.

    Raises:
        ValueError: there are fewer than 1.
    """

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers: expected at least 1, got {self.workers}")

    def map(self, tasks: Sequence[Task], do: Callable[[Task], Result]) -> Iterator[Result]:
        """Yield the results as they come; what `do` holds goes to each process once.

        Raises:
            WorkerError: workers end again and again, from too little memory perhaps.
        """
        todo = dict.fromkeys(range(len(tasks)), 0)  # the tasks left, and how often they were lost
        while todo:
            with _processes(min(self.workers, len(todo)), do) as pool:
                running: dict[Future, int] = {pool.submit(_work, tasks[n]): n for n in todo}
                try:
                    while running:
                        finished, _ = wait(running, _POLL, FIRST_COMPLETED)
                        for future in finished:
                            number = running.pop(future)
                            result = future.result()
                            del todo[number]
                            yield result
                except BrokenProcessPool as error:
                    todo = {number: tries + 1 for number, tries in todo.items()}
                    if max(todo.values()) >= TRIES:
                        raise WorkerError(
                            f"workers: {TRIES} times one of {self.workers} ended early, from too "
                            "little memory perhaps; what is finished is kept, fewer workers go on"
                        ) from error


@contextmanager
def _processes(count: int, do: Callable) -> Iterator[ProcessPoolExecutor]:
    """Start processes, and end them, finished or not."""
    before = set(active_children())
    threads = max(1, (os.cpu_count() or 1) // count)
    context = get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    pool = ProcessPoolExecutor(count, context, _begin, (do, threads, numbers))
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_CARDS = "CUDA_VISIBLE_DEVICES"

_do: Callable | None = None
"""In a worker: what it does."""


def _begin(do: Callable, threads: int, numbers: Any) -> None:
    """Prepare a worker; an interrupt is for the process that started it."""
    global _do
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    if (cards := torch.cuda.device_count()) > 1:
        os.environ[_CARDS] = card_of(numbers.get(), cards, os.environ.get(_CARDS))
    _do = do


def card_of(number: int, cards: int, visible: str | None) -> str:
    """Return the card of a worker as `CUDA_VISIBLE_DEVICES` names it.

    Args:
        number: of the worker, from 0 on.
        cards: how many there are.
        visible: the variable's value so far; the cards are among those that it names.
    """
    names = visible.split(",")[:cards] if visible else [str(card) for card in range(cards)]
    return names[number % cards].strip()


def _work(task: object) -> object:
    assert _do is not None
    return _do(task)
