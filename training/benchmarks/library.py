"""A library of films on many GPUs, by simulation: days, idle GPUs, what is lost, what is moved."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from .machine import print_table

RATE = 24  # frames a second of a film
_HOUR = 3600.0


@dataclass(frozen=True)
class Fleet:
    """Machines and films; what no run of this project has measured is an assumption."""

    films: int
    gpus: int
    speed: float
    """Frames a second of a whole conversion on one GPU."""
    plan_speed: float = 100.0
    """Frames a second of the pass that finds shots, on the machine that leads a film."""
    reach_speed: float = 400.0
    """Frames a second that are decoded only, to reach a piece's beginning."""
    piece_s: float = 20.0
    """Least seconds of film in a piece; it ends at the next cut."""
    slow: float = 0.02
    """Share of the GPUs that work at half the speed."""
    life_h: float = 100.0
    """Hours after which a GPU is lost, on the average; another one comes at once."""
    start_s: float = 30.0
    """To start a worker: import, models."""
    source_mbit: float = 8.0
    result_mbit: float = 16.0
    join_mb_s: float = 200.0
    """At which packets are copied from pieces to the film."""
    price: float = 2.0
    """Of a GPU for an hour."""
    seed: int = 0


@dataclass(frozen=True)
class Film:
    """A film's pieces in seconds of film."""

    pieces: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Its length."""
        return sum(self.pieces)


@dataclass
class Outcome:
    """What a way to share the work comes to."""

    hours: float
    """From the first film's beginning to the last one's end."""
    lost_hours: float
    """Of GPUs, for work done again."""
    one_film_hours: float
    """Of the median film, from its beginning to its end."""


def library_table(fleet: Fleet) -> None:
    """Print what three ways to share the work come to, with pieces and without."""
    films = make_films(fleet)
    frames = sum(film.seconds for film in films) * RATE
    least = frames / fleet.speed / fleet.gpus / _HOUR
    ways: dict[str, tuple[Callable[[Fleet, Sequence[Film]], Outcome], Fleet]] = {
        "one film after the other, its pieces on all GPUs": (share_pieces, fleet),
        "a film for each GPU": (share_films, fleet),
        "a film for each GPU, without pieces": (share_films, replace(fleet, piece_s=float("inf"))),
    }
    rows = []
    for name, (way, of) in ways.items():
        outcome = way(of, films if of is fleet else [Film((film.seconds,)) for film in films])
        money = outcome.hours * fleet.gpus * fleet.price / fleet.films
        rows.append([
            name, f"{outcome.hours / 24:,.1f}", f"{least / outcome.hours:.0%}",
            f"{outcome.one_film_hours:.2f}", f"{outcome.lost_hours:,.0f}", f"{money:.2f}",
        ])  # fmt: skip
    pieces = sorted(piece for film in films for piece in film.pieces)
    print(f"{fleet.films:,} films, {frames / RATE / _HOUR:,.0f} hours, {frames / 1e9:.2f} billion "
          f"frames, {len(pieces):,} pieces (median {pieces[len(pieces) // 2]:.0f} s, longest "
          f"{pieces[-1]:.0f} s); {fleet.gpus} GPUs at {fleet.speed:g} frames a second, "
          f"{fleet.price:g} an hour\n")  # fmt: skip
    print_table(["way", "days", "GPUs busy", "hours of a film", "GPU hours lost", "cost of a film"],
                rows)  # fmt: skip
    seconds = frames / RATE
    read, written = (seconds * mbit / 8e6 for mbit in (fleet.source_mbit, fleet.result_mbit))
    moved = (read + 3 * written) * 1e6 / (least * _HOUR)
    print(
        f"\nstorage, a film for each GPU: {read:,.0f} TB of sources, {written:,.0f} TB of films; "
        f"with pieces written, read and joined {moved:,.0f} MB a second while all GPUs work; the "
        f"pieces of {fleet.gpus} films hold {written / fleet.films * fleet.gpus:.1f} TB at most"
    )


def make_films(fleet: Fleet) -> list[Film]:
    """Make films of 100 minutes, give or take 25, with shots of 4 seconds and a few long ones."""
    chance = random.Random(fleet.seed)
    films = []
    for _ in range(fleet.films):
        left = min(max(chance.gauss(100, 25), 20), 240) * 60
        pieces, piece = [], 0.0
        while left > 0:
            shot = chance.expovariate(1 / (120 if chance.random() < 0.005 else 4))
            shot = min(shot, left)
            left, piece = left - shot, piece + shot
            if piece >= fleet.piece_s or left <= 0:
                pieces.append(piece)
                piece = 0.0
        films.append(Film(tuple(pieces)))
    return films


class _Gpu:
    """One that is lost now and then, and comes back as another one."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self._fleet, self._chance = fleet, chance
        self._speed = fleet.speed * (0.5 if chance.random() < fleet.slow else 1)
        self._ends = self._life()
        self.lost = 0.0

    def work(self, begin: float, seconds: float, before: float, *, reach: bool) -> float:
        """Return when a piece of a film is done that begins then.

        Args:
            begin: when.
            seconds: length of the piece.
            before: seconds of the film before it.
            reach: whether these must be read first; after a loss they must.
        """
        way, takes = before * RATE / self._fleet.reach_speed, seconds * RATE / self._speed
        all_of_it = takes + (way if reach else 0)
        while self._ends < begin + all_of_it:
            self.lost += max(0.0, self._ends - begin) + self._fleet.start_s
            begin = max(begin, self._ends) + self._fleet.start_s
            self._ends = begin + self._life()
            all_of_it = takes + way
        return begin + all_of_it

    def _life(self) -> float:
        return self._chance.expovariate(1 / (self._fleet.life_h * _HOUR))


def share_pieces(fleet: Fleet, films: Sequence[Film]) -> Outcome:
    """One leader plans a film, has its pieces rendered by all GPUs, joins it, takes the next."""
    gpus = _gpus(fleet)
    now, spans = fleet.start_s, []
    for film in films:
        begin = now
        now += film.seconds * RATE / fleet.plan_speed
        free = [(now, number) for number in range(len(gpus))]
        for piece, before in _with_way(film):
            at, number = heapq.heappop(free)
            done = gpus[number].work(at, piece, before, reach=True)
            heapq.heappush(free, (done, number))
        now = max(at for at, _ in free) + _join(fleet, film)
        spans.append(now - begin)
    return _outcome(now, gpus, spans)


def share_films(fleet: Fleet, films: Sequence[Film]) -> Outcome:
    """Each GPU takes the next film, and goes on after the last finished piece when it is lost."""
    gpus = _gpus(fleet)
    free = [(fleet.start_s, number) for number in range(len(gpus))]
    spans, last = [], 0.0
    for film in films:
        begin, number = heapq.heappop(free)
        now = begin
        for piece, before in _with_way(film):
            now = gpus[number].work(now, piece, before, reach=False)
        now += _join(fleet, film)
        heapq.heappush(free, (now, number))
        spans.append(now - begin)
        last = max(last, now)
    return _outcome(last, gpus, spans)


def _gpus(fleet: Fleet) -> list[_Gpu]:
    chance = random.Random(fleet.seed + 1)
    return [_Gpu(fleet, chance) for _ in range(fleet.gpus)]


def _with_way(film: Film) -> Iterator[tuple[float, float]]:
    """Yield each piece with the seconds of the film before it."""
    return zip(film.pieces, accumulate(film.pieces, initial=0.0), strict=False)


def _join(fleet: Fleet, film: Film) -> float:
    return film.seconds * fleet.result_mbit / 8 / fleet.join_mb_s


def _outcome(end: float, gpus: Sequence[_Gpu], spans: Sequence[float]) -> Outcome:
    middle = sorted(spans)[len(spans) // 2]
    return Outcome(end / _HOUR, sum(gpu.lost for gpu in gpus) / _HOUR, middle / _HOUR)
