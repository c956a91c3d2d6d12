"""Find the inputs that a command line names, and the place of each one's result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..convert import conversion_targets
from ..video_io import VideoError, is_own, probe
from ..video_io.containers import FORMATS
from ..video_io.source import image_paths, natural_key
from ..video_io.target import is_there
from .outcome import WrongUse

VIDEO_SUFFIXES = (
    *FORMATS,
    *(".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".mpeg", ".mpg"),
    *(".mts", ".mxf", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".wmv", ".wtv"),
)
"""Suffixes of the files in a folder that count as films."""


@dataclass(frozen=True)
class Job:
    """One conversion."""

    source: Path
    target: Path | None
    """None puts the result beside the source."""


@dataclass(frozen=True)
class Plan:
    """The conversions to do, and what was left out."""

    jobs: list[Job]
    skipped: dict[Path, str]
    """Source -> the reason why it need not be converted."""
    refused: list[str]
    """The reasons why other sources cannot be converted."""
    batch: bool
    """Whether several were asked for; then a failure of one does not stop the others."""


def split_names(names: Sequence[str], output: str | None) -> tuple[list[Path], Path | None]:
    """Tell the inputs from the output.

    The last of several names is the output if it is a folder or not there yet. A file that exists
    is one of the inputs, so that no film is ever replaced because a shell listed it last; except
    after a single input, if DreamStereo made it, or if it is no video or image.
    """
    if output is not None:
        return [Path(name) for name in names], Path(output)
    inputs, last = [Path(name) for name in names[:-1]], Path(names[-1])
    if not inputs:
        return [last], None
    if os.path.isdir(last) or not os.path.exists(last):
        return inputs, last
    if len(inputs) == 1 and (_same(inputs[0], last) or is_own(last) or not _is_media(last)):
        return inputs, last
    return [*inputs, last], None


def make_plan(
    names: Sequence[str], output: str | None, layout: str, *, recursive: bool, overwrite: bool
) -> Plan:
    """Find the inputs and where their results go.

    Raises:
        WrongUse: several inputs and a file as output, or two results of one name.
    """
    inputs, out = split_names(names, output)
    found = [pair for name in inputs for pair in _expand(name, recursive)]
    if len(inputs) == 1 and found == [(inputs[0], inputs[0])]:
        return Plan([Job(inputs[0], out)], {}, [], False)
    if out is not None and not os.path.isdir(out) and (os.path.exists(out) or out.suffix):
        raise WrongUse(f"output: several inputs need a folder, got {out}")
    plan, taken = Plan([], {}, [], True), {}
    for source, root in found:
        try:
            target = None if out is None else _place(source, root, out)
            made = conversion_targets(source, target, layout)
            reason = "made by DreamStereo" if source.is_file() and is_own(source) else ""
        except VideoError as error:
            plan.refused.append(str(error))
            continue
        if not overwrite and all(is_there(path) for path in made):
            reason = f"{made[0]} exists already"
        if reason:
            plan.skipped[source] = reason
        elif made[0] in taken:
            raise WrongUse(f"{taken[made[0]]} and {source} would both become {made[0]}")
        else:
            taken[made[0]] = source
            plan.jobs.append(Job(source, target))
    return plan


def _expand(path: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Yield the inputs that a name stands for, each with the folder in which it was found.

    A folder of films stands for its films; a folder of images, or any other name, for itself.
    """
    if not os.path.isdir(path):
        yield path, path
        return
    films = [p for p in path.iterdir() if _is_film(p)]
    folders = [p for p in path.iterdir() if os.path.isdir(p) and not p.name.startswith(".")]
    if not films and not (recursive and folders):
        yield path, path
        return
    for film in sorted(films, key=natural_key):
        yield film, path
    for folder in sorted(folders, key=natural_key) if recursive else ():
        for found, _ in _expand(folder, recursive):
            if found.is_file() or _has_images(found):
                yield found, path


def _place(source: Path, root: Path, out: Path) -> Path:
    """Return the folder for a result, at the same place in `out` as the source has in `root`."""
    inside = source if os.path.isdir(source) else source.parent
    if source == root:
        return out / source.name if os.path.isdir(source) else out
    return out / inside.relative_to(root)


def _is_film(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in VIDEO_SUFFIXES and not hidden and path.is_file()


def _has_images(folder: Path) -> bool:
    try:
        return bool(image_paths(folder))
    except VideoError:
        return False


def _same(one: Path, other: Path) -> bool:
    return os.path.exists(one) and os.path.samefile(one, other)


def _is_media(path: Path) -> bool:
    try:
        probe(path)
    except VideoError:
        return False
    return True
