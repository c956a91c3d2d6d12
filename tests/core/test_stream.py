import pytest
import torch

from dreamstereo_core.stream import Frame, beside, by_shot


def test_results_come_back_to_their_frames_however_late():
    def two_late(numbers):
        waiting = []
        for number in numbers:
            waiting.append(number)
            if len(waiting) > 2:
                yield 10 * waiting.pop(0)
        yield from (10 * number for number in waiting)

    pulled = []
    frames = (pulled.append(n) or n for n in range(5))
    results = beside(frames, two_late)
    assert next(results) == (0, 0)
    assert pulled == [0, 1, 2]
    assert list(results) == [(n, 10 * n) for n in range(1, 5)]


def test_a_stage_that_gives_too_little_is_an_error():
    with pytest.raises(RuntimeError, match="a result for each frame, 2 got none"):
        list(beside([1, 2], lambda numbers: (n for n in numbers if n > 5)))


def test_frames_are_grouped_by_shot_and_nothing_is_lost():
    starts = (True, False, True, True, False, False)
    frames = [Frame(torch.tensor(i), new_shot=new) for i, new in enumerate(starts)]
    assert [[int(f.pixels) for f in shot] for shot in by_shot(frames)] == [[0, 1], [2], [3, 4, 5]]
