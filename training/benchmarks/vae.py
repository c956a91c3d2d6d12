"""The autoencoders: encode, and decode whole or by tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dreamstereo_core.models.vae.base import GROUP, VideoVAE
from dreamstereo_core.models.vae.checkpoint import build_vae
from dreamstereo_core.models.vae.config import VAEConfig

from .machine import medians, peak_mib, print_table, reset_peak, timed
from .masks import Clip


def vae_report(
    names: Sequence[str | VAEConfig],
    clip: Clip,
    tiles: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    repeats: int,
) -> list[dict[str, Any]]:
    """Measure the autoencoders on one latent amid a video; print the table, return the records."""
    height, width = clip.inverse_depth.shape[-2:]
    records = []
    for name in names:
        torch.manual_seed(0)
        vae = build_vae(name).to(device, dtype).eval().requires_grad_(False)
        label = name if isinstance(name, str) else f"VAE {len(records) + 1}"
        records.append({"vae": label} | _measure(vae, (height, width), tiles, device, repeats))
    rows = [
        (record["vae"], case, f"{values['ms_per_frame']:.1f}", values["peak_mib"])
        for record in records
        for case, values in record["cases"].items()
    ]
    print_table(("VAE", "case", "ms a frame", "peak MiB"), rows)
    return records


@torch.inference_mode()
def _measure(
    vae: VideoVAE,
    size: tuple[int, int],
    tiles: Sequence[int],
    device: torch.device,
    repeats: int,
) -> dict[str, Any]:
    video = torch.rand(1, 3, vae.first_group + GROUP, *size).to(device)
    first, group = video.split([vae.first_group, GROUP], 2)
    latent, cache = vae.encode_chunk(first)
    # Each is made anew, since the memories of all decoders together would be many gigabytes.
    cases: dict[str, Callable[[], Callable[[], object]]] = {
        "encode": lambda: partial(vae.encode_chunk, group, cache),
        "decode": partial(_decoder, vae, latent, None),
        **{f"decode, tiles of {tile}": partial(_decoder, vae, latent, tile) for tile in tiles},
    }
    peaks: dict[str, float] = {}

    def run(name: str) -> list[float]:
        case = cases[name]()
        reset_peak(device)
        times = timed(case, device)()
        peaks[name] = peak_mib(device)
        return times

    runs = [partial(run, name) for name in cases]
    times = medians(runs, repeats=repeats, warm_up=min(1, repeats - 1))
    figures = {
        name: {"ms_per_frame": round(ms / GROUP, 3), "peak_mib": round(peaks[name])}
        for name, [ms] in zip(cases, times, strict=True)
    }
    return {"parameters": sum(p.numel() for p in vae.parameters()), "cases": figures}


def _decoder(vae: VideoVAE, latent: Tensor, tile: int | None) -> Callable[[], object]:
    _, cache = vae.decode_chunk(latent, tile=tile)
    return partial(vae.decode_chunk, latent, cache, tile=tile)
