"""Find the inputs that a command line names, and the place of each one's result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from ..pieces import WORK_SUFFIX, remove_joined, work_path
from ..targets import SEQUENCE_NAME, conversion_targets, picture_targets
from ..video_io import VideoError, is_own, probe, separate_pictures
from ..video_io.containers import FORMATS
from ..video_io.source import IMAGE_SUFFIXES, image_paths, natural_key, reason
from ..video_io.target import is_there
from .outcome import WrongUse

VIDEO_SUFFIXES = (
    *FORMATS,
    *(".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".mpeg", ".mpg"),
    *(".mts", ".mxf", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".wmv", ".wtv"),
)
"""Suffixes of the files in a folder that count as films."""
LIST_MARK = "@"
"""Begins the name of a text file with one name in each line."""


@dataclass(frozen=True)
class Job:
    """One conversion."""

    source: Path
    target: Path | None
    """A folder or a file; None puts the result beside the source."""
    picture: int | None = None
    """Of a photograph in a folder: its number there, from 0. It is converted whole, whatever
    frames were chosen."""


@dataclass(frozen=True)
class Plan:
    """The conversions to do, and what was left out."""

    jobs: list[Job]
    skipped: dict[Path, str]
    """Source -> the reason why it need not be converted."""
    refused: dict[Path, str]
    """Source -> the reason, with its name, why it cannot be converted."""
    batch: bool
    """Whether several were asked for; then a failure of one does not stop the others."""


def split_names(names: Sequence[str], output: str | None) -> tuple[list[Path], Path | None]:
    """Tell the inputs from the output.

    The last of several names is the output if it is a folder or not there yet. A file that exists
    is one of the inputs, so that no film is ever replaced because a shell listed it last; except
    after a single input, if DreamStereo made it, or if it is no video or image. A list, and a
    pattern that something matches, are inputs.
    """
    if output is not None:
        return [Path(name) for name in names], Path(output)
    inputs, last = [Path(name) for name in names[:-1]], Path(names[-1])
    if not inputs or _listed(last) is not None:
        return [*inputs, last], None
    if os.path.isdir(last) or not os.path.exists(last):
        return inputs, last
    if len(inputs) == 1 and (_same(inputs[0], last) or is_own(last) or not _is_media(last)):
        return inputs, last
    return [*inputs, last], None


def make_plan(
    names: Sequence[str],
    output: str | None,
    layout: str,
    *,
    recursive: bool,
    overwrite: bool,
    frames: tuple[int, int | None] = (0, None),
) -> Plan:
    """Find the inputs and where their results go.

    Args:
        names: of inputs, and perhaps of the output behind them.
        output: the output, if it was named by its option.
        layout: one of `FILE_LAYOUTS`.
        recursive: whether to look into the folders of a folder.
        overwrite: whether results that are there are made anew.
        frames: which pictures of a folder of photographs are wanted.

    Raises:
        WrongUse: several inputs and a file as output, or two inputs whose results have one name.
    """
    inputs, out = split_names(names, output)
    search = _Search(layout, recursive, frames)
    for name in inputs:
        search.add(name)
    if len(inputs) == 1 and search.found == [_Found(inputs[0], inputs[0])]:
        return Plan([Job(inputs[0], out)], {}, {}, False)
    if out is not None and not os.path.isdir(out) and (os.path.exists(out) or out.suffix):
        raise WrongUse(f"output: several inputs need a folder, got {out}")
    plan, taken = Plan([], {}, search.refused, True), {}
    for found in search.found:
        try:
            job, made = _place(found, out, layout)
            own = _is_own(found.source)
        except VideoError as error:
            plan.refused[found.source] = str(error)
            continue
        if own:
            plan.skipped[found.source] = "made by DreamStereo"
            continue
        other = taken.setdefault(made[0], job)
        if other.source != found.source:
            clash = f"{other.source} and {found.source} would both become {made[0]}"
            if found.source == found.root:
                raise WrongUse(clash)
            plan.refused[found.source] = f"{clash}; the second is left out"
        elif other is not job:  # it is named twice
            continue
        elif not overwrite and all(is_there(path) for path in made):
            remove_joined(made, work_path(made[0]))
            plan.skipped[found.source] = f"{made[0]} exists already"
        else:
            plan.jobs.append(job)
    return plan


@dataclass(frozen=True)
class _Found:
    """An input, and where it was found."""

    source: Path
    root: Path
    """The folder that was named; of a name that stands for itself, the source."""
    picture: int | None = None
    """As `Job.picture`."""
    place: Path | None = None
    """Of a photograph: the target that it has without an output."""


@dataclass
class _Search:
    """The inputs that names stand for, in the names' order.

    A folder stands for its films and photographs. Where it has images and no films, they are the
    frames of one film, unless their sizes or kinds differ.
    """

    layout: str
    recursive: bool
    frames: tuple[int, int | None]
    found: list[_Found] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def add(self, name: Path) -> None:
        """Add what a name stands for: a list, a pattern, a folder, or itself."""
        for path in [name] if (listed := _listed(name)) is None else listed:
            if os.path.isdir(path):
                self._add_folder(path, path)
            else:
                self.found.append(_Found(path, path if listed is None else path.parent))

    def _add_folder(self, folder: Path, root: Path) -> None:
        real = os.path.realpath(folder)
        if real in self._seen:  # a link may lead back
            return
        self._seen.add(real)
        try:
            inside = [p for p in folder.iterdir() if not p.name.startswith(".")]
            inside.sort(key=natural_key)
        except OSError as error:
            self.refused[folder] = f"{folder}: cannot be read ({reason(error)})"
            return
        films = [p for p in inside if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()]
        images = [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
        folders = [p for p in inside if os.path.isdir(p) and p.suffix != WORK_SUFFIX]
        self.found += [_Found(film, root) for film in films]
        if images and films:
            self._add_photographs(picture_targets(images, folder, folder, self.layout), root)
        elif images and separate_pictures(folder) is not None:
            targets = picture_targets(images, folder, None, self.layout)
            chosen = list(targets.items())[slice(*self.frames)]
            self._add_photographs(dict(chosen), root)
        elif images or (folder == root and not films and not (self.recursive and folders)):
            self.found.append(_Found(folder, root))
        for inner in folders if self.recursive else ():
            self._add_folder(inner, root)

    def _add_photographs(self, targets: dict[Path, Path], root: Path) -> None:
        for number, (image, place) in enumerate(targets.items()):
            self.found.append(_Found(image, root, number, place))


def _listed(name: Path) -> list[Path] | None:
    """Return what a list or a pattern stands for; None for any other name.

    Raises:
        WrongUse: a list cannot be read, or has no name in it.
    """
    if os.path.lexists(name):
        return None
    text = str(name)
    if text.startswith(LIST_MARK) and os.path.isfile(text[1:]):
        try:
            lines = Path(text[1:]).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise WrongUse(f"{text}: cannot be read as a list of names ({error})") from error
        names = [line.strip() for line in lines]
        paths = [Path(name) for name in names if name and not name.startswith("#")]
        if not paths:
            raise WrongUse(f"{text}: expected a name in each line, got none")
        return paths
    if not has_magic(text):
        return None
    return sorted(map(Path, glob(text, recursive=True)), key=natural_key) or None


def _place(found: _Found, out: Path | None, layout: str) -> tuple[Job, tuple[Path, ...]]:
    """Return the job for an input, and the files that it makes.

    In `out` a result lies at the same place as its source does in the folder that was named.

    Raises:
        VideoError: the input is missing or unreadable.
    """
    source, place = found.source, found.place
    if place is not None:
        if out is not None:
            place = out / source.parent.relative_to(found.root) / place.name
        return Job(source, place, found.picture), conversion_targets(source, place, layout)
    beside = conversion_targets(source, None, layout)
    if out is None:
        return Job(source, None), beside
    if os.path.isdir(source):
        named = source == found.root
        folder = out / (source.name if named else source.relative_to(found.root))
        return Job(source, folder), conversion_targets(source, folder / SEQUENCE_NAME, layout)
    folder = out if source == found.root else out / source.parent.relative_to(found.root)
    return Job(source, folder), tuple(folder / path.name for path in beside)


def _is_own(source: Path) -> bool:
    """Tell whether DreamStereo made a film, a picture, or the first one of a folder's images."""
    images = image_paths(source)
    return is_own(images[0] if images else source)


def _same(one: Path, other: Path) -> bool:
    return os.path.exists(one) and os.path.samefile(one, other)


def _is_media(path: Path) -> bool:
    try:
        probe(path)
    except VideoError:
        return False
    return True
