"""One process of the fuzzer: tries cases in order and writes a line before and after each."""

import argparse
import faulthandler
import json
import logging
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from random import Random

import torch

sys.path.insert(0, str(Path(__file__).parent))

from mutate import mutate, mutate_json, mutate_safetensors
from seeds import Seed, write_seeds
from targets import TARGETS, allowed

MEMORY = 8 << 30
"""Bytes of address space, where the system can limit it: a bomb fails, and fills no machine."""


def main() -> None:
    options = parse()
    limit_memory()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    sound = options.folder / "sound"
    sound.mkdir(exist_ok=True)
    seeds = [seed for seed in write_seeds(sound) if options.only in seed.path.name]
    end = time.monotonic() + options.seconds
    for case in range(options.first, options.last):
        if time.monotonic() > end:
            break
        seed = seeds[case % len(seeds)]
        print(json.dumps({"start": case, "file": seed.path.name}), flush=True)
        # It ends the process with a traceback, whatever hangs in it.
        faulthandler.dump_traceback_later(options.limit, exit=True)
        problem = try_case(seed, Random(f"{options.seed} {case}"), options.folder / "case")
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps({"end": case, "problem": problem}), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=1)
    parser.add_argument("--limit", type=float, default=30)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--only", default="")
    return parser.parse_args()


def limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # Windows and macOS have no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def damage(seed: Seed, random: Random) -> bytes:
    data = seed.path.read_bytes()
    if seed.path.suffix == ".safetensors":
        return mutate_safetensors(data, random)
    if seed.path.suffix == ".json":
        return mutate_json(data.decode(), random).encode()
    return mutate(data, random)


def try_case(seed: Seed, random: Random, folder: Path) -> str | None:
    """Return what is wrong with how a damaged file was treated."""
    folder.mkdir(exist_ok=True)
    path, target = folder / seed.path.name, folder / f"out{film_suffix(seed)}"
    path.write_bytes(damage(seed, random))
    shard = seed.path.with_name("shard.safetensors")
    beside = {path, folder / shard.name}
    (folder / shard.name).write_bytes(shard.read_bytes())
    problem = None
    try:
        TARGETS[seed.target](path, target)
    except allowed(seed.target) as error:
        target.unlink(missing_ok=True)
        text = str(error)
        if "\n" in text or not text or len(text) > 2000:
            problem = f"not one readable line: {text[:300]!r}"
    except BaseException:
        problem = traceback.format_exc(limit=-8)
    left = sorted(file.name for file in folder.iterdir() if file not in {*beside, target})
    if left:
        problem = f"{problem or ''} left behind: {left}"
    if problem is None:
        for file in folder.iterdir():
            file.unlink()
    else:
        folder.rename(folder.with_name(f"found_{time.time_ns()}"))
    return problem


def film_suffix(seed: Seed) -> str:
    return ".png" if seed.path.name.startswith("still") else ".mkv"


if __name__ == "__main__":
    main()
