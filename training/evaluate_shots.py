"""Measure the shot detectors against known cuts.

    python training/evaluate_shots.py --films FOLDER
    python training/evaluate_shots.py --films FOLDER --detectors histogram --sequences 0

A film's true transitions are in a JSON file, by its name: up to which frame they are known, and of
each the first frame that is no longer the old shot's alone and the first one that is the new one's
alone. Films without an entry serve as one shot each. Sequences are made of parts of all films'
shots, so their truth is exact. A detection is right within one frame of a transition, and each
transition can be found once.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from data.files import DataError
from data.random_streams import random_stream
from dreamstereo_core import VideoError, read_frames
from dreamstereo_core.shots import CutDetector, load_shot_detector
from dreamstereo_core.stream import Frame
from evaluation.shot_sequences import KINDS, Transition, compose, read_shots
from making.clips import find_sources

TRUTH = Path(__file__).with_name("benchmarks") / "shots.json"
TOLERANCE = 1
_PARTS = 8


@dataclass(frozen=True)
class Counts:
    """Transitions found, detections that are none, transitions not found."""

    found: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.found + other.found, self.false + other.false, self.missed + other.missed
        )

    @property
    def precision(self) -> float:
        """Share of the detections that are right; 1 where there is none."""
        return self.found / max(1, self.found + self.false) if self.found + self.false else 1.0

    @property
    def recall(self) -> float:
        """Share of the transitions that were found; 1 where there is none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else 1.0

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def score(cuts: Iterable[int], truth: Sequence[Transition], tolerance: int = TOLERANCE) -> Counts:
    """Compare the frames that start a shot, the film's first one left out, with the truth."""
    open_ = sorted(truth)
    found = false = 0
    for cut in sorted(cuts):
        hit = next((t for t in open_ if t[0] - tolerance <= cut <= t[1] + tolerance), None)
        if hit is None:
            false += 1
        else:
            open_.remove(hit)
            found += 1
    return Counts(found, false, len(open_))


def detect(detector: CutDetector, frames: Iterable[Tensor]) -> list[int]:
    """Return the frames ``[3, H, W]`` that start a shot, the first one left out."""
    cuts = detector.stream(map(Frame, frames))
    return [i for i, cut in enumerate(cuts) if cut and i > 0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        detectors = {name: load_shot_detector(name) for name in options.detectors}
        rows = evaluate(options.films, options.truth, detectors, options.sequences, options.seed)
    except (VideoError, DataError, ValueError, OSError, ImportError) as error:
        print(f"evaluate_shots: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print("| sequence | detector | found | false | missed | precision | recall | F1 |")
    print("|---|---|---|---|---|---|---|---|")
    for what, name, c in rows:
        figures = f"{c.precision:.2f} | {c.recall:.2f} | {c.f1:.2f}"
        print(f"| {what} | {name} | {c.found} | {c.false} | {c.missed} | {figures} |")
    return 0


def evaluate(
    films: Path, truth: Path, detectors: dict[str, CutDetector], sequences: int, seed: int = 0
) -> list[tuple[str, str, Counts]]:
    """Return film or kind of sequence, detector, and counts.

    Raises:
        DataError: there is no film.
        ValueError: a film's entry is of another form.
        VideoError: a film cannot be read.
    """
    known = json.loads(truth.read_text())
    rows, shots = [], []
    for path in find_sources([films], []):
        stop, transitions = read_truth(path.name, known)
        shots += read_shots(path, transitions, stop) if sequences else []
        for name, detector in detectors.items() if path.name in known else ():
            frames = (frame.pixels for frame in read_frames(path, 0, stop))
            rows.append((path.name, name, score(detect(detector, frames), transitions)))
    for kind in KINDS if sequences else ():
        counts = dict.fromkeys(detectors, Counts())
        for i in range(sequences):
            video, transitions = compose(kind, shots, _PARTS, random_stream(seed + i, kind))
            for name, detector in detectors.items():
                counts[name] += score(detect(detector, video), transitions)
        rows += [(kind, name, count) for name, count in counts.items()]
    return rows


def read_truth(name: str, known: dict) -> tuple[int | None, list[Transition]]:
    """Return how many of a film's frames are known, and their transitions.

    Raises:
        ValueError: the entry is of another form.
    """
    if name not in known:
        return None, []
    try:
        entry = known[name]
        return int(entry["frames"]), [(int(a), int(b)) for a, b in entry["transitions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected frames and transitions [[first, last], ...] in the truth, "
            f"got {known[name]}"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the shot detectors.")
    add = parser.add_argument
    add("--films", type=Path, required=True, help="folder of films")
    add("--truth", type=Path, default=TRUTH, help="JSON of their transitions")
    add("--detectors", nargs="+", default=["histogram", "transnet"],
        choices=("histogram", "transnet"), help="to compare")  # fmt: skip
    add("--sequences", type=int, default=3, help="of each kind; 0: films only")
    add("--seed", type=int, default=0, help="of the sequences")
    return parser


if __name__ == "__main__":
    sys.exit(main())
