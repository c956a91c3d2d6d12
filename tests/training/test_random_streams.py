"""Streams of other names, numbers and seeds are others; an order has everything once."""

import torch

from data.random_streams import random_stream, shuffled, stream_seed


def test_a_stream_is_its_names_and_no_other():
    names = [(0,), (1,), (0, "noise"), (0, "noise", 1), (0, "noise", 11), (0, "order", 1)]
    assert len({stream_seed(*name) for name in names}) == len(names)
    draws = [torch.rand(1000, generator=random_stream(*name)) for name in names]
    assert torch.equal(draws[3], torch.rand(1000, generator=random_stream(0, "noise", 1)))
    related = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert related.abs().max() < 0.15


def test_an_order_has_everything_once_and_changes():
    first, second = ([shuffled(7 * time + i, 7, 3, "order") for i in range(7)] for time in (0, 1))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
