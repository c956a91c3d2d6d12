"""Our DINOv2 against transformers' on the same random weights and pictures."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model

from dreamstereo_core.models.depth import dinov2
from dreamstereo_core.models.depth.dinov2 import DinoV2

DIM, GRID, LAYERS = 48, 4, (2, 5, 8, 11)
TOLERANCE = 1e-5

NAMES = (  # ours, theirs; in this order
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("mask_token", "embeddings.mask_token"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("blocks.", "encoder.layer."),
    ("attn.proj", "attention.output.dense"),
    ("ls1.gamma", "layer_scale1.lambda1"),
    ("ls2.gamma", "layer_scale2.lambda1"),
)


def their_state(state):
    renamed = {}
    for name, weight in state.items():
        if ".attn.qkv." in name:
            front, kind = name.replace("blocks.", "encoder.layer.").split("attn.qkv.")
            for part, third in zip(("query", "key", "value"), weight.chunk(3), strict=True):
                renamed[f"{front}attention.attention.{part}.{kind}"] = third
            continue
        for ours, theirs in NAMES:
            name = name.replace(ours, theirs)
        renamed["layernorm" + name[4:] if name.startswith("norm.") else name] = weight
    return renamed


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    ours = DinoV2(DIM, 12, 3, GRID).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in ours.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        fan = parameter[0].numel() if parameter.ndim > 1 else 1
        parameter.data = noise / fan**0.5 + (parameter.ndim == 1)
    config = Dinov2Config(
        hidden_size=DIM, num_hidden_layers=12, num_attention_heads=3, image_size=14 * GRID
    )
    # The library's modules are named otherwise in each of its versions; the files' names stay.
    folder = tmp_path_factory.mktemp("dinov2")
    config.save_pretrained(folder)
    state = {name: x.contiguous() for name, x in their_state(ours.state_dict()).items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    theirs, report = Dinov2Model.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return ours, theirs.eval()


@torch.no_grad()
def relative_error(models, height, width):
    ours, theirs = models
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(2, 3, height, width, generator=generator)
    hidden = theirs(pixels, output_hidden_states=True).hidden_states
    expected = torch.stack([theirs.layernorm(hidden[i + 1])[:, 1:] for i in LAYERS], dim=1)
    result = ours(pixels, LAYERS)
    assert result.shape == (2, 4, height // 14 * (width // 14), DIM)
    return float((result - expected).abs().max() / expected.abs().max())


def test_tokens_of_four_layers_are_the_same(models):
    assert relative_error(models, 14 * GRID, 14 * GRID) < TOLERANCE


@pytest.mark.parametrize("size", [(42, 98), (98, 42), (84, 84), (14, 28)])
def test_other_sizes_differ_by_the_published_tenth_of_a_token_alone(models, size, monkeypatch):
    assert relative_error(models, *size) > 10 * TOLERANCE
    # transformers leaves that tenth out; with a hair instead of it, for the same rounding of sizes,
    # nothing else differs.
    monkeypatch.setattr(dinov2, "_BEYOND", 1e-7)
    assert relative_error(models, *size) < TOLERANCE
