"""The GPU's warp, run by Triton's interpreter, against the one of torch."""

import importlib

import pytest
import torch

from dreamstereo_core import build_pair, gapw, gapw_warp
from dreamstereo_core.gapw import warp_disparity

pytest.importorskip("triton", reason="Triton is not made for this platform")
NAMES = ("video", "disparity", "occlusion_mask", "coord_map", "stretch")


@pytest.fixture(scope="module", autouse=True)
def kernel():
    """Interpret, and let tensors of the CPU take the GPU's way; yield the kernel's function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        module = importlib.reload(importlib.import_module("dreamstereo_core.gapw_triton"))
        patch.setattr(module, "_BLOCK", 32)  # several programs a row
        yield module.warp
    importlib.reload(module)


def scene(width=40, height=2, frames=1, seed=0, size=5.0):
    """Steps, slopes and thin things, off the pixels' grid."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(shape, generator=generator)  # noqa: E731
    steps = (draw(frames, 1, height, width) < 0.15) * (draw(frames, 1, height, width) - 0.5)
    slope = (draw(frames, 1, height, 1) - 0.5) * torch.arange(width) * 0.3
    return draw(frames, 3, height, width), steps.cumsum(-1) * 2 * size + slope - size / 4


def both(kernel, monkeypatch, *args, **options):
    expected = gapw_warp(*args, **options)
    monkeypatch.setattr(gapw, "_kernel", lambda device: kernel)
    return gapw_warp(*args, **options), expected


def assert_same(got, expected):
    for name in NAMES:
        a, b = getattr(got, name), getattr(expected, name)
        assert a.dtype == torch.float32 and a.shape == b.shape
        assert torch.allclose(a, b, atol=2e-5), name


@pytest.mark.parametrize("toward", ["right", "left"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("seed", range(2))
def test_equals_the_torch_function(kernel, monkeypatch, toward, interpolation, seed):
    threshold = (1.5, 3.0)[seed]
    options = {"toward": toward, "interpolation": interpolation, "stretch_threshold": threshold}
    got, expected = both(kernel, monkeypatch, *scene(seed=seed), **options)
    assert_same(got, expected)
    partial = (expected.occlusion_mask > 0) & (expected.occlusion_mask < 1)
    assert partial.any() and (expected.occlusion_mask == 1).any()  # the scene has both


def test_equals_it_for_half_precision_and_several_frames(kernel, monkeypatch):
    video, disparity = scene(seed=5, height=1, frames=2)
    assert_same(*both(kernel, monkeypatch, video.half(), disparity.half()))


@pytest.mark.parametrize("shift", [-60.0, 3.25, 60.0])
def test_equals_it_where_the_sheet_leaves_the_frame(kernel, monkeypatch, shift):
    video, _ = scene(width=40, height=1)
    got, expected = both(kernel, monkeypatch, video, torch.full((1, 1, 1, 40), shift))
    assert_same(got, expected)


def test_equals_it_for_planes_of_whole_pixels_to_the_bit(kernel, monkeypatch):
    video, disparity = scene(seed=3, height=1)
    disparity = disparity.round()
    got, expected = both(kernel, monkeypatch, video, disparity)
    for name in ("disparity", "occlusion_mask", "coord_map", "stretch"):
        assert torch.equal(getattr(got, name), getattr(expected, name)), name


def test_equals_it_without_colours(kernel, monkeypatch):
    _, disparity = scene(seed=7, height=1)
    expected = warp_disparity(disparity, toward="left")
    monkeypatch.setattr(gapw, "_kernel", lambda device: kernel)
    for a, b in zip(warp_disparity(disparity, toward="left"), expected, strict=True):
        assert torch.allclose(a, b, atol=2e-5)


def test_training_pairs_come_of_the_kernel_too(kernel, monkeypatch):
    video, disparity = scene(seed=4, height=1)
    expected = build_pair(video, disparity)
    monkeypatch.setattr(gapw, "_kernel", lambda device: kernel)
    pair = build_pair(video, disparity)
    assert expected.occlusion_mask.any() and torch.equal(pair.target, expected.target)
    for name in ("masked", "occlusion_mask", "disparity", "left", "sheet"):
        assert torch.allclose(getattr(pair, name), getattr(expected, name), atol=1e-4), name


def test_only_a_gpu_with_triton_takes_the_kernel(monkeypatch):
    choose = gapw._kernel.__wrapped__
    assert choose("cpu") is None and choose("mps") is None
    assert choose("cuda") is not None
    monkeypatch.setattr(gapw, "find_spec", lambda name: None)
    assert choose("cuda") is None
