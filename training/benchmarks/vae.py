"""The autoencoders: encode, decode, and decode only the tiles around real holes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core.models.vae.base import GROUP, VideoVAE
from dreamstereo_core.models.vae.checkpoint import build_vae
from dreamstereo_core.models.vae.tiles import Region, masked_regions, relative_cost
from dreamstereo_core.types import OcclusionMask

from .machine import medians, peak_mib, print_table, reset_peak, timed
from .masks import Clip


def vae_report(
    names: Sequence[str],
    clip: Clip,
    max_disparities: Sequence[float],
    tiles: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    repeats: int,
) -> list[dict[str, Any]]:
    """Measure the autoencoders on one latent amid a video; print the table, return the records."""
    frames = len(clip.inverse_depth)
    holes = {
        (percent, tile, span): _mask(clip, percent, count)
        for percent in max_disparities
        for tile in tiles
        for span, count in (("4 frames", GROUP), (f"{frames} frames", frames))
    }
    records = []
    for name in names:
        torch.manual_seed(0)
        vae = build_vae(name).to(device, dtype).eval().requires_grad_(False)
        records.append({"vae": name} | _measure(vae, clip, holes, device, repeats))
    rows = [
        (record["vae"], case, f"{values['ms_per_frame']:.1f}", *_ratios(values, record))
        for record in records
        for case, values in record["cases"].items()
    ]
    head = ("VAE", "case", "ms a frame", "of full decode", "pixels in tiles", "work by count")
    print_table(head, rows)
    return records


def _ratios(values: dict[str, Any], record: dict[str, Any]) -> tuple[str, str, str]:
    if "pixels" not in values:
        return "", "", ""
    share = values["ms_per_frame"] / record["cases"]["decode"]["ms_per_frame"]
    return f"{share:.2f}", f"{values['pixels']:.0%}", f"{values['work']:.2f}"


def _mask(clip: Clip, max_disparity: float, count: int) -> OcclusionMask:
    """Return the holes of `count` frames from the clip's middle."""
    mask = clip.mask(max_disparity)
    start = (len(mask) - count) // 2
    return mask[start : start + count]


@torch.inference_mode()
def _measure(
    vae: VideoVAE,
    clip: Clip,
    holes: dict[tuple[float, int, str], OcclusionMask],
    device: torch.device,
    repeats: int,
) -> dict[str, Any]:
    height, width = clip.inverse_depth.shape[-2:]
    video = torch.rand(1, 3, vae.first_group + GROUP, height, width).to(device)
    first, group = video.split([vae.first_group, GROUP], 2)
    latent, cache = vae.encode_chunk(first)
    # Each is made anew, since the memories of all decoders together would be many gigabytes.
    cases: dict[str, Callable[[], Callable[[], object]]] = {
        "encode": lambda: partial(vae.encode_chunk, group, cache),
        "decode": partial(_decoder, vae, latent, None),
    }
    shares = {}
    for (percent, tile, span), mask in holes.items():
        name = f"decode, {percent:g} % disparity, tiles of {tile}, holes of {span}"
        regions = masked_regions(_padded(mask, latent), tile)
        pixels = sum((r.bottom - r.top) * (r.right - r.left) for r in regions)
        shares[name] = {
            "pixels": round(pixels / (latent[0, 0, 0].numel() * 64), 4),
            "work": round(_work(vae, latent, regions), 4),
        }
        cases[name] = partial(_decoder, vae, latent, regions)
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
        name: {
            "ms_per_frame": round(ms / GROUP, 3),
            "peak_mib": round(peaks[name]),
            **shares.get(name, {}),
        }
        for name, [ms] in zip(cases, times, strict=True)
    }
    return {"parameters": sum(p.numel() for p in vae.parameters()), "cases": figures}


def _work(vae: VideoVAE, latent: Tensor, regions: Sequence[Region]) -> float:
    """Return what `decode` compares with 1 to choose between the regions and the whole."""
    steps = vae.decoder_steps()
    growing = next(i for i, step in enumerate(steps) if step.up > 1)
    height, width = latent.shape[-2:]
    return relative_cost(steps[growing:], height, width, regions)


def _decoder(
    vae: VideoVAE, latent: Tensor, regions: Sequence[Region] | None
) -> Callable[[], object]:
    _, cache = vae.decode_chunk(latent, regions=regions)
    return partial(vae.decode_chunk, latent, cache, regions=regions)


def _padded(mask: OcclusionMask, latent: Tensor) -> Tensor:
    height, width = (n * 8 for n in latent.shape[-2:])
    return F.pad(mask, (0, width - mask.shape[-1], 0, height - mask.shape[-2]))
