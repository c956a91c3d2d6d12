"""Random streams by name: what is drawn has its own, whatever else is drawn before it."""

from __future__ import annotations

import hashlib

import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """Return a seed for what `names` say, unrelated to those of all other names and seeds.

    Args:
        seed: of the run.
        names: what is drawn ("noise"), and the number of what it is drawn for.
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def random_stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a generator of that seed."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))


def shuffled(index: int, count: int, seed: int, name: str) -> int:
    """Return which of `count` things comes at `index`: all, in a new order each time around."""
    epoch, at = divmod(index, count)
    return int(torch.randperm(count, generator=random_stream(seed, name, epoch))[at])
