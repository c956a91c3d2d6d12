"""Sequences of shots whose transitions are known, made of parts of films."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import read_frames
from making.clips import cover, there_and_back

Transition = tuple[int, int]
"""Where a shot ends: the first frame that is no longer the old shot's alone, and the first one that
is the new one's alone. A hard cut's are the same."""

KINDS = ("cuts", "letterboxed cuts", "flashes", "pans", "fades", "dissolves")
SIZE = (72, 128)
"""Height and width of the sequences, in pixels."""
_LEAST = 16  # frames of a part
_MOST = 48


def read_shots(path: Path, transitions: Sequence[Transition], stop: int | None) -> list[Tensor]:
    """Return a film's shots ``[T, 3, 72, 128]`` between its transitions, dark and short ones out.

    Raises:
        VideoError: the film cannot be read.
    """
    frames = (frame.pixels for frame in islice(read_frames(path), stop))
    film = torch.stack([cover(frame, *SIZE, 1.0, 0.5, 0.5) for frame in frames])
    starts = [0, *(last for _, last in transitions)]
    stops = [*(first for first, _ in transitions), len(film)]
    shots = [film[start:end] for start, end in zip(starts, stops, strict=True)]
    return [
        shot for shot in shots if len(shot) >= _LEAST and bool((shot.mean((1, 2, 3)) > 0.1).all())
    ]


def compose(
    kind: str, shots: Sequence[Tensor], count: int, generator: torch.Generator
) -> tuple[Tensor, list[Transition]]:
    """Return a sequence ``[T, 3, 72, 128]`` of `count` parts of different shots, and the truth."""
    order = torch.randperm(len(shots), generator=generator).tolist()
    parts = [_part(kind, shots[i % len(shots)], generator) for i in (order * count)[:count]]
    video, truth = parts[0], []
    for part in parts[1:]:
        video, transition = _join(kind, video, part, generator)
        truth.append(transition)
    if kind == "letterboxed cuts":
        video[:, :, :9] = video[:, :, -9:] = 0
    return video, truth


def _part(kind: str, shot: Tensor, generator: torch.Generator) -> Tensor:
    """Return some frames of a shot, with what must not be taken for a cut."""
    gradual = kind in ("fades", "dissolves")
    length = _MOST if gradual else _between(_LEAST, min(len(shot), _MOST), generator)
    start = _between(0, len(shot) - length, generator)
    part = shot[[start + i for i in there_and_back(len(shot) - start, length)]]
    if kind == "flashes":  # one to four frames, nearly white, then less so
        at, frames = _between(4, length - 6, generator), _between(1, 4, generator)
        strength = torch.linspace(0.9, 0.4, frames).view(-1, 1, 1, 1)
        part[at : at + frames] = part[at : at + frames].lerp(torch.ones(()), strength)
    if kind == "pans":  # a window runs over an enlarged still, up to 4 % of the width a frame
        step = _between(2, 5, generator) * (1 if _between(0, 1, generator) else -1)
        still = F.interpolate(part[:1], scale_factor=2.5, mode="bilinear")[0]
        room = still.shape[2] - SIZE[1]
        xs = [(step * t if step > 0 else room + step * t) for t in range(room // abs(step) + 1)]
        part = torch.stack([still[:, 54:126, x : x + SIZE[1]] for x in xs[:_MOST]])
    return part


def _join(
    kind: str, before: Tensor, after: Tensor, generator: torch.Generator
) -> tuple[Tensor, Transition]:
    """Return both shots with the kind's transition between them."""
    end = len(before)
    if kind == "fades":
        out, into = (_between(6, 12, generator) for _ in range(2))
        black = torch.zeros(_between(0, 6, generator), *before.shape[1:])
        before[-out:] *= torch.linspace(1, 0, out + 2)[1:-1].view(-1, 1, 1, 1)
        after[:into] *= torch.linspace(0, 1, into + 2)[1:-1].view(-1, 1, 1, 1)
        return torch.cat((before, black, after)), (end - out, end + len(black) + into)
    if kind == "dissolves":
        length = _between(6, 16, generator)
        share = torch.linspace(0, 1, length + 2)[1:-1].view(-1, 1, 1, 1)
        mixed = before[-length:].lerp(after[:length], share)
        return torch.cat((before[:-length], mixed, after[length:])), (end - length, end)
    return torch.cat((before, after)), (end, end)


def _between(low: int, high: int, generator: torch.Generator) -> int:
    """Draw an integer, both ends included."""
    return int(torch.randint(low, max(low, high) + 1, (), generator=generator))
