"""Kill conversions at any moment and see that the old target stays and nothing is left behind.

python tests/fuzz/kills.py --runs 24

Each killed run has a file in the target's place, which must be there unchanged afterwards (or the
whole new film, where the run was killed after it was finished), and after the next run nothing else
than source and target may lie in the folder.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import av

sys.path.insert(0, str(Path(__file__).parent))

from seeds import film

ROOT = Path(__file__).parents[2]
SIGKILL = getattr(signal, "SIGKILL", None)
FRAMES = 24
OLD = b"the old target " * 1000
CHEAP = ("--fill", "classic", "--depth", "cues", "--overwrite", "--quiet")
SIGNALS = [
    getattr(signal, name)
    for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
    if os.name != "nt" and hasattr(signal, name)
]
"""Windows knows but one way, which cannot be caught: `Popen.kill`."""


def kill_runs(folder: Path, runs: int, *, seed: int = 0) -> list[str]:
    """Return what went wrong in so many killed runs."""
    random, problems = Random(seed), []
    source = film(folder / "film.mkv", "ffv1", "yuv420p", "flac", frames=FRAMES)
    target = folder / "film_3d.mkv"
    begin = time.monotonic()
    run(source, target).wait()
    whole = time.monotonic() - begin
    for number in range(runs):
        target.write_bytes(OLD)
        process = run(source, target)
        # Some die while Python starts, most while frames are written.
        time.sleep(whole * random.uniform(0.1, 1.0))
        sent = SIGNALS[number % len(SIGNALS)] if SIGNALS else None
        process.send_signal(sent) if sent else process.kill()
        code = process.wait(60)
        if code and target.read_bytes() != OLD and not is_whole(target):
            problems.append(f"run {number}, {sent}: the old target is gone, exit {code}")
        if sent not in (SIGKILL, None):  # the others can be caught, and tidied up after
            problems += unexpected(folder, source, target, f"run {number}, {sent}")
        if run(source, target).wait(600):
            problems.append(f"run {number}, {sent}: the next run failed")
        problems += unexpected(folder, source, target, f"after run {number}, {sent}")
    return problems


def is_whole(target: Path) -> bool:
    """Return whether it is a film of all frames."""
    try:
        with av.open(str(target)) as container:
            return sum(1 for _ in container.decode(video=0)) == FRAMES
    except av.FFmpegError:
        return False


def run(source: Path, target: Path) -> subprocess.Popen:
    """Start a conversion."""
    command = [sys.executable, "-m", "dreamstereo_core.cli", "convert", source, target, *CHEAP]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, **quiet)


def unexpected(folder: Path, source: Path, target: Path, when: str) -> list[str]:
    """Return a complaint if there are other files than the two."""
    left = sorted(path.name for path in folder.iterdir() if path not in (source, target))
    for name in left:
        (folder / name).unlink()
    return [f"{when}: left behind {left}"] if left else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dreamstereo_kills_") as folder:
        problems = kill_runs(Path(folder), options.runs, seed=options.seed)
    print(*problems, f"{options.runs} killed runs, {len(problems)} problems", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
