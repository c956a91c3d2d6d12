"""The network of `mini`: convolutions, tokens around the holes, frames before."""

import json

import pytest
import torch

from dreamstereo_core.models.files.checkpoint_file import save_checkpoint
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.inpainter import (
    INPAINTING,
    InpaintingConfig,
    InpaintingNetwork,
    Memory,
    touched_tokens,
)
from dreamstereo_core.models.transformer import Transformer

from .fakes import TINY

SMALL = InpaintingConfig(dim=24, ffn_dim=48, num_heads=2, num_layers=2, memory=2)


def drawn(config=SMALL):
    torch.manual_seed(1)
    network = InpaintingNetwork(config)
    network.initialize_weights()
    for parameter in network.parameters():
        parameter.data += 0.03 * torch.randn_like(parameter)
    return network.requires_grad_(False).eval()


def clips(count=1, frames=7, height=70, width=101):
    """Clips with a hole that moves; one frame has none."""
    filled = torch.rand(count, frames, 3, height, width, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(count, frames, 1, height, width)
    for t in range(frames):
        mask[:, t, :, 10:30, 20 + 3 * t : 40 + 3 * t] = 1
    mask[:, 4] = 0
    return filled, mask


def streamed(network, filled, mask, **options):
    memory = Memory()
    frames = zip(filled[0].split(1), mask[0].split(1), strict=True)
    return torch.cat([network.step(*frame, memory, **options) for frame in frames])


def test_it_starts_by_adding_nothing():
    network = InpaintingNetwork(SMALL)
    network.initialize_weights()
    filled, mask = clips()
    assert torch.equal(network(filled, mask), filled)
    residual = network.unet.down[1][0]
    x = torch.rand(1, 64, 4, 5)
    assert torch.equal(residual(x), x)


@pytest.mark.parametrize("dilation", [1, 3, 5, None])
def test_frame_by_frame_it_is_the_clip_at_once(dilation):
    network = drawn()
    filled, mask = clips()
    at_once = network(filled, mask, dilation=dilation)[0]
    one_by_one = streamed(network, filled, mask, dilation=dilation)
    assert torch.allclose(at_once, one_by_one, atol=1e-5)
    assert torch.equal(one_by_one[4], filled[0, 4])


def test_only_holes_change():
    filled, mask = clips()
    result = drawn()(filled, mask)
    known = (mask == 0).expand_as(filled)
    assert torch.equal(result[known], filled[known])
    assert (result - filled)[~known].abs().mean() > 1e-3


def test_clips_of_a_batch_know_nothing_of_each_other():
    filled, mask = clips(2)
    mask[1] = mask[1].flip(-1)
    both = drawn()(filled, mask)
    for i in range(2):
        alone = drawn()(filled[i : i + 1], mask[i : i + 1])
        assert torch.allclose(both[i : i + 1], alone, atol=1e-5)


def changed_by(network, at, of, *, dilation=None):
    """By how much frame `of` changes when frame `at` does, where no convolution sees it."""
    filled, mask = clips(width=500)
    other = filled.clone()
    other[:, at, :, :, 400:] = 0
    results = (network(x, mask, dilation=dilation) for x in (filled, other))
    a, b = (x[:, of, :, 10:30, 20:50] for x in results)
    return float((a - b).abs().max())


def test_tokens_attend_to_the_frames_before_and_not_to_those_after():
    one_layer = drawn(InpaintingConfig(24, 48, 2, 1, 2))
    assert changed_by(one_layer, 1, 3) > 1e-6
    assert changed_by(one_layer, 0, 3) == 0  # beyond its memory
    assert changed_by(one_layer, 3, 2) == 0  # not yet seen


def test_tokens_that_take_no_part_are_not_seen():
    assert changed_by(drawn(), 2, 3) > 1e-6
    assert changed_by(drawn(), 2, 3, dilation=5) == 0


def test_kept_tokens_are_those_that_a_dilated_hole_touches():
    mask = torch.zeros(2, 1, 70, 101)
    mask[0, 0, 33, 50] = 1
    kept = touched_tokens(mask, 3)
    assert kept.shape == (2, 5, 7)
    expected = torch.zeros(2, 5, 7, dtype=torch.bool)
    expected[0, 1:4, 2:5] = True
    assert torch.equal(kept, expected)
    assert touched_tokens(mask, 1).nonzero().tolist() == [[0, 2, 3]]
    dense = touched_tokens(mask, None)
    assert dense[0].all() and not dense[1].any()
    for dilation in (0, 2):
        with pytest.raises(ValueError, match=f"dilation: expected an odd number.*{dilation}"):
            touched_tokens(mask, dilation)


def test_it_forgets_what_lies_too_far_back():
    network, memory = drawn(), Memory()
    filled, mask = clips(frames=9)
    for t in range(9):
        network.step(filled[0, t : t + 1], mask[0, t : t + 1], memory)
        assert len(memory.past) <= SMALL.memory + 1
    assert [number for number, _ in memory.past] == [6, 7, 8]


def test_all_of_it_learns():
    network = drawn().requires_grad_(True).train()
    network(*clips()).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_it_travels_in_a_file(tmp_path):
    path, network, given = tmp_path / "model.safetensors", drawn(), clips()
    save_network(network, path, INPAINTING)
    assert torch.allclose(load_network(path, INPAINTING)(*given), network(*given), atol=1e-5)
    save_network(network, path, INPAINTING, dtype=torch.float16)
    half = load_network(path, INPAINTING)
    assert half.config == SMALL
    assert half.unet.leave.weight.dtype == torch.float32
    assert torch.allclose(half(*given), network(*given), atol=2e-2)


def test_other_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_network(tmp_path / "nowhere.safetensors", INPAINTING)
    path = tmp_path / "model.safetensors"
    model = Transformer(TINY)
    model.initialize_weights()
    save_network(model, path, TRANSFORMER)
    with pytest.raises(ValueError, match=r"model.safetensors: expected a DreamStereo inpainter"):
        load_network(path, INPAINTING)
    network = drawn()
    for config, expected in (
        ({"dim": 24}, "tensors do not fit the model; missing: blocks.2"),
        ({"depth": 2}, "expected the config of a DreamStereo inpainter"),
        ({"dim": 24, "num_heads": 5}, "expected the config of a DreamStereo inpainter"),
        ({"num_layers": 0}, "expected the config of a DreamStereo inpainter"),
    ):
        save_checkpoint(path, network.state_dict(), kind="inpainter", config=json.dumps(config))
        with pytest.raises(ValueError, match=f"model.safetensors: {expected}"):
            load_network(path, INPAINTING)
