"""The machine: what it is, the time by its own clock, its ceiling, its peak memory."""

from __future__ import annotations

import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Rows = Sequence[Sequence[Any]]


def describe(device: torch.device) -> dict[str, Any]:
    """Return what a reader needs to judge figures from this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "clock": "thread's CPU time" if torch.get_num_threads() == 1 else "wall time",
        "load_average": round(os.getloadavg()[0], 2),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device.type,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["device"] = properties.name
        machine["device_memory_gib"] = round(properties.total_memory / 2**30, 1)
        machine["cuda"] = torch.version.cuda
        machine["cudnn"] = torch.backends.cudnn.version()
    return machine


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def clock() -> Callable[[], float]:
    """Return the CPU's clock in s.

    A single thread's own time leaves out what other programs take from it; of several threads only
    the wall's time makes sense.
    """
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


class Stopwatch:
    """Marks in the stream of work; the times between them in ms, CUDA's by its own events."""

    def __init__(self, device: torch.device):
        self.device = device
        self.marks: list[Any] = []
        self.now = clock()

    def mark(self) -> None:
        """Set a mark after the work that has been asked for so far."""
        if self.device.type == "mps":
            torch.mps.synchronize()
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(self.now())

    def spans(self) -> list[float]:
        """Return the ms between neighbouring marks, and forget them."""
        marks, self.marks = self.marks, []
        pairs = list(pairwise(marks))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return [a.elapsed_time(b) for a, b in pairs]
        return [(b - a) * 1e3 for a, b in pairs]


def medians(
    functions: Sequence[Callable[[], Sequence[float]]], *, repeats: int, warm_up: int
) -> list[list[float]]:
    """Run functions that return times, in turns so that all meet the same machine.

    The first `warm_up` rounds do not count. Returns the median of each function's each time.
    """
    samples: list[list[Sequence[float]]] = [[] for _ in functions]
    for _ in range(warm_up + repeats):
        for function, series in zip(functions, samples, strict=True):
            series.append(function())
    return [
        [statistics.median(times) for times in zip(*series[warm_up:], strict=True)]
        for series in samples
    ]


def timed(function: Callable[[], object], device: torch.device) -> Callable[[], list[float]]:
    """Make a function that runs this one and returns its time in ms."""
    watch = Stopwatch(device)

    def run() -> list[float]:
        watch.mark()
        function()
        watch.mark()
        return watch.spans()

    return run


def paired(*functions: Callable[[], object], repeats: int = 15) -> list[float]:
    """Return each function's median time in ms, run in turns on the CPU."""
    cpu = torch.device("cpu")
    runs = [timed(function, cpu) for function in functions]
    return [times[0] for times in medians(runs, repeats=repeats, warm_up=2)]


def matmul_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """Return the most FLOP/s of some matrix products of a transformer's kind."""
    large = device.type == "cuda"
    shapes = [(16384, 8192, 8192), (32768, 1536, 8960), (32768, 8960, 1536)]
    if not large:
        shapes = [(4096, 4096, 4096), (4096, 1536, 8960), (4096, 8960, 1536)]
    best = 0.0
    for rows, inputs, outputs in shapes:
        x = torch.randn(rows, inputs, device=device, dtype=dtype)
        weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
        run = timed(lambda x=x, weight=weight: F.linear(x, weight), device)
        [[ms]] = medians([run], repeats=20 if large else 5, warm_up=2)
        best = max(best, 2e3 * rows * inputs * outputs / ms)
    return best


def reset_peak(device: torch.device) -> None:
    """Start to measure the peak memory anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: torch.device) -> float:
    """Return the peak memory since `reset_peak` in MiB: the device's tensors, or the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return process_peak_mib()


def process_peak_mib() -> float:
    """Return the peak memory of the process in MiB; NaN where the system does not tell it."""
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def print_table(head: Sequence[str], rows: Rows) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def relative_rms(x: Tensor, reference: Tensor) -> float:
    """Return the root mean square of x - reference over that of the reference."""
    difference = (x.double() - reference.double()).norm()
    return float(difference / reference.double().norm())
