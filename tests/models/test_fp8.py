"""Weights in 8 bits against the same ones in 16."""

import copy

import pytest
import torch
from torch import nn

from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.fp8 import E4M3, FP8, Fp8Linear
from dreamstereo_core.models.lora import _merge
from dreamstereo_core.models.transformer import Transformer

from .fakes import TINY


def error(x, reference):
    return float((x.double() - reference.double()).norm() / reference.double().norm())


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return one file's transformer in bfloat16, and with its linear layers in 8 bits."""
    torch.manual_seed(0)
    model = Transformer(TINY)
    model.initialize_weights()
    nn.init.normal_(model.head.head.weight, std=0.1)
    path = tmp_path_factory.mktemp("fp8") / "model.safetensors"
    save_network(model, path, TRANSFORMER, dtype=torch.bfloat16)
    options = {"dtype": torch.bfloat16}
    return tuple(
        load_network(path, TRANSFORMER, operations=operations, **options)
        for operations in (nn, FP8)
    )


def velocity(model):
    latent = torch.randn(1, 36, 2, 4, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(latent.bfloat16(), model.prepare(torch.ones(1)))


def test_a_loaded_transformer_computes_the_same_within_the_rounding(pair):
    whole, small = pair
    assert 0 < error(velocity(small), velocity(whole)) < 0.05


def test_what_a_file_keeps_in_32_bits_stays_so(pair):
    _, small = pair
    assert small.blocks[0].ffn[0].weight.dtype == E4M3
    assert small.time_embedding[0].weight.dtype == torch.float32
    assert small.patch_embedding.weight.dtype == torch.bfloat16
    assert small.dtype == torch.bfloat16


def test_each_row_has_its_own_factor():
    """A common one would round small rows to nothing."""
    torch.manual_seed(0)
    layer = Fp8Linear(64, 32).bfloat16()
    layer.weight.data.mul_(torch.logspace(0, -5, 32)[:, None])
    exact = layer.weight.detach().float()
    layer.compress()
    kept = layer.weight.float() * layer.factor[:, None]
    assert ((kept - exact).norm(dim=1) / exact.norm(dim=1)).max() < 0.04


def test_every_number_of_a_row_keeps_its_leading_bits():
    layer = Fp8Linear(16, 1, bias=False).bfloat16()
    layer.weight.data = torch.linspace(0.5, 448, 16)[None].bfloat16()
    exact = layer.weight.float().clone()
    layer.compress()
    kept = layer.weight.float() * layer.factor[:, None]
    assert ((kept - exact).abs() <= exact / 16 + 1e-6).all()  # 3 bits behind the leading one


def test_a_lora_is_merged_into_8_bits(pair):
    class Add:
        @staticmethod
        def apply(weight, strength):
            return weight + strength * torch.eye(48, dtype=weight.dtype)

    whole, small = map(copy.deepcopy, pair)
    before = velocity(whole)
    for model in (whole, small):
        _merge(model, "blocks.0.self_attn.v.weight", Add, 5.0)
    assert small.blocks[0].self_attn.v.weight.dtype == E4M3
    assert error(velocity(small), velocity(whole)) < 0.05 < error(before, velocity(whole))


def test_a_zero_row_stays_zero():
    layer = Fp8Linear(4, 2, bias=False).bfloat16()
    layer.weight.data.zero_()
    layer.compress()
    assert torch.equal(layer(torch.ones(1, 4)), torch.zeros(1, 2))
