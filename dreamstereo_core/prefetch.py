"""Work ahead in a thread, so that two parts of the pipeline compute at the same time."""

from __future__ import annotations

from collections.abc import Generator
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

import torch

T = TypeVar("T")

_PATIENCE = 0.1  # s after which the thread checks again whether the items are still wanted
_END = object()


def in_background(items: Generator[T, None, None], ahead: int) -> Generator[T, None, None]:
    """Yield the items in order, while a thread makes up to `ahead` more of them.

    An error in the thread is raised here, after the items before it. When the consumer stops, the
    thread finishes its current item, closes `items`, and ends.

    Args:
        items: made in that thread alone, under the caller's gradient and inference modes.
        ahead: how many items may wait, at least 1.
    """
    ready: Queue[tuple[Any, BaseException | None]] = Queue(ahead)
    stopped = Event()
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def hand_over(item: Any, error: BaseException | None = None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((item, error), timeout=_PATIENCE)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
                for item in items:
                    if not hand_over(item):
                        return
            hand_over(_END)
        except BaseException as error:  # whatever it is, the consumer handles it
            hand_over(None, error)
        finally:
            items.close()

    thread = Thread(target=work, name="dreamstereo-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
