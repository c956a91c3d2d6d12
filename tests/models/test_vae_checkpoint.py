"""Files: real key names and shapes with random weights, strictness, and the wrong file named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dreamstereo_core import load_vae
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae import config as vae_config
from dreamstereo_core.models.vae.checkpoint import FILES, VAE, build_vae
from dreamstereo_core.models.vae.config import (
    LIGHTTAE,
    PRESETS,
    TAEW,
    WanVAEConfig,
    config_from_json,
    config_to_json,
)

from .fakes import TINY as TINY_TRANSFORMER

TINY = WanVAEConfig(widths=(4, 8, 12, 12))


def conv2d(name, out, inner, size=3, bias=True):
    return {f"{name}.weight": (out, inner, size, size)} | ({f"{name}.bias": (out,)} if bias else {})


def mem_block(name, width):
    return {
        **conv2d(f"{name}.conv.0", width, 2 * width),
        **conv2d(f"{name}.conv.2", width, width),
        **conv2d(f"{name}.conv.4", width, width),
    }


def taew_shapes():
    """The published keys of taew2_1, written down from madebyollin/taehv."""
    shapes = conv2d("encoder.0", 64, 3)
    for start, time in ((2, 2), (7, 2), (12, 1)):
        shapes |= conv2d(f"encoder.{start}.conv", 64, 64 * time, 1, bias=False)
        shapes |= conv2d(f"encoder.{start + 1}", 64, 64, bias=False)
        for i in range(2, 5):
            shapes |= mem_block(f"encoder.{start + i}", 64)
    shapes |= conv2d("encoder.17", 16, 64) | conv2d("decoder.1", 256, 16)
    for start, width, out, time in ((3, 256, 128, 1), (9, 128, 64, 2), (15, 64, 64, 2)):
        for i in range(3):
            shapes |= mem_block(f"decoder.{start + i}", width)
        shapes |= conv2d(f"decoder.{start + 4}.conv", width * time, width, 1, bias=False)
        shapes |= conv2d(f"decoder.{start + 5}", out, width, bias=False)
    return shapes | conv2d("decoder.22", 3, 64)


def conv3d(name, out, inner, kernel=(3, 3, 3)):
    return {f"{name}.weight": (out, inner, *kernel), f"{name}.bias": (out,)}


def residual(name, inner, out):
    shapes = {
        f"{name}.residual.0.gamma": (inner, 1, 1, 1),
        f"{name}.residual.3.gamma": (out, 1, 1, 1),
    }
    shapes |= conv3d(f"{name}.residual.2", out, inner) | conv3d(f"{name}.residual.6", out, out)
    return shapes | (conv3d(f"{name}.shortcut", out, inner, (1, 1, 1)) if inner != out else {})


def middle(name, c):
    shapes = residual(f"{name}.0", c, c) | residual(f"{name}.2", c, c)
    shapes |= {f"{name}.1.norm.gamma": (c, 1, 1)}
    return shapes | conv2d(f"{name}.1.to_qkv", 3 * c, c, 1) | conv2d(f"{name}.1.proj", c, c, 1)


def wan_shapes(base):
    """The published keys of Wan2.1_VAE.pth, with `base` channels at full size."""
    a, b, c = base, 2 * base, 4 * base
    shapes = conv3d("conv1", 32, 32, (1, 1, 1)) | conv3d("conv2", 16, 16, (1, 1, 1))
    shapes |= conv3d("encoder.conv1", a, 3) | middle("encoder.middle", c)
    shapes |= {"encoder.head.0.gamma": (c, 1, 1, 1)} | conv3d("encoder.head.2", 32, c)
    for i, inner, out in ((0, a, a), (1, a, a), (3, a, b), (4, b, b), (6, b, c), (7, c, c)):
        shapes |= residual(f"encoder.downsamples.{i}", inner, out)
    for i in (9, 10):
        shapes |= residual(f"encoder.downsamples.{i}", c, c)
    for i, width in ((2, a), (5, b), (8, c)):
        shapes |= conv2d(f"encoder.downsamples.{i}.resample.1", width, width)
    for i, width in ((5, b), (8, c)):
        shapes |= conv3d(f"encoder.downsamples.{i}.time_conv", width, width, (3, 1, 1))
    shapes |= conv3d("decoder.conv1", c, 16) | middle("decoder.middle", c)
    shapes |= {"decoder.head.0.gamma": (a, 1, 1, 1)} | conv3d("decoder.head.2", 3, a)
    scales = ((0, c, c), (4, b, c), (8, b, b), (12, a, a))
    for i, inner, out in scales:
        shapes |= residual(f"decoder.upsamples.{i}", inner, out)
        for j in (i + 1, i + 2):
            shapes |= residual(f"decoder.upsamples.{j}", out, out)
    for i, width in ((3, c), (7, c), (11, b)):
        shapes |= conv2d(f"decoder.upsamples.{i}.resample.1", width // 2, width)
    for i in (3, 7):
        shapes |= conv3d(f"decoder.upsamples.{i}.time_conv", 2 * c, c, (3, 1, 1))
    return shapes


def random_weights(shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(shape, generator=generator) * 0.05).to(dtype)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("name", "shapes", "config"),
    [
        ("taew2_1", taew_shapes(), TAEW),
        ("lighttaew2_1", taew_shapes(), LIGHTTAE),
        ("lightvaew2_1", wan_shapes(24), WanVAEConfig(widths=(24, 48, 96, 96))),
        ("some_wan", wan_shapes(4), WanVAEConfig(widths=(4, 8, 16, 16))),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_public_files(tmp_path, name, shapes, config, suffix):
    weights = random_weights(shapes, torch.bfloat16)
    path = tmp_path / f"{name}.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(weights, path)
    vae = load_vae(path, dtype=torch.bfloat16, device="cpu")
    assert vae.config == config
    loaded = vae.state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_full_size_wan_names():
    with torch.device("meta"):
        vae = build_vae("wan")
    assert {k: tuple(v.shape) for k, v in vae.state_dict().items()} == wan_shapes(96)


@pytest.mark.parametrize("config", [TINY, *PRESETS.values()])
def test_a_configuration_survives_json(config):
    assert config_from_json(config_to_json(config)) == config


def test_an_unknown_configuration_is_refused():
    for text in ("{}", "[]", "x", json.dumps({"kind": "wan", "wide": 1}), '{"kind": "other"}'):
        with pytest.raises(ValueError, match="expected a VAE configuration"):
            config_from_json(text)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_our_own_file(tmp_path, dtype):
    config = WanVAEConfig((4, 4, 6, 8), (1, 1, 1, 1), (1, 2, 1, 1), flat=True)
    vae = build_vae(config)
    save_network(vae, tmp_path / "vae.safetensors", VAE, dtype=dtype)
    loaded = load_vae(tmp_path / "vae.safetensors", device="cpu")
    assert loaded.config == config
    assert next(loaded.parameters()).dtype == torch.float32
    for name, weight in vae.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight.to(dtype).float())
    video = torch.rand(1, 3, 5, 16, 16)
    vae.to(dtype).float()
    torch.testing.assert_close(loaded.encode(video), vae.eval().encode(video))


def test_named_files_are_found_or_asked_for(tmp_path):
    for name in FILES:
        with pytest.raises(FileNotFoundError, match=rf"{FILES[name][0]} into .*{tmp_path}"):
            load_vae(name, folders=[tmp_path])
    save_network(build_vae(TINY), tmp_path / "wan_2.1_vae.safetensors", VAE)
    assert load_vae("wan", folders=[tmp_path], device="cpu").config == TINY
    with pytest.raises(FileNotFoundError, match="vae: expected wan, distilled or a file"):
        load_vae(tmp_path / "nothing.safetensors")


def test_strictness(tmp_path):
    weights = random_weights(wan_shapes(4))
    path = tmp_path / "vae.safetensors"

    def refused(changed, match):
        save_file(changed, path)
        with pytest.raises(ValueError, match=match):
            load_vae(path, device="cpu")

    fewer = {k: v for k, v in weights.items() if k != "decoder.head.2.bias"}
    refused(fewer, "fit the model; missing: decoder.head.2.bias$")
    refused(weights | {"extra": torch.zeros(1)}, "fit the model; unexpected: extra$")
    refused(
        weights | {"decoder.head.2.bias": torch.zeros(4)},
        r"of another shape: decoder.head.2.bias \[4\] instead of \[3\]",
    )
    refused(
        weights | {"conv1.bias": torch.full((32,), float("nan"))}, "conv1.bias: expected finite"
    )
    refused(
        weights | {"conv1.bias": torch.zeros(32, dtype=torch.int32)},
        "conv1.bias: expected floating point numbers, got torch.int32",
    )


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["blocks.0.self_attn.q.weight"], "a Wan transformer"),
        (["diffusion_model.blocks.0.self_attn.q.weight"], "a Wan transformer"),
        (["blocks.0.attn1.to_q.weight"], "a Wan transformer"),
        (["diffusion_model.blocks.0.self_attn.q.lora_A.weight"], "a LoRA"),
        (["decoder.upsamples.0.upsamples.0.residual.2.weight"], "a Wan 2.2 VAE"),
        (["shared.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"], "a text encoder"),
        (["decoder.mid.block_1.norm1.weight"], "a VAE of an image model"),
        (["vace_blocks.0.x", "blocks.0.self_attn.q.weight"], "a VACE model"),
        (["first_stage_model.encoder.x"], "a VAE in another model's file"),
        (["encoder.conv_in.conv.weight"], "a VAE of another model"),
        (["encoder.down_blocks.0.resnets.0.norm1.gamma"], "a Wan 2.2 VAE"),
        (["head.motion_modules.0.x", "pretrained.cls_token"], "a Video-Depth-Anything"),
        (["context"], "a context for a transformer"),
        (["model.weight"], r"an unknown model \(model.weight, \.\.\.\)"),
    ],
)
def test_the_wrong_file_is_named(tmp_path, keys, what):
    path = tmp_path / "file.safetensors"
    save_file({key: torch.zeros(1) for key in keys}, path)
    with pytest.raises(ValueError, match=f"expected a VAE for Wan 2.1; this is {what}"):
        load_vae(path)


def test_hunyuans_tiny_vae_has_the_same_keys(tmp_path):
    save_file(random_weights(taew_shapes(), torch.float16), tmp_path / "taehv.safetensors")
    with pytest.raises(ValueError, match="this is HunyuanVideo's"):
        load_vae(tmp_path / "taehv.safetensors")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_damaged_files(tmp_path, suffix):
    path = tmp_path / f"vae.{suffix}"
    weights = random_weights(wan_shapes(4))
    (save_file if suffix == "safetensors" else torch.save)(weights, path)
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"no tensors in here at all"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"vae\.{suffix}: expected a complete .* truncated"):
            load_vae(path)


def test_taew_latents_need_no_statistics_and_lighttaew_does(tmp_path):
    weights = random_weights(taew_shapes())
    for name in ("taew2_1", "lighttaew2_1"):
        save_file(weights, tmp_path / f"{name}.safetensors")
    taew, light = (
        load_vae(tmp_path / f"{name}.safetensors", device="cpu")
        for name in ("taew2_1", "lighttaew2_1")
    )
    video = torch.rand(1, 3, 5, 16, 16)
    mean, std = (
        torch.tensor(v).view(1, 16, 1, 1, 1) for v in (vae_config.WAN_MEAN, vae_config.WAN_STD)
    )
    torch.testing.assert_close(light.encode(video) * std + mean, taew.encode(video))


def test_a_file_of_ours_of_another_kind(tmp_path):
    save_network(Transformer(TINY_TRANSFORMER), tmp_path / "model.safetensors", TRANSFORMER)
    with pytest.raises(ValueError, match=r"Wan 2\.1; this is a DreamStereo transformer"):
        load_vae(tmp_path / "model.safetensors")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "vae.safetensors"
    vae = build_vae(TINY)
    save_network(vae, path, VAE)
    before = path.read_bytes()

    def full_disk(tensors, target, metadata):
        Path(target).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("dreamstereo_core.models.files.checkpoint_file.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_network(vae, path, VAE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
