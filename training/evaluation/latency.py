"""How long a fill takes, and how much of it its transformer and its autoencoder take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dreamstereo_core import DiffusionInpainter
from evaluation.fills import Fill, ModelFill

PARTS = ("ms_dit", "ms_vae")


class Latency:
    """Wall time in ms since `start`, by parts; a GPU's work is waited for at each mark."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.ms: dict[str, float] = dict.fromkeys(("ms_frame", *PARTS), 0.0)

    def now(self) -> float:
        """Return the time in ms after all work asked for so far."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() * 1e3

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with its time added to a part."""

        def run(*args: Any, **options: Any) -> Any:
            begin = self.now()
            result = function(*args, **options)
            self.ms[part] += self.now() - begin
            return result

        return run


@contextmanager
def measured_latency(fill: Fill, frames: int) -> Iterator[dict[str, float]]:
    """Measure one call of a fill on so many frames; the figures are there at the end.

    Yields:
        "ms_frame", and of a diffusion inpainter also "ms_dit" and "ms_vae": ms a frame.
    """
    figures: dict[str, float] = {}
    inpainter = fill.inpainter if isinstance(fill, ModelFill) else None
    parts = inpainter if isinstance(inpainter, DiffusionInpainter) else None
    device = next(parts.transformer.parameters()).device if parts else torch.device("cpu")
    latency = Latency(device)
    if parts:  # on the objects: the classes stay as they are
        for name in ("encode_chunk", "decode_chunk"):
            setattr(parts.vae, name, latency.timed("ms_vae", getattr(parts.vae, name)))
        parts.transformer.forward = latency.timed("ms_dit", parts.transformer.forward)
    begin = latency.now()
    try:
        yield figures
    finally:
        latency.ms["ms_frame"] = latency.now() - begin
        if parts:
            del parts.vae.encode_chunk, parts.vae.decode_chunk, parts.transformer.forward
    names = ("ms_frame", *PARTS) if parts else ("ms_frame",)
    figures.update({name: latency.ms[name] / frames for name in names})
