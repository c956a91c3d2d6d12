"""The folder beside a target that holds its finished pieces, and what is known of them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..video_io import Source, VideoError
from ..video_io.source import image_paths, reason
from ..video_io.target import try_lock
from .marks import Recalled
from .notes_file import NotesError, read_notes, write_notes

WORK_SUFFIX = ".dreamstereo"
"""A film's work folder is named like the target with this behind it."""

_MANIFEST, _LOCK = "manifest.json", "lock"
_FORMAT = 1
_ENDS = 1 << 20  # bytes at a source's beginning and end that tell it from another one

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """A finished part of a film; one file for each view."""

    first: int
    """Its first frame, counted from where the conversion begins."""
    frames: int
    time: Fraction
    """Of its first frame, in seconds of the source's clock."""
    files: Mapping[str, str]
    """View -> file name."""


@dataclass
class WorkFolder:
    """The pieces of one film, which only one run may add to."""

    path: Path
    about: Mapping[str, Any]
    """What the film is made of: source, options and version."""
    pieces: list[Piece] = field(default_factory=list)
    complete: bool = False
    """Whether the last piece is the film's end."""

    @property
    def frames(self) -> int:
        """How many frames are finished."""
        return sum(piece.frames for piece in self.pieces)

    def place(self, name: str) -> Path:
        """Return the place of a file."""
        return self.path / name

    def add(self, piece: Piece, recalled: Recalled | None) -> None:
        """Add a piece whose files are there; None = it is the film's last one.

        When this returns, the piece is safe from a cut of the power.

        Raises:
            OSError: the disk is full, or refuses.
        """
        if recalled is not None:
            write_notes(self._notes(piece.first + piece.frames), recalled)
        self.pieces.append(piece)
        self.complete = recalled is None
        self._save()
        for old in self.pieces[:-1]:  # the last notes but one stay, in case the last are damaged
            with suppress(OSError):
                self._notes(old.first).unlink(missing_ok=True)

    def put(self, piece: Piece, *, complete: bool) -> None:
        """Add a piece whose files are there, in any order; `complete`: it was the last one missing.

        When this returns, the piece is safe from a cut of the power.

        Raises:
            OSError: the disk is full, or refuses.
        """
        self.pieces = sorted([*self.pieces, piece], key=lambda piece: piece.first)
        self.complete = complete
        self._save()

    def recalled(self) -> Recalled:
        """Return what goes on after the pieces; a piece without its notes is made once more."""
        while self.pieces and not self.complete:
            try:
                return read_notes(self._notes(self.frames))
            except NotesError as error:
                _log.warning("%s; the piece before it is made once more", error)
                self.pieces.pop()
        return Recalled()

    def discard(self) -> None:
        """Remove all in the folder but the lock, which is open; what knows of it goes last."""
        inside = [path for path in self.path.iterdir() if path.name != _LOCK]
        for path in sorted(inside, key=lambda path: path.name == _MANIFEST):
            path.unlink() if path.is_file() else shutil.rmtree(path)
        self.pieces, self.complete = [], False

    def _notes(self, frame: int) -> Path:
        return self.path / f"from_frame_{frame:08d}.pt"

    def _save(self) -> None:
        pieces = [asdict(piece) | {"time": str(piece.time)} for piece in self.pieces]
        manifest = {"format": _FORMAT, "about": self.about, "complete": self.complete,
                    "pieces": pieces}  # fmt: skip
        text = json.dumps(manifest, indent=1).encode()
        fresh = self.path / f"{_MANIFEST}.part"
        with fresh.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path / _MANIFEST)
        sync_folder(self.path)


def work_path(target: Path) -> Path:
    """Return the place of a target's work folder; it is there where a run has ended early."""
    return target.with_name(target.name + WORK_SUFFIX)


@contextmanager
def work_folder(path: Path, about: Mapping[str, Any], *, restart: bool) -> Iterator[WorkFolder]:
    """Open a film's work folder, make it if it is not there, and lock it while it is used.

    A folder without a piece is removed at the end.

    Args:
        path: the folder, whose parent is there.
        about: what it is made of, of JSON's types.
        restart: throw away what another run has finished.

    Raises:
        VideoError: another run works in it, it cannot be made, or its pieces are of another source,
            of other options or of another version.
    """
    about = json.loads(json.dumps(about))
    try:
        path.mkdir(exist_ok=True)
        lock = (path / _LOCK).open("a+b")
    except OSError as error:
        raise VideoError(f"{path}: cannot be created ({reason(error)})") from error
    with lock:
        if not try_lock(lock, unknown=True):
            lock.seek(0)
            holder = lock.read().decode("utf-8", "replace") or "another run"
            raise VideoError(f"{path}: {holder} is writing this film")
        lock.truncate(0)
        lock.write(f"process {os.getpid()}".encode())
        lock.flush()
        folder = WorkFolder(path, about)
        if restart:
            folder.discard()
        else:
            _read(folder)
        try:
            yield folder
        finally:
            if not folder.pieces:
                with suppress(OSError):
                    folder.discard()
                    (path / _LOCK).unlink()  # Windows: fails, and leaves an empty folder
                    path.rmdir()


def remove_joined(targets: Iterable[Path], path: Path) -> None:
    """Remove the work folder of a film that is there: its run was killed before it could.

    A folder stays if a run works in it, or if it is younger than one of the targets, which it will
    replace then.
    """
    try:
        manifest = path / _MANIFEST
        finished = manifest.stat().st_mtime_ns
        if not json.loads(manifest.read_bytes())["complete"]:
            return
        if any(target.stat().st_mtime_ns < finished for target in targets):
            return
        with (path / _LOCK).open("a+b") as lock:
            if not try_lock(lock, unknown=False):
                return
            WorkFolder(path, {}).discard()
        (path / _LOCK).unlink()
        path.rmdir()
    except (OSError, ValueError, KeyError, TypeError):
        return  # there is none, or it is another run's affair


def _read(folder: WorkFolder) -> None:
    """Take the pieces over that another run has finished."""
    try:
        manifest = json.loads((folder.path / _MANIFEST).read_bytes())
        pieces = [
            Piece(piece["first"], piece["frames"], Fraction(piece["time"]), piece["files"])
            for piece in manifest["pieces"]
        ]
        about, complete = manifest["about"], manifest["complete"]
    except FileNotFoundError:
        folder.discard()
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s: is damaged (%s); the film begins anew", folder.path / _MANIFEST, error)
        folder.discard()
        return
    if manifest.get("format") != _FORMAT or about != folder.about:
        raise VideoError(
            f"{folder.path}: holds {sum(p.frames for p in pieces)} finished frames, but of another "
            f"{_differing(about, folder.about)}; restart to throw them away, or undo the change"
        )
    folder.complete = complete
    for piece in pieces:
        if missing := [name for name in piece.files.values() if not folder.place(name).is_file()]:
            _log.warning("%s: is missing; the film goes on from there", folder.place(missing[0]))
            folder.complete = False
            break
        folder.pieces.append(piece)


def _differing(old: Any, new: Mapping[str, Any]) -> str:
    """Name what differs, with both values."""
    if not isinstance(old, dict):
        return "format"
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                return f"{key}: {_differing(old[key], new[key])}"
            return f"{key} ({old.get(key)}, now {new.get(key)})"
    return "format"


def describe_source(source: Source, *, named: bool = True) -> dict[str, Any]:
    """Return what tells a source from another one, or from itself after a change.

    Args:
        source: files.
        named: whether a copy under another name or of another date is another source.

    Raises:
        VideoError: it cannot be read.
    """
    paths = image_paths(source)
    if paths is None and not isinstance(source, str | Path):
        raise ValueError("source: expected a path, got a stream")
    files = [Path(str(source))] if paths is None else paths
    digest = hashlib.sha256()
    size = 0
    try:
        for path in files:
            found = path.stat()
            size += found.st_size
            if named:
                digest.update(f"{path.name} {found.st_size} {found.st_mtime_ns}\n".encode())
        for path in {files[0], files[-1]}:
            with path.open("rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, path.stat().st_size - _ENDS))
                digest.update(file.read(_ENDS))
    except OSError as error:
        raise VideoError(f"{source}: cannot be read ({reason(error)})") from error
    return {"name": files[0].name, "bytes": size, "digest": digest.hexdigest()}


def sync_folder(path: Path) -> None:
    """Make sure that the names in a folder are on the disk, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems cannot
    finally:
        os.close(handle)
