"""Films in pieces: what pieces cost, and what is left of a film whose conversion is killed."""

from __future__ import annotations

import json
import random
import tempfile
import time
from ctypes import c_int
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import av
import torch

from dreamstereo_core import (
    ConvertOptions,
    DecodeOptions,
    EncodeOptions,
    convert_file,
    load_depth,
    load_inpainter,
    read_frames,
)
from dreamstereo_core.pieces import remove_joined, work_path
from dreamstereo_core.plan import FilmPlan, PlannedShot

from .machine import print_table
from .pipeline import synthetic_clip

EVERY, RATE = 12, 24
"""Frames of a piece of a film that is killed, and frames a second."""
_FRAMES, _SIZE = 130, (128, 80)  # of that film
_SEED = 0


def pieces_table(count: int, size: tuple[int, int], every: int = 40, rounds: int = 3) -> None:
    """Print the time of a conversion in one go and in pieces, in turns; the least counts.

    The processor's time leaves out what other programs take; the wall's has what the disk takes.
    """
    least: dict[bool, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        synthetic_clip(clip, count, size)
        for turn in range(2 * rounds + 1):  # the first one warms up
            split = turn % 2 == 1
            begin = time.process_time(), time.perf_counter()
            convert_file(
                clip,
                clip.with_name("out.mp4"),
                depth=load_depth("cues"),
                inpainter=load_inpainter("classic"),
                overwrite=True,
                piece=every / RATE if split else None,
            )
            spent = time.process_time() - begin[0], time.perf_counter() - begin[1]
            if turn:
                before = least.get(split, spent)
                least[split] = [min(pair) for pair in zip(before, spent, strict=True)]
    width, height = size
    rows = [
        [name, f"{least[split][0]:.1f}", f"{least[split][1]:.1f}"]
        for split, name in ((False, "one file"), (True, f"pieces of {every} frames"))
    ]
    rows.append(["more", *(f"{least[True][i] / least[False][i] - 1:+.1%}" for i in range(2))])
    print_table([f"{count} frames of {width}x{height}", "processor, s", "wall, s"], rows)


def workers_table(count: int, size: tuple[int, int], every: int = 40) -> None:
    """Print the time of a planned film by one process with all cores, and by two that share them.

    Each shot is a piece. The processes' start counts, as it does for a user.
    """
    shots = tuple(PlannedShot(first, min(every, count - first)) for first in range(0, count, every))
    rows, walls = [], []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        synthetic_clip(clip, count, size)
        for workers in (1, 2):
            begin = time.perf_counter()
            convert_file(
                clip,
                clip.with_name("out.mp4"),
                depth=load_depth("embedded"),
                inpainter=load_inpainter("mini"),
                overwrite=True,
                piece=every / RATE,
                plan=FilmPlan(shots),
                workers=workers,
            )
            walls.append(time.perf_counter() - begin)
            rows.append([f"{workers}", f"{walls[-1]:.1f}", f"{walls[0] / walls[-1]:.2f}"])
    width, height = size
    print_table([f"workers, {count} frames of {width}x{height}", "wall, s", "times as fast"], rows)


@dataclass(frozen=True)
class Written:
    """What a reader finds in a film."""

    pixels: torch.Tensor
    times: list[Fraction]
    sound: list[bytes]

    @classmethod
    def read(cls, path: Path) -> Written:
        """Read a film."""
        frames = list(read_frames(path, options=DecodeOptions(source_layout="2d")))
        with av.open(str(path)) as container:
            sound = [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]
        return cls(torch.stack([f.pixels for f in frames]), [f.time for f in frames], sound)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Written):
            return NotImplemented
        same = (self.times, self.sound) == (other.times, other.sound)
        return same and torch.equal(self.pixels, other.pixels)


def kill_table(count: int) -> None:
    """Kill conversions `count` times at random moments, run each on to its end, and compare.

    Raises:
        RuntimeError: a film is not what it is without kills, or more than a piece was lost.
    """
    chance = random.Random(_SEED)
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "film.mkv"
        uneven_film(source)
        begin = time.monotonic()
        _run(source, folder / "whole.mkv", None)
        takes = time.monotonic() - begin
        whole = Written.read(folder / "whole.mkv")
        film = 0
        while len(rows) < count:
            target = folder / f"killed_{film}.mkv"
            film += 1
            while not target.exists():
                after = chance.uniform(0, takes) if len(rows) < count else None
                done = _run(source, target, after)
                if target.exists():  # all is done, or the kill came before the work was cleared
                    remove_joined([target], work_path(target))
                    break
                kept = _finished(target)
                lost = max(0, done - kept)
                rows.append([len(rows) + 1, f"{after:.1f}", max(done, 0), kept, lost])
                if lost > EVERY:
                    raise RuntimeError(f"lost: expected at most {EVERY} frames, got {lost}")
            if Written.read(target) != whole:
                raise RuntimeError(f"{target}: differs from a film that was not killed")
            if left := [path.name for path in folder.glob("*killed*") if path.suffix != ".mkv"]:
                raise RuntimeError(f"{folder}: expected nothing but films, got {left}")
    print_table(["kill", "s after the start", "frames written", "frames kept", "lost"], rows)
    print(f"\n{film} films killed {len(rows)} times are what they are without, to the bit; at most "
          f"{max(row[-1] for row in rows)} frames lost at once, pieces have {EVERY}")  # fmt: skip


def _finished(target: Path) -> int:
    manifest = work_path(target) / "manifest.json"
    if not manifest.exists():
        return 0
    return sum(piece["frames"] for piece in json.loads(manifest.read_text("utf-8"))["pieces"])


def _run(source: Path, target: Path, kill_after: float | None) -> int:
    """Convert in another process, and kill it after some seconds; return the frames written."""
    quick = "forkserver" in get_all_start_methods()  # it has imported torch already
    done = RawValue(c_int, -1)  # without a lock, which a killed process would keep
    start = get_context("forkserver") if quick else get_context("spawn")
    process = start.Process(target=_convert, args=(source, target, done))
    process.start()
    process.join(kill_after)
    killed = process.is_alive()
    process.kill()
    process.join()
    if not killed and process.exitcode != 0:
        raise RuntimeError(f"{target}: ended with {process.exitcode}")
    return done.value


def _convert(source: Path, target: Path, done: Any) -> None:
    torch.set_num_threads(1)

    def report(progress: Any) -> None:
        done.value = progress.done

    convert_file(
        source,
        target,
        depth=load_depth("cues"),
        inpainter=load_inpainter("mini"),
        options=ConvertOptions(chunk_frames=4),
        encode=EncodeOptions(preset="ultrafast"),
        piece=EVERY / RATE,
        on_progress=report,
    )


def uneven_film(path: Path) -> None:
    """Write a film of two shots with sound, whose frames come at uneven times."""
    width, height = _SIZE
    generator = torch.Generator().manual_seed(1)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound = output.add_stream("aac", rate=8000, layout="mono")
        milliseconds = 0
        grounds = torch.rand(2, height // 8, width // 4, 3, generator=generator).mul(255).byte()
        for number in range(_FRAMES):
            ground = grounds[number // 70].repeat_interleave(8, 0).repeat_interleave(8, 1)
            picture = ground[:, number % 70 : number % 70 + width].clone()
            picture[30:60, 10 + number % 70 : 40 + number % 70] = torch.tensor([200, 30, 60]).byte()
            frame = av.VideoFrame.from_ndarray(picture.numpy(), "rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            output.mux(video.encode(frame))
            milliseconds += (30, 42, 83)[number % 3]
        tone = av.AudioFrame.from_ndarray(torch.zeros(1, 8 * milliseconds).numpy(), "fltp", "mono")
        tone.sample_rate = 8000
        output.mux(sound.encode(tone))
        output.mux(video.encode(None))
        output.mux(sound.encode(None))
