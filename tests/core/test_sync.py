"""Where the host waits for a device within a frame: nowhere that is not listed here with its why.

The operations are traced on the CPU; a GPU's paths are chosen by hand. On a GPU
`torch.cuda.set_sync_debug_mode("error")` would say the same.
"""

import sys
import traceback
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dreamstereo_core import (
    blend,
    gapw,
    gapw_warp,
    inverse_depth_to_disparity,
    pack_stereo,
    select_tokens,
)
from dreamstereo_core.depth import upsample_inverse_depth
from dreamstereo_core.fill import coherence
from dreamstereo_core.masks import dilate
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import build_vae
from dreamstereo_core.packing import LAYOUTS

from ..models.fakes import SMALL_VAE, TINY

BLEND = sys.modules["dreamstereo_core.blend"]  # the package has a function of that name
WAITS = {
    ("checks.py", "check_finite"): "a depth or a latent that is NaN is an error, not a picture",
    ("sparse.py", "select_tokens"): "once a window of 81 frames: how many tokens there are",
}
"""Where the host reads a value, and why it may."""
READERS = ("nonzero", "_local_scalar_dense", "masked_select", "_unique2", "equal", "is_nonzero")


class Waits(TorchDispatchMode):
    """Collects the functions of the core in which the size or the value of a result is read."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().split("::")[1]
        waits = name.split(".")[0] in READERS
        waits |= name == "repeat_interleave.Tensor" and not (kwargs or {}).get("output_size")
        if name in ("index.Tensor", "index_put_", "index_put", "_index_put_impl_"):
            waits |= any(i is not None and i.dtype == torch.bool for i in args[1])
        if waits:
            frames = [f for f in traceback.extract_stack() if "dreamstereo_core" in f.filename]
            self.found.add((Path(frames[-1].filename).name, frames[-1].name))
        return func(*args, **(kwargs or {}))


def scene():
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(1, 3, 48, 80, generator=generator)
    depth = torch.zeros(1, 1, 12, 20)
    depth[..., 4:8, 6:12] = 1
    return video, depth


def as_on_a_gpu(monkeypatch):
    """Take the GPU's way where there are two; the kernel's own work is torch's, made before."""
    monkeypatch.setattr(BLEND, "reads_are_free", lambda tensor: False)
    results = iter([gapw_warp(*warp_input(), interpolation="cubic")])
    monkeypatch.setattr(gapw, "_kernel", lambda device: lambda *args, **options: next(results))


def warp_input():
    video, depth = scene()
    large = dilate(upsample_inverse_depth(depth, video), 1)
    return video, inverse_depth_to_disparity(large, max_disparity=6, convergence=0.3, max_front=2)


def waits(function):
    with Waits() as mode, torch.no_grad():
        function()
    return mode.found


def test_the_tracer_finds_what_waits():
    for wait in (
        lambda: blend(*[torch.ones(1, 3, 4, 4)] * 2, torch.ones(1, 1, 4, 4)),  # asks `any`
        lambda: gapw_warp(*warp_input()),  # torch's warp counts
    ):
        assert waits(wait)
    assert not waits(lambda: torch.ones(3) + 1)


def test_a_frame_waits_only_where_it_is_listed(monkeypatch):
    as_on_a_gpu(monkeypatch)
    video, _ = scene()
    for layout in LAYOUTS:  # what is computed once a film, on the host, is there before
        pack_stereo(video, video, layout)

    def frame():
        warp = gapw_warp(*warp_input(), interpolation="cubic")
        made = blend(torch.rand_like(warp.video), warp.video, warp.occlusion_mask)
        for layout in LAYOUTS:
            pack_stereo(warp.video, made, layout)

    assert waits(frame) == {("checks.py", "check_finite")}


def test_the_fill_waits_only_where_it_is_listed():
    model, vae = Transformer(TINY).eval(), build_vae(SMALL_VAE).eval()
    mask = torch.zeros(1, 1, 2, 8, 12)
    mask[..., 3:5, 4:6] = 1

    def window():
        tokens = select_tokens(mask)
        latent, _ = vae.encode_chunk(torch.rand(1, 3, 5, 64, 96))
        x = torch.cat([latent, torch.rand(1, 20, 2, 8, 12)], 1)
        vae.decode_chunk(model(x, model.prepare(torch.ones(1)), tokens))

    assert waits(window) == WAITS.keys()


def test_the_classic_march_waits_for_its_layers_alone(monkeypatch):
    """Not once for each of them."""
    monkeypatch.setattr(coherence, "layers_by_front", coherence.layers_by_pooling)
    video, _ = scene()
    hole = torch.zeros(48, 80, dtype=torch.bool)
    hole[8:40, 30:60] = True
    guide = torch.ones(1, 3, 24, 40)

    def march():
        coherence._march(video, hole, ~hole, video, guide)

    assert waits(march) == {("coherence.py", "layers_by_pooling")}


@pytest.mark.parametrize("hole", [0, 9])
def test_a_blend_that_does_not_ask_is_the_same(monkeypatch, hole):
    video, _ = scene()
    inpainted, mask = video.flip(-1), torch.zeros(1, 1, 48, 80)
    mask[..., 20 : 20 + hole] = 1
    cases = [(inpainted, video, mask), (video, video, mask)]
    expected = [blend(*case) for case in cases]
    monkeypatch.setattr(BLEND, "reads_are_free", lambda tensor: False)
    for case, picture in zip(cases, expected, strict=True):
        assert torch.equal(blend(*case), picture)
