"""Work ahead in a thread."""

import threading
import time

import pytest
import torch

from dreamstereo_core.prefetch import in_background


def test_items_come_in_order_from_another_thread():
    threads = []

    def items():
        for i in range(20):
            threads.append(threading.current_thread())
            yield i

    assert list(in_background(items(), 3)) == list(range(20))
    assert threading.current_thread() not in threads
    assert not threads[0].is_alive()


def test_no_more_are_made_than_wait():
    made = 0

    def items():
        nonlocal made
        for i in range(50):
            made += 1
            yield i

    for taken, _ in enumerate(in_background(items(), 2), 1):
        time.sleep(0.005)
        assert made <= taken + 2 + 1  # one is in the thread's hand


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise KeyError("depth")

    stream = in_background(items(), 4)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="depth"):
        next(stream)


def test_a_consumer_that_stops_ends_the_thread_and_closes_the_items():
    closed = []

    def items():
        try:
            while True:
                yield threading.current_thread()
        finally:
            closed.append(threading.current_thread())

    stream = in_background(items(), 1)
    thread = next(stream)
    stream.close()
    assert not thread.is_alive()
    assert closed == [thread]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_the_callers_modes_hold_in_the_thread(mode):
    def items():
        yield torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with mode():
        expected = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        assert list(in_background(items(), 1)) == [expected]
