"""Clips with holes for training, each drawn from its number alone.

Sample i is the same whatever was drawn before it, on whichever process: a run's position in the
data is one number, and resuming needs no other state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from data.files import DataError
from data.pair_shards import PairEntry, list_pairs
from data.random_streams import random_stream, shuffled
from dreamstereo_core.fill.holes import GREY, MULTIPLE


@dataclass(frozen=True)
class DataSettings:
    """Which clips, and how they are cut."""

    pairs: str = "pairs"
    """Folder of build_pairs.py."""
    frames: int = 17
    """4n + 1; of each sample."""
    height: int = 192
    width: int = 192
    masks: Literal["pairs", "random", "mixed"] = "pairs"
    """"random": stage 1 of the paper; "mixed": now this, now that."""
    focus: float = 0.9
    """Share of the crops that are put on a hole."""
    flip: bool = False
    """Mirror half of the clips: for autoencoders alone, since holes lie right of near things."""
    held_out: int = 8
    """Clips kept for the sample pictures, spread over the folder."""
    workers: int = 0

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 4 != 1:
            raise ValueError(f"frames: expected 4n + 1 (1, 5, 9, ...), got {self.frames}")
        for name in ("height", "width"):
            if getattr(self, name) < MULTIPLE or getattr(self, name) % MULTIPLE:
                raise ValueError(
                    f"{name}: expected a multiple of {MULTIPLE}, got {getattr(self, name)}"
                )
        if not 0 <= self.focus <= 1:
            raise ValueError(f"focus: expected 0 to 1, got {self.focus}")


class PairDataset(Dataset):
    """Endless samples of a folder of pairs: `video` [3, T, H, W] in [0, 1], `mask` [1, T, H, W].

    Where all pairs have a first fill and the holes are theirs, samples have `fill` [3, T, H, W],
    which is `video` outside of holes.

    Clips are filed by shape; where the folder has several (1280x720, 720x1280, 768x768), a crop of
    0x0 in `size` takes each whole.

    Args:
        settings: which clips, and how they are cut.
        seed: of all samples.
        held_out: draw from the clips that are kept out of training instead of from the others.

    Raises:
        DataError: there are no pairs, or they are smaller than the crops.
    """

    def __init__(self, settings: DataSettings, *, seed: int = 0, held_out: bool = False):
        self.settings, self.seed = settings, seed
        entries = list_pairs(settings.pairs)
        kept = _spread(len(entries), min(settings.held_out, len(entries) // 4))
        chosen = [e for i, e in enumerate(entries) if (i in kept) == held_out]
        self.entries = chosen or entries
        self.has_fills = settings.masks == "pairs" and all(e.has_fill for e in self.entries)
        wanted = (settings.frames, settings.height, settings.width)
        small = [e for e in self.entries if any(a < b for a, b in zip(e.size, wanted, strict=True))]
        if small:
            raise DataError(
                f"{settings.pairs}: expected clips of at least {wanted[0]} frames of "
                f"{wanted[2]}x{wanted[1]}, {len(small)} of {len(self.entries)} are smaller "
                f"({small[0].info.get('source')})"
            )

    def __len__(self) -> int:
        return 2**40

    def require_fills(self) -> None:
        """Make sure that samples have `fill`.

        Raises:
            DataError: a pair has none.
            ValueError: the holes are drawn, so that no fill is theirs.
        """
        if self.settings.masks != "pairs":
            raise ValueError(
                "masks: expected pairs where first fills are made better, which are of those "
                f"holes, got {self.settings.masks}"
            )
        for entry in self.entries:
            entry.check_fill()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return sample `index`, with its own number for whatever else is drawn for it."""
        return {**self.sample(index), "index": torch.tensor(index)}

    def sample(self, index: int, holes: int | None = None) -> dict[str, Tensor]:
        """Return `video`, `mask` and perhaps `fill` of sample `index`.

        Args:
            index: which clip, and which part of it.
            holes: where holes are drawn, others are, for each number; None = the sample's own.
        """
        generator = random_stream(self.seed, "sample", index)
        entry = self._entry(index)
        settings = self.settings
        mask = entry.read_mask()
        random = settings.masks == "random" or (
            settings.masks == "mixed" and float(torch.rand((), generator=generator)) < 0.5
        )
        if random:
            mask = random_holes(*mask.shape, generator=generator)
        at = self._crop(mask, generator)
        if random and holes is not None:
            mask = random_holes(*mask.shape, generator=random_stream(self.seed, "holes", holes))
        sample = {
            "video": _cut(entry.read_frames(at[0].start, at[0].stop), at),
            "mask": mask[at].float().unsqueeze(0),
        }
        if self.has_fills:
            fill = _cut(entry.read_fill(at[0].start, at[0].stop), at)
            sample["fill"] = torch.where(sample["mask"] > 0, fill, sample["video"])
        if settings.flip and float(torch.rand((), generator=generator)) < 0.5:
            sample = {name: part.flip(-1) for name, part in sample.items()}
        return sample

    def source(self, index: int) -> str:
        """Return what sample `index` was made of."""
        return self._entry(index).info["source"]

    def _entry(self, index: int) -> PairEntry:
        """Go through all clips in a new order each time around."""
        return self.entries[shuffled(index, len(self.entries), self.seed, "order")]

    def _crop(self, mask: Tensor, generator: torch.Generator) -> tuple[slice, slice, slice]:
        settings = self.settings
        sizes = (settings.frames, settings.height, settings.width)
        room = [n - size for n, size in zip(mask.shape, sizes, strict=True)]
        start = [int(torch.randint(r + 1, (), generator=generator)) for r in room]
        if float(torch.rand((), generator=generator)) < settings.focus:
            # Inside, where the background of both sides is there; else any hole.
            holes = mask.nonzero()
            if len(holes):
                hole = holes[int(torch.randint(len(holes), (), generator=generator))].tolist()
                jitter = (torch.rand(3, generator=generator) * 0.6 + 0.2).tolist()
                start = [
                    min(max(0, round(h - j * size)), r)
                    for h, j, size, r in zip(hole, jitter, sizes, room, strict=True)
                ]
        a, b, c = (slice(s, s + size) for s, size in zip(start, sizes, strict=True))
        return a, b, c


class Positions(Sampler[int]):
    """The numbers of one process's samples, from a step on."""

    def __init__(self, batch: int, *, start: int = 0, rank: int = 0, world: int = 1):
        self.batch, self.start, self.rank, self.world = batch, start, rank, world

    def __iter__(self) -> Iterator[int]:
        step = self.start
        while True:
            first = (step * self.world + self.rank) * self.batch
            yield from range(first, first + self.batch)
            step += 1


def batches(
    dataset: Dataset, batch: int, *, start: int, rank: int = 0, world: int = 1, workers: int = 0
) -> Iterator[dict[str, Tensor]]:
    """Return the batches of steps `start`, `start` + 1, ..."""
    positions = Positions(batch, start=start, rank=rank, world=world)
    # Workers must not draw from the run's own random state: they get a generator of their own.
    loader: Any = DataLoader(
        dataset,
        batch,
        sampler=positions,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        persistent_workers=workers > 0,
    )
    return iter(loader)


def masked(video: Tensor, mask: Tensor) -> Tensor:
    """Put grey into the holes, as the inpainter does."""
    return torch.where(mask > 0, GREY, video)


def random_holes(frames: int, height: int, width: int, *, generator: torch.Generator) -> Tensor:
    """Draw moving blobs, bars and border strips, `[T, H, W]` bool (the paper's stage 1)."""
    t = torch.linspace(0, 1, frames).view(-1, 1, 1)
    y = torch.linspace(0, 1, height).view(1, -1, 1)
    x = torch.linspace(0, width / height, width).view(1, 1, -1)
    mask = torch.zeros(frames, height, width, dtype=torch.bool)
    for _ in range(int(torch.randint(2, 7, (), generator=generator))):
        u = torch.rand(12, generator=generator).tolist()
        cx = u[0] * width / height + (u[1] - 0.5) * 0.4 * t
        cy = u[2] + (u[3] - 0.5) * 0.3 * t
        angle = math.pi * u[4]
        along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        across = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
        bend = 0.15 * (u[5] - 0.5) * torch.sin(6 * math.pi * u[6] * along + 6 * u[7])
        long, short = 0.05 + 0.4 * u[8], 0.01 + 0.08 * u[9] ** 2
        if u[10] < 0.4:  # a blob
            mask |= (along / (0.3 * long)).square() + (across / (3 * short)).square() < 1
        else:  # a bent bar
            mask |= (along.abs() < long) & ((across + bend).abs() < short)
    if float(torch.rand((), generator=generator)) < 0.3:
        side = int(torch.randint(1, max(2, width // 12), (), generator=generator))
        mask[..., -side:] = True
    return mask


def _cut(frames: Tensor, at: tuple[slice, slice, slice]) -> Tensor:
    """Crop uint8 frames `[T, 3, H, W]` in space, to `[3, T, H', W']` in [0, 1]."""
    return frames[:, :, at[1], at[2]].float().div(255).transpose(0, 1)


def _spread(count: int, number: int) -> set[int]:
    return {round((i + 0.5) * count / number - 0.5) for i in range(number)} if number else set()
