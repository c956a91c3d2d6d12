"""Training pairs by PBDP from any folder of videos and photos.

    python training/build_pairs.py FOLDER [FOLDER ...] --out pairs [--size 448x256] [--frames 17]
        [--depth planes|parallax|auto|embedded|MODEL] [--depths FOLDER] [--composites 200]
        [--exclude FOLDER] [--fill] [--warp gapw|forward|random] [--shard I/N]

Each clip is taken for the right eye; its disparity, with a random strength, opens the holes of a
second projection in it. Composites of two photos have exact disparities. With `--fill` a clip's
first fill is kept, which `mini` learns to make better. `--warp forward` and `random` open other
holes in the same clips, to compare. The folder that is written holds shards and a contact sheet; an
interrupted run goes on where it was.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from data.files import DataError
from data.pair_shards import Pair, PairWriter, list_pairs
from data.sizes import read_size
from dreamstereo_core import VideoError
from dreamstereo_core.depth import DepthError
from engine.pictures import contact_sheet, paint_mask, write_png
from making.clips import PHOTOS, find_sources
from making.pair_builder import WARPS, PairBuilder, PairOptions, Report
from making.supplied_depth import find_depths


def build(
    folders: list[Path],
    out: Path,
    options: PairOptions,
    *,
    exclude: Sequence[Path] = (),
    depths: Path | None = None,
    quality: int | None = None,
    shard: tuple[int, int] = (1, 1),
) -> Report:
    """Write the pairs of all sources; sources that are done already are left alone.

    Args:
        folders: with the sources, or single ones.
        out: the folder of the pairs.
        options: what the pairs are like.
        exclude: folders whose sources are left out.
        depths: folder with a depth file for each source.
        quality: of JPEG, 0 = PNG; None = H.264.
        shard: (i, n): of n runs that share the work and the folder, this is the i-th, from 1.

    Raises:
        DataError: there is no source, or no depth of one; `out` holds other pairs, or the disk
            takes no more.
        DepthError: the depth model cannot be used.
    """
    sources = find_sources(folders, list(exclude))
    photos = [path for path in sources if path.suffix.lower() in PHOTOS]
    if options.composites and not photos:
        raise DataError("composites: expected photos to make them of, found none")
    settings = {key: value for key, value in vars(options).items() if key != "composites"}
    if not options.fill:
        del settings["fill"]  # as in the shards of before there were fills
    if not options.soft:
        del settings["soft"]
    if options.warp == "gapw":
        del settings["warp"]
    files = {} if depths is None else find_depths(depths, sources)
    i, n = shard
    writer = PairWriter(out, settings, quality, part="" if n == 1 else f"{i}of{n}")
    builder = PairBuilder(options, files)
    jobs: list[tuple[str, Callable[[str], list[Pair]]]] = []
    for path in sources:
        make = builder.photo_pairs if path in photos else builder.video_pairs
        jobs.append((str(path), lambda name, path=path, make=make: make(path, name)))
    for number in range(options.composites):
        jobs.append((f"composite {number}", lambda name: builder.composite_pairs(photos, name)))
    report = builder.report
    try:
        for name, make in tqdm(jobs[i - 1 :: n], unit="source", disable=None):
            if name in writer.done:
                continue
            try:
                pairs = make(name)
            except (VideoError, DepthError) as error:
                report.skipped.append(str(error))
                continue
            writer.add(name, pairs)
            report.sources += 1
    finally:
        writer.flush()
    report.pairs = writer.written
    return report


def read_shard(text: str) -> tuple[int, int]:
    """Read "i/n", 1 <= i <= n; ArgumentTypeError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected i/n with i from 1 to n, got {text!r}")
    return int(match[1]), int(match[2])


def write_sheet(folder: Path, count: int = 16) -> Path:
    """Draw pairs of a folder, evenly chosen: first frame, holes, the middle and the last frame."""
    entries = list_pairs(folder)
    rows = []
    for entry in entries[:: max(1, len(entries) // count)][:count]:
        pair = entry.read()
        video, mask = pair.frames / 255, pair.mask.unsqueeze(1)
        painted = paint_mask(video, mask)
        middle = len(video) // 2
        rows.append([video[0], painted[0], painted[middle], painted[-1]])
    half = (len(rows) + 1) // 2
    pairs_of_rows = [a + b for a, b in zip(rows[:half], [*rows[half:], []], strict=False)]
    path = folder / "contact_sheet.png"
    write_png(path, contact_sheet(pairs_of_rows))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Build pairs as the command line says; return the exit code."""
    args = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        width, height = args.size
        options = PairOptions(
            args.frames,
            height,
            width,
            args.clips,
            args.photo_clips,
            args.composites,
            args.depth,
            tuple(args.max_disparity),
            args.seed,
            args.fill,
            args.soft,
            args.warp,
        )
        report = build(
            args.folders,
            args.out,
            options,
            exclude=args.exclude,
            depths=args.depths,
            quality=args.quality,
            shard=args.shard,
        )
        sheet = write_sheet(args.out)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (ValueError, DepthError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)
    for line in report.skipped:
        print(f"skipped: {line}")
    for reason, count in report.left_out.items():
        print(f"clips {reason}: {count}")
    print(f"{report.pairs} pairs in {args.out}; {len(report.skipped)} sources skipped; see {sheet}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Training pairs from videos and photos.")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=read_size, default=(448, 256), metavar="WxH")
    parser.add_argument("--frames", type=int, default=17, help="4n + 1")
    parser.add_argument("--clips", type=int, default=4, help="of each video, at most")
    parser.add_argument("--photo-clips", type=int, default=2, help="of each photo")
    parser.add_argument("--composites", type=int, default=0, help="made of the photos")
    parser.add_argument("--depth", default="planes", help="planes, parallax, or as for the command")
    parser.add_argument("--depths", type=Path, help="folder with a depth file of each clip's name")
    parser.add_argument("--max-disparity", type=float, nargs=2, default=(3.0, 8.0), metavar="PCT")
    parser.add_argument("--exclude", type=Path, action="append", default=[])
    parser.add_argument("--quality", type=int, help="of JPEG instead of H.264; 0 = lossless")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soft", type=float, default=0.0, help="share of soft clips")
    parser.add_argument("--fill", action="store_true", help="keep first fills, for train_mini.py")
    parser.add_argument("--warp", choices=WARPS, default="gapw",
                        help="what opens the holes: PBDP, point splatting, or chance")  # fmt: skip
    parser.add_argument("--shard", type=read_shard, default=(1, 1), metavar="I/N",
                        help="do the I-th of N parts; all may write into one folder")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
