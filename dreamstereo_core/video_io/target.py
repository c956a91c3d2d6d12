"""Targets that appear under their name when complete, and never replace what is read."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from .containers import check_suffix
from .photo_layouts import PHOTO_SUFFIXES
from .source import (
    IMAGE_SUFFIXES,
    NUMBER_PATTERN,
    Source,
    VideoError,
    image_paths,
    reason,
    source_name,
)

try:
    import fcntl
except ImportError:  # on Windows an open file cannot be removed, which serves as a lock
    fcntl = None

_NAME_BYTES = 100  # bytes of the target's name in a temporary name, which may have 255
_LOCK = "lock"  # name of the lock file in a temporary folder


def is_sequence(target: Path) -> bool:
    """Tell whether a target is numbered images (frame_%05d.png)."""
    return target.suffix.lower() in IMAGE_SUFFIXES and bool(NUMBER_PATTERN.search(target.name))


def is_there(target: Path) -> bool:
    """Tell whether a target exists already; of numbered images, whether any does."""
    return bool(numbered(target)) if is_sequence(target) else os.path.exists(target)


def check_free(target: Path, overwrite: bool) -> None:
    """Require a name that may be written.

    Raises:
        VideoError: it is a folder, or the file exists already and `overwrite` is False.
    """
    try:
        if is_sequence(target):
            taken = numbered(target)
            if taken and not overwrite:
                raise VideoError(
                    f"{target}: {taken[0].name} exists already; allow overwriting or choose "
                    "another name"
                )
        elif os.path.isdir(target):
            raise VideoError(f"{target}: expected a file name, this is a folder")
        elif target.exists() and not overwrite:
            raise VideoError(f"{target}: exists already; allow overwriting or choose another name")
    except OSError as error:  # a name that is too long
        raise VideoError(f"{target}: cannot be created ({reason(error)})") from error


def refuse_sources(target: Path, sources: Iterable[Source]) -> None:
    """Require that `target` is none of the files that are read, under any name or link.

    Raises:
        VideoError: `target` is one of them.
    """
    sources = list(sources)
    folder = _identity(target.parent) if is_sequence(target) else None
    if folder is not None and any(_identity(source) == folder for source in sources):
        raise VideoError(f"{target}: expected another folder than the one that is read")
    targets = {_identity(path) for path in (numbered(target) or [target])} - {None}
    if not targets:
        return
    for source in sources:
        if any(_identity(file) in targets for file in _files(source)):
            raise VideoError(
                f"{target}: exists already and is the file that is read ({source_name(source)}); "
                "choose another name"
            )


def numbered(target: Path) -> list[Path]:
    """Return the existing images of a pattern in order; for any other target, none."""
    if not is_sequence(target) or not target.parent.is_dir():
        return []
    try:
        return image_paths(target) or []
    except VideoError:
        return []


def check_targets(
    targets: Iterable[Path],
    sources: Iterable[Source],
    overwrite: bool,
    *,
    new_folder: bool = False,
) -> None:
    """Require targets that can be written, before any work is done.

    With `new_folder` their folder will be made, so it need not exist.

    Raises:
        VideoError: a target has a suffix that cannot be written, has no folder, exists already, or
            is one of the files that are read.
    """
    sources = list(sources)
    for target in targets:
        check_suffix(target, PHOTO_SUFFIXES)
        refuse_sources(target, sources)
        check_free(target, overwrite)
        folder = target.parent
        if new_folder and os.path.exists(folder) and not os.path.isdir(folder):
            raise VideoError(f"{folder}: expected a folder or a name with a suffix, this is a file")
        if not (new_folder or is_sequence(target) or folder.is_dir()):
            raise VideoError(f"{target}: cannot be created (no folder {folder})")


class Claim:
    """The temporary file or folder beside a target, locked as long as its run is alive.

    What killed runs to the same target left behind is removed first.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        """Create it; if the target is a link, it is followed.

        Raises:
            VideoError: it cannot be created, or the target exists and `overwrite` is False.
        """
        check_free(target, overwrite)
        self._target = target
        self._overwrite = overwrite
        self._sequence = is_sequence(target)
        linked = not self._sequence and target.is_symlink()
        place = Path(os.path.realpath(target)) if linked else target
        folder = place.parent
        self._place = folder if self._sequence else place
        self._made_folder = self._sequence and not folder.exists()
        try:
            if self._sequence:
                folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder, _stem(target))
            self.path, self._lock = _create(folder, _stem(target), self._sequence)
        except OSError as error:
            raise VideoError(f"{target}: cannot be created ({reason(error)})") from error

    def commit(self) -> None:
        """Rename what was written to the target's name.

        Raises:
            VideoError: a file of this name has appeared in the meantime.
            OSError: the system refuses.
        """
        if self._sequence:
            self._commit_images()
            return
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())
        if fcntl is None:
            self._lock.close()
        _move(self.path, self._place, self._target, self._overwrite)

    def discard(self) -> None:
        """Remove what is left; call it again after closing a file (Windows)."""
        with suppress(OSError):
            if not self._sequence:
                self.path.unlink(missing_ok=True)
            elif self.path.exists():
                shutil.rmtree(self.path, ignore_errors=fcntl is None)

    def close(self) -> None:
        """Release the lock and remove what is left."""
        self.discard()
        self._lock.close()
        self.discard()
        if self._made_folder:
            with suppress(OSError):
                self._place.rmdir()  # fails, as it should, if something is in it

    def _commit_images(self) -> None:
        images = sorted(p for p in self.path.iterdir() if p.name != _LOCK)
        for image in images:
            place = self._place / image.name
            _move(image, place, place, self._overwrite)
        fresh = {image.name for image in images}
        for old in numbered(self._target):  # from a longer run, which is to be replaced
            if old.name not in fresh:
                old.unlink()


def _stem(target: Path) -> str:
    """Return the beginning of the temporary name; names are limited in bytes."""
    return os.fsencode(target.stem)[:_NAME_BYTES].decode("utf-8", "ignore")


def _create(folder: Path, stem: str, sequence: bool) -> tuple[Path, IO[bytes]]:
    while True:
        path = folder / f".{stem}.ds{secrets.token_hex(4)}.part"
        if sequence:
            path.mkdir()
        lock = (path / _LOCK if sequence else path).open("xb")
        # Before it was locked, another run may have taken the file for one of a killed run.
        if try_lock(lock, unknown=True) and path.exists():
            return path, lock
        lock.close()


def try_lock(file: IO[bytes], *, unknown: bool) -> bool:
    """Try to lock a file; `unknown` is the result on file systems without locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return unknown
    return True


def _sweep(folder: Path, stem: str) -> None:
    """Remove the temporary files of runs to the same target that are no longer alive."""
    ours = re.compile(re.escape(f".{stem}.ds") + r"[0-9a-f]{8}\.part")
    for path in [path for path in folder.iterdir() if ours.fullmatch(path.name)]:
        with suppress(OSError):
            lock = path / _LOCK if path.is_dir() else path
            with lock.open("rb+") as file:
                dead = try_lock(file, unknown=False)
                if dead and fcntl is not None:
                    _remove(path)
            if dead and fcntl is None:
                lock.unlink()  # fails if it is open
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _move(path: Path, place: Path, target: Path, overwrite: bool) -> None:
    """Rename a file; without `overwrite` nothing is ever replaced."""
    if overwrite:
        os.replace(path, place)
        return
    try:
        if os.name == "nt":
            path.rename(place)  # refuses an existing name
            return
        try:
            os.link(path, place, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # no hard links here: reserve the name, then replace that file
            place.open("xb").close()
            _replace_held(path, place)
        else:
            path.unlink()
    except FileExistsError as error:
        raise VideoError(
            f"{target}: exists already; it appeared during the run, and nothing was replaced"
        ) from error


def _replace_held(path: Path, place: Path) -> None:
    try:
        os.replace(path, place)
    except OSError:
        place.unlink()
        raise


def _files(source: Source) -> list[Source]:
    try:
        images = image_paths(source)
    except VideoError:
        return []
    return [source] if images is None else [*images]


def _identity(file: Source) -> tuple[int, int] | None:
    """Return the numbers that identify a file, or None if it does not exist."""
    try:
        found = os.stat(file if isinstance(file, str | Path) else file.fileno())
    except (OSError, ValueError, AttributeError):
        return None
    return found.st_dev, found.st_ino
