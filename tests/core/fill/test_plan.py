"""What a fill needs of memory, said beforehand, against what the same fill takes."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from dreamstereo_core import DiffusionInpainter, MaskedFrame, StereoPipeline, load_depth
from dreamstereo_core.fill.plan import FRAME_BYTES, WINDOWS, Work, demand, find_fit, ways
from dreamstereo_core.models.memory import MemoryCount
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import build_vae
from dreamstereo_core.models.vae.config import WanVAEConfig
from dreamstereo_core.stream import Frame

from ...models.fakes import SMALL_VAE, TINY, clip

SIZE = (96, 128)
WIDE_VAE = WanVAEConfig((16, 16, 16, 16), (1,) * 4, (1,) * 4)
WIDE = replace(TINY, ffn_dim=4096)  # its windows need more than the autoencoder


@cache
def inpainter(transformer, vae):
    torch.manual_seed(0)
    vae = build_vae(vae).eval().requires_grad_(False)
    return DiffusionInpainter(Transformer(transformer).eval().requires_grad_(False), vae, overlap=2)


def taken(model, frames, limit=None, film=SIZE):
    """Fill frames that are full of holes; return the bytes at the worst moment."""
    video, mask = clip(frames, *film)
    mask[..., 16:112] = 1
    parts = [MaskedFrame(v[None], m[None]) for v, m in zip(video, mask, strict=True)]
    with MemoryCount(limit) as count:
        for _ in model.stream(parts):
            pass
    return count.peak


def own(plan):
    """Return the plan's peak without the weights, which were there before the count."""
    return plan.peak - plan.weights


@pytest.mark.parametrize(("window", "tile"), [(3, None), (3, 64)])
def test_the_plan_of_an_autoencoder_is_what_a_fill_takes(window, tile):
    plan = demand(Work(TINY, WIDE_VAE, SIZE, torch.float32, share=1.0), window, tile)
    real = taken(replace(inpainter(TINY, WIDE_VAE), window=window, tile=tile), 17)
    assert 0.85 * real < own(plan) < 1.2 * real


def test_the_plan_of_a_large_film_that_is_filled_small_is_what_that_takes():
    film, size = (768, 1024), (48, 64)
    plan = demand(Work(TINY, SMALL_VAE, size, torch.float32, share=1.0, film=film), 3, None)
    model = replace(inpainter(TINY, SMALL_VAE), window=3, fill_size=size)
    real = taken(model, 13, film=film)
    assert plan.decoder > plan.encoder
    assert 0.85 * real < own(plan) < 1.2 * real
    at_its_size = demand(Work(TINY, SMALL_VAE, film, torch.float32, share=1.0), 3, None)
    assert at_its_size.waiting == plan.waiting


@pytest.mark.parametrize("window", [4, 9])
def test_the_plan_of_a_window_is_what_a_fill_takes(window):
    plan = demand(Work(WIDE, SMALL_VAE, SIZE, torch.float32, share=1.0), window, None)
    real = taken(replace(inpainter(WIDE, SMALL_VAE), window=window), 4 * window + 1)
    assert plan.transformer > plan.encoder
    assert 0.85 * real < own(plan) < 1.2 * real


def test_a_fill_keeps_to_a_limit_where_the_whole_window_would_not():
    model = inpainter(WIDE, SMALL_VAE)
    work = Work(WIDE, SMALL_VAE, SIZE, torch.float32, share=1.0)
    memory = demand(work, 11, None).peak
    fitted = replace(model, memory=memory)
    window, tile = fitted.fitted(SIZE)
    assert window == 15 and tile is None  # since half of the tokens are planned for
    limit = demand(work, 15, None).peak
    assert taken(fitted, 81, limit) <= limit
    with pytest.raises(MemoryError, match=r"window of 21 latent frames; one of \d+ fits"):
        taken(model, 81, limit)


def test_what_no_window_fits_into_is_said_before_anything_is_made():
    model = replace(inpainter(TINY, SMALL_VAE), memory=1000)
    with pytest.raises(MemoryError, match=r"memory: expected at least .* MiB for frames of 128x96"):
        taken(model, 5)


def test_less_memory_means_smaller_tiles_then_8_bits_then_shorter_windows():
    work = Work(replace(WIDE, num_layers=4), WIDE_VAE, SIZE, torch.bfloat16)
    order = list(ways(work, tiles=(None, 64)))
    assert [(w.window, w.fp8, w.tile) for w in order[:4]] == [
        (21, False, None),
        (21, False, 64),
        (21, True, None),
        (21, True, 64),
    ]
    assert find_fit(work, 10**12) == demand(work, WINDOWS[0], None)
    assert find_fit(work, 1000) is None
    first = order[0].peak
    fit = find_fit(work, first - 1, order)
    assert fit is not None and fit.peak < first


def test_8_bits_halve_the_weights_of_linear_layers():
    work = Work(WIDE, SMALL_VAE, SIZE, torch.bfloat16)
    whole, small = (demand(work, 6, None, fp8=fp8).weights for fp8 in (False, True))
    linear = sum(
        p.numel()
        for name, p in Transformer(WIDE).named_parameters()
        if p.ndim == 2 and not name.startswith(("time_", "patch_"))
    )
    assert 0.9 * linear < whole - small < linear


def test_a_waiting_frame_is_as_large_as_it_is_said_to_be():
    pipeline = StereoPipeline(load_depth("cues"), inpainter(TINY, SMALL_VAE))
    frame = Frame(torch.rand(3, 40, 60), inverse_depth=torch.rand(1, 1, 40, 60))
    warped = pipeline._warp(frame, None)
    held = (warped.frame.pixels, warped.frame.inverse_depth, warped.masked.video)
    held += (warped.masked.occlusion_mask, warped.masked.disparity)
    assert sum(x.numel() * 4 for x in held) == FRAME_BYTES * 40 * 60
