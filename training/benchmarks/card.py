"""What a card is to be measured at: the warp's kernel, and memory beside what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from dreamstereo_core import DiffusionInpainter, MaskedFrame, gapw, gapw_warp
from dreamstereo_core.fill.plan import Work, demand
from dreamstereo_core.models.memory import MemoryCount
from dreamstereo_core.models.vae.checkpoint import build_vae
from dreamstereo_core.models.vae.config import PRESETS
from dreamstereo_core.types import WarpResult

from .machine import medians, peak_mib, print_table, reset_peak, timed
from .transformer import Plan, random_transformer
from .warp import warp_scene

MIB = 2**20


def warp_report(
    device: torch.device, sizes: Sequence[tuple[int, int]], repeats: int
) -> list[dict[str, Any]]:
    """Measure the warp as a conversion calls it, by the kernel if there is one and by torch.

    Args:
        device: to measure on.
        sizes: width and height of each picture.
        repeats: rounds of which the median counts.
    """
    records = []
    for width, height in sizes:
        scene = tuple(x.to(device) for x in warp_scene(width, height))
        calls = (partial(_warp, *scene), partial(_by_torch, *scene))
        kernel, plain = (
            times[0]
            for times in medians([timed(c, device) for c in calls], repeats=repeats, warm_up=2)
        )
        ours, theirs = calls[0](), calls[1]()
        records.append(
            {
                "size": f"{width}x{height}",
                "kernel": gapw._kernel(device.type) is not None,
                "ms": round(kernel, 4),
                "ms_by_torch": round(plain, 4),
                "most_different_colour": _difference(ours.video, theirs.video),
                "most_different_mask": _difference(ours.occlusion_mask, theirs.occlusion_mask),
            }
        )
    print_table(tuple(records[0]), [tuple(record.values()) for record in records])
    return records


def _warp(video: Tensor, disparity: Tensor) -> WarpResult:
    return gapw_warp(video, disparity, stretch_threshold=3.0, interpolation="cubic")


def _by_torch(video: Tensor, disparity: Tensor) -> WarpResult:
    with patch.object(gapw, "_kernel", lambda device: None):
        return _warp(video, disparity)


def _difference(x: Tensor, y: Tensor) -> float:
    return round(float((x - y).abs().max()), 6)


@torch.inference_mode()
def memory_report(plan: Plan, vaes: Sequence[str], tiles: Sequence[int]) -> list[dict[str, Any]]:
    """Fill one window of frames that are full of holes; compare its peak with the planned one."""
    window = 1 + (plan.frames - 1) // 4
    records = []
    for name in vaes:
        for tile in (None, *tiles):
            torch.manual_seed(0)
            model = random_transformer(plan)
            vae = build_vae(name).to(plan.device, plan.dtype).eval().requires_grad_(False)
            work = Work(plan.config, PRESETS[name], plan.size, plan.dtype, share=1.0)
            planned = demand(work, window, tile)
            inpainter = DiffusionInpainter(model, vae, window=window, overlap=0, tile=tile)
            inpainter.device = plan.device
            weights = planned.weights / MIB
            records.append(
                {
                    "vae": name,
                    "tile": tile,
                    "window": window,
                    "planned_mib": round(planned.peak / MIB),
                    "measured_mib": round(_measured(inpainter, plan, weights)),
                }
            )
            del inpainter, model, vae
    print_table(tuple(records[0]), [tuple(record.values()) for record in records])
    return records


def _measured(inpainter: DiffusionInpainter, plan: Plan, weights: float) -> float:
    """Return the peak in MiB: the allocator's on a card, else the tensors' and the weights'."""
    hole = torch.ones(1, 1, *plan.size)
    frames = [MaskedFrame(torch.rand(1, 3, *plan.size), hole) for _ in range(plan.frames + 8)]
    reset_peak(plan.device)
    with MemoryCount() as count:
        for _ in inpainter.stream_decoded(frames):
            pass
    on_card = plan.device.type == "cuda"
    return peak_mib(plan.device) if on_card else count.peak / MIB + weights
