"""Damage sound files and see that nothing worse than a readable error comes of it.

python tests/fuzz/run.py --cases 2000 --seed 1

Each case depends on the seed and its number alone. What was found stays in the folder that is
named, as `found_*`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]


def fuzz(
    folder: Path,
    cases: int,
    *,
    seed: int = 0,
    seconds: float = 1e9,
    limit: float = 120,
    only: str = "",
) -> tuple[int, list[str]]:
    """Try cases until they or the time are over; return how many, and what went wrong."""
    first, tried, problems = 0, 0, []
    end = time.monotonic() + seconds
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    while first < cases and time.monotonic() < end:
        options = {"first": first, "last": cases, "seed": seed, "limit": limit}
        options["seconds"] = end - time.monotonic()
        arguments = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, str(WORKER), str(folder), *arguments, f"--only={only}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        problems += [f"{line['end']}: {line['problem']}" for line in lines if line.get("problem")]
        tried += sum("start" in line for line in lines)
        if done.returncode == 0:
            break
        # A crash, or a hang that the watchdog ended: go on behind it.
        last = lines[-1] if lines else {}
        problems.append(f"{last}: the process ended with {done.returncode}\n{done.stderr[-3000:]}")
        if "start" not in last:
            break
        first = last["start"] + 1
        keep = folder / "case"
        if keep.exists():
            keep.rename(folder / f"found_{last['start']}")
    return tried, problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of a sound file's name")
    parser.add_argument(
        "--limit",
        type=float,
        default=120,
        help="seconds of one case; many, since other programs may run",
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dreamstereo_fuzz_"))
    tried, problems = fuzz(
        folder, options.cases, seed=options.seed, limit=options.limit, only=options.only
    )
    print(*problems, f"{tried} tried, {len(problems)} problems; {folder}", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
