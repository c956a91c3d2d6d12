import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.files.checkpoint_file import CheckpointError, open_checkpoint
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.names import to_diffusers
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.transformer import Transformer, widen_for_inpainting

from .fakes import TINY

SIZES = {"dim": 128, "ffn_dim": 160, "num_heads": 1, "num_layers": 2, "text_dim": 24}
CONFIGS = {
    "t2v": TransformerConfig(in_dim=16, **SIZES),
    "fun-inp": TransformerConfig(in_dim=36, image_dim=40, **SIZES),
    "dreamstereo": TransformerConfig(in_dim=36, learned_context=True, text_len=8, **SIZES),
}
NARROW = {
    torch.float16: torch.float16,
    torch.bfloat16: torch.bfloat16,
    torch.float8_e4m3fn: torch.bfloat16,
}


def make(config=CONFIGS["t2v"]):
    torch.manual_seed(0)
    model = Transformer(config).requires_grad_(False).eval()
    if config.learned_context:
        model.context.normal_()
    return model


def write(path, state, metadata=None):
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata)
    return path


def same(loaded, model):
    state = model.state_dict()
    assert loaded.config == model.config
    assert loaded.state_dict().keys() == state.keys()
    return all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", "model.diffusion_model."])
@pytest.mark.parametrize("name", CONFIGS)
def test_original_names_behind_any_prefix(tmp_path, name, prefix):
    model = make(CONFIGS[name])
    state = {prefix + key: value for key, value in model.state_dict().items()}
    loaded = load_network(write(tmp_path / "wan.safetensors", state), TRANSFORMER)
    assert same(loaded, model)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_diffusers_names(tmp_path, name):
    model = make(CONFIGS[name])
    state = {to_diffusers(key): value for key, value in model.state_dict().items()}
    assert same(load_network(write(tmp_path / "wan.safetensors", state), TRANSFORMER), model)


def shards(folder, state):
    names = sorted(state)
    places = {name: f"wan-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(names)}
    for place in set(places.values()):
        write(folder / place, {name: state[name] for name in names if places[name] == place})
    index = folder / "wan.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def test_shards_by_their_index_or_their_folder(tmp_path):
    model = make()
    folder = tmp_path / "transformer"
    folder.mkdir()
    index = shards(folder, {to_diffusers(k): v for k, v in model.state_dict().items()})
    assert same(load_network(index, TRANSFORMER), model)
    assert same(load_network(folder, TRANSFORMER), model)
    assert same(load_network(tmp_path, TRANSFORMER), model)  # the root of a diffusers pipeline


def test_broken_shards_are_named(tmp_path):
    index = shards(tmp_path, make().state_dict())
    one, two = (tmp_path / f"wan-0000{i}-of-00002.safetensors" for i in (1, 2))
    with pytest.raises(CheckpointError, match=r"one shard of several; expected wan\.safetensors"):
        load_network(one, TRANSFORMER)
    write(two, {"other": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"expected \S+ in wan-00002\S+, where it is not"):
        load_network(index, TRANSFORMER)
    two.unlink()
    with pytest.raises(CheckpointError, match=r"no wan-00002-of-00002\.safetensors"):
        load_network(index, TRANSFORMER)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match="an index with a weight_map"):
        load_network(index, TRANSFORMER)


def test_pytorch_files_of_tensors(tmp_path):
    model = make()
    for name, content in {
        "a.pth": model.state_dict(),
        "b.pt": {"state_dict": model.state_dict()},
    }.items():
        torch.save(content, tmp_path / name)
        assert same(load_network(tmp_path / name, TRANSFORMER), model)
    torch.save(model.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(load_network(tmp_path / "old.pth", TRANSFORMER), model)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_pickle_with_code_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Payload()}, "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth: .*holds code"):
        load_network("bad.pth", TRANSFORMER)
    assert not (tmp_path / "executed").exists()
    torch.save({"a": 1}, "bad.pth")
    with pytest.raises(CheckpointError, match="expected a dictionary of tensors"):
        load_network("bad.pth", TRANSFORMER)


@pytest.mark.parametrize("stored", NARROW)
def test_narrow_files_keep_their_dtype(tmp_path, stored):
    model = make()
    state = {name: value.to(stored) for name, value in model.state_dict().items()}
    loaded = load_network(write(tmp_path / "wan.safetensors", state), TRANSFORMER)
    assert loaded.dtype == NARROW[stored]
    wanted = {name: value.float() for name, value in state.items()}
    for name, value in loaded.state_dict().items():
        full = name.startswith("time_") or name.endswith("modulation")
        assert value.dtype == (torch.float32 if full else NARROW[stored]), name
        assert torch.equal(value.float(), wanted[name]), name
    assert (
        load_network(tmp_path / "wan.safetensors", TRANSFORMER, dtype=torch.float32).dtype
        == torch.float32
    )


@pytest.mark.parametrize("suffix", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("rows", [False, True])
def test_scaled_fp8(tmp_path, suffix, rows):
    model = make()
    state = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}
    for name, value in model.state_dict().items():
        if name.startswith("blocks") and value.ndim == 2 and name.endswith(".weight"):
            top = value.abs().amax(dim=1 if rows else (0, 1)) / 448
            state[name] = (value / (top[:, None] if rows else top)).to(torch.float8_e4m3fn)
            state[name.removesuffix("weight") + suffix] = top
            state[name.removesuffix("weight") + "scale_input"] = torch.ones(())
        else:
            state[name] = value.half()
    path = write(
        tmp_path / "wan.safetensors", {"diffusion_model." + k: v for k, v in state.items()}
    )
    loaded = load_network(path, TRANSFORMER)
    assert loaded.dtype == torch.bfloat16
    for name, value in model.state_dict().items():
        error = (loaded.state_dict()[name].float() - value).abs().max()
        assert error <= 0.04 * value.abs().max(), name  # 3 bits of mantissa are a 16th, halved


def test_names_of_other_models_in_a_whole_checkpoint_are_left_out(tmp_path):
    model = make()
    state = {"model.diffusion_model." + k: v for k, v in model.state_dict().items()}
    state["first_stage_model.encoder.conv1.weight"] = torch.zeros(3)
    assert same(load_network(write(tmp_path / "all.safetensors", state), TRANSFORMER), model)


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_our_own_files_carry_their_config(tmp_path, dtype):
    model = make(TINY)  # whose heads are not as wide as Wan's
    path = tmp_path / "tiny.safetensors"
    save_network(model, path, TRANSFORMER, dtype=dtype, metadata={"note": "of a test"})
    with safe_open(path, "pt") as file:
        assert file.metadata()["note"] == "of a test"
    loaded = load_network(path, TRANSFORMER)
    assert loaded.config == TINY
    assert loaded.dtype == (dtype or torch.float32)
    assert same(load_network(path, TRANSFORMER, dtype=torch.float32), model) == (dtype is None)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        save_network(make(TINY), path, TRANSFORMER, metadata={"note": 1})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_can_change_without_the_file(tmp_path):
    path = write(tmp_path / "wan.safetensors", make().state_dict())
    model = load_network(path, TRANSFORMER)
    model.patch_embedding.weight.add_(1)
    assert same(load_network(path, TRANSFORMER), make())


def test_a_config_can_be_given(tmp_path):
    model = make(TransformerConfig(in_dim=16, **(SIZES | {"num_heads": 4})))
    path = write(tmp_path / "wan.safetensors", model.state_dict())
    assert load_network(path, TRANSFORMER).config.num_heads == 1
    assert same(load_network(path, TRANSFORMER, config=model.config), model)


def test_missing_unexpected_and_misshapen_tensors_are_named(tmp_path):
    state = make().state_dict()
    del state["blocks.1.norm3.weight"]
    state["blocks.0.extra.weight"] = torch.zeros(1)
    state["blocks.0.ffn.2.bias"] = torch.zeros(3)
    path = write(tmp_path / "wan.safetensors", state)
    with pytest.raises(CheckpointError) as caught:
        load_network(path, TRANSFORMER)
    assert str(caught.value) == (
        f"{path}: tensors do not fit the model; missing: blocks.1.norm3.weight; unexpected: "
        "blocks.0.extra.weight; of another shape: blocks.0.ffn.2.bias [3] instead of [128]"
    )


def test_a_long_list_is_cut(tmp_path):
    state = {k: v for k, v in make().state_dict().items() if not k.startswith("blocks.0.self")}
    with pytest.raises(CheckpointError, match=r"blocks\.0\.self_attn\.q\.weight.* and 4 more"):
        load_network(write(tmp_path / "wan.safetensors", state), TRANSFORMER)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_are_named(tmp_path, value, dtype):
    state = {name: tensor.to(dtype) for name, tensor in make().state_dict().items()}
    state["blocks.1.ffn.0.weight"][3, 4] = value
    with pytest.raises(CheckpointError, match=r"blocks\.1\.ffn\.0\.weight: expected finite"):
        load_network(write(tmp_path / "wan.safetensors", state), TRANSFORMER)


@pytest.mark.parametrize("cut", [0, 5, 200, -40])
def test_a_truncated_file_is_named(tmp_path, cut):
    for path in (tmp_path / "wan.safetensors", tmp_path / "wan.pth"):
        torch.save(make().state_dict(), path)
        if path.suffix == ".safetensors":
            write(path, make().state_dict())
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(CheckpointError, match=rf"{path.name}: .* truncated"):
            load_network(path, TRANSFORMER)


def test_missing_files_and_other_formats_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file"):
        load_network(tmp_path / "none.safetensors", TRANSFORMER)
    with pytest.raises(CheckpointError, match=r"expected a folder with a \.safetensors file"):
        load_network(tmp_path, TRANSFORMER)
    (tmp_path / "wan.gguf").write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match=r"wan\.gguf: expected a \.safetensors"):
        load_network(tmp_path / "wan.gguf", TRANSFORMER)
    for name in ("a.safetensors", "b.safetensors"):
        write(tmp_path / name, {})
    with pytest.raises(CheckpointError, match=r"one checkpoint, got a\.safetensors, b\.saf"):
        load_network(tmp_path, TRANSFORMER)


WRONG = [
    ("a LoRA", ["diffusion_model.blocks.0.self_attn.q.lora_A.weight"]),
    ("a LoRA", ["lora_unet_blocks_0_self_attn_q.lora_down.weight"]),
    ("a LoRA", ["diffusion_model.patch_embedding.diff", "diffusion_model.head.modulation.diff"]),
    ("a VAE", ["encoder.conv1.weight", "decoder.upsamples.0.residual.0.gamma", "conv1.weight"]),
    ("a VAE", ["encoder.conv_in.weight", "decoder.mid_block.resnets.0.norm1.gamma"]),
    ("a tiny VAE", ["encoder.0.weight", "decoder.1.weight"]),
    ("a text encoder", ["encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"]),
    ("a CLIP vision model", ["vision_model.embeddings.class_embedding"]),
    ("a depth model", ["backbone.embeddings.cls_token", "head.conv1.weight"]),
    ("another diffusion model", ["model.diffusion_model.double_blocks.0.img_attn.proj.weight"]),
    (r"an unknown model \(a, b, c, \.\.\.\)", ["a", "b", "c", "d"]),
    ("an empty file", []),
]


@pytest.mark.parametrize("what, names", WRONG)
def test_a_wrong_file_is_named_for_what_it_is(tmp_path, what, names):
    path = write(tmp_path / "file.safetensors", {name: torch.zeros(1) for name in names})
    with pytest.raises(CheckpointError, match=rf"a Wan transformer of 1\.3B .*; this is {what}"):
        load_network(path, TRANSFORMER)


def meta_file(tmp_path, **changes):
    """A file with the names of a Wan transformer, and one changed tensor or more."""
    state = make().state_dict() | changes
    return write(tmp_path / "wan.safetensors", state)


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"patch_embedding.weight": torch.zeros(5120, 16, 1, 2, 2)}, "a 14B model"),
        ({"patch_embedding.weight": torch.zeros(3072, 48, 1, 2, 2)}, r"a 5B model \(Wan 2.2\)"),
        ({"patch_embedding.weight": torch.zeros(128, 48, 1, 2, 2)}, "a model of 48 input channels"),
        ({"vace_blocks.0.after_proj.bias": torch.zeros(1)}, "a VACE model"),
        ({"ref_conv.weight": torch.zeros(1)}, "a Fun-Control model"),
        ({"control_adapter.conv.weight": torch.zeros(1)}, "a camera-control model"),
    ],
)
def test_another_wan_transformer_is_named(tmp_path, changes, what):
    with pytest.raises(
        CheckpointError, match=rf"expected a Wan transformer of 1\.3B .*; this is {what}"
    ):
        load_network(meta_file(tmp_path, **changes), TRANSFORMER)


def test_odd_sizes_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no multiple of Wan's head width"):
        load_network(
            meta_file(tmp_path, **{"patch_embedding.weight": torch.zeros(100, 16)}), TRANSFORMER
        )
    with pytest.raises(CheckpointError, match="expected the sizes of a Wan transformer"):
        load_network(meta_file(tmp_path, **{"patch_embedding.weight": torch.zeros(1)}), TRANSFORMER)
    state = make().state_dict()
    del state["time_embedding.0.weight"]
    path = write(tmp_path / "wan.safetensors", state)
    with pytest.raises(CheckpointError, match=r"with 'time_embedding\.0\.weight'"):
        load_network(path, TRANSFORMER)


def test_a_dreamstereo_file_of_another_kind_is_named(tmp_path):
    path = tmp_path / "vae.safetensors"
    save_network(make(TINY), path, TRANSFORMER)
    write(path, load_file(path), {"dreamstereo_model": "VAE", "dreamstereo_config": "{}"})
    with pytest.raises(CheckpointError, match="this is a DreamStereo VAE"):
        load_network(path, TRANSFORMER)
    write(path, load_file(path), {"dreamstereo_model": "transformer", "dreamstereo_config": "{}"})
    with pytest.raises(CheckpointError, match=r"in_dim: expected in a TransformerConfig, it is"):
        load_network(path, TRANSFORMER)


def test_only_what_is_asked_for_is_read(tmp_path):
    file = open_checkpoint(write(tmp_path / "wan.safetensors", make().state_dict()))
    assert file.shapes["patch_embedding.weight"] == (128, 16, 1, 2, 2)
    assert file.kind is None and file.config is None
    assert torch.equal(file.read("head.modulation"), make().head.modulation)


def test_a_widened_base_predicts_what_the_base_does():
    base = make()
    wide = widen_for_inpainting(base)
    assert wide.config.is_inpainting and wide.config.learned_context
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn((1, 36, 2, 4, 6), generator=generator)
    timestep = torch.tensor([0.8])
    text = torch.zeros(1, 512, 24)
    expected = base(latent[:, :16], base.prepare(timestep, text))
    assert torch.allclose(wide(latent, wide.prepare(timestep)), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"16 input channels \(a T2V model\), got 36"):
        widen_for_inpainting(wide)
