import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.files.checkpoint_file import CheckpointError
from dreamstereo_core.models.files.names import to_diffusers
from dreamstereo_core.models.lora import load_lora, merge_loras
from dreamstereo_core.models.transformer import Transformer

CONFIG = TransformerConfig(
    in_dim=16, dim=48, ffn_dim=96, num_heads=2, num_layers=2, freq_dim=32, text_dim=24, text_len=8
)
MODULES = ("blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.1.ffn.0")
RANK = 3
NAMES = {
    "comfyui": ("diffusion_model.{}.lora_A.weight", "diffusion_model.{}.lora_B.weight"),
    "peft": ("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"),
    "peft in memory": ("{}.lora_A.default.weight", "{}.lora_B.default.weight"),
    "diffusers": ("transformer.{}.lora_A.weight", "transformer.{}.lora_B.weight"),
    "kohya": ("lora_unet_{}.lora_down.weight", "lora_unet_{}.lora_up.weight"),
}


def make(dtype=torch.float32):
    torch.manual_seed(0)
    return Transformer(CONFIG).requires_grad_(False).eval().to(dtype)


def factors(model, seed=1):
    """Random A and B for each of the modules."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for module in MODULES:
        out, inside = model.get_submodule(module).weight.shape
        down = torch.randn((RANK, inside), generator=generator)
        pairs[module] = down, torch.randn((out, RANK), generator=generator)
    return pairs


def write(path, tensors):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def write_lora(path, pairs, style="comfyui", alpha=None):
    tensors = {}
    for module, (down, up) in pairs.items():
        if style == "diffusers":
            module = to_diffusers(module)
        if style == "kohya":
            module = module.replace(".", "_")
        for template, tensor in zip(NAMES[style], (down, up), strict=True):
            tensors[template.format(module)] = tensor
        if alpha is not None:
            tensors[NAMES[style][0].format(module).split(".lora_")[0] + ".alpha"] = alpha.clone()
    return write(path, tensors)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def velocity(model):
    generator = torch.Generator().manual_seed(2)
    latent = torch.randn((1, model.config.in_dim, 2, 4, 6), generator=generator)
    text = torch.randn((1, 8, 24), generator=generator)
    return model(latent, model.prepare(torch.ones(1), text))


@pytest.mark.parametrize("style", NAMES)
@pytest.mark.parametrize("alpha", [None, 6.0])
def test_every_style_of_names(tmp_path, style, alpha):
    model = make()
    before, pairs = state_of(model), factors(model)
    path = write_lora(
        tmp_path / "lora.safetensors", pairs, style, None if alpha is None else torch.tensor(alpha)
    )
    merge_loras(model, [(load_lora(path, model), 0.5)])
    scale = 0.5 * (1 if alpha is None else alpha / RANK)
    for name, value in model.state_dict().items():
        expected = before[name]
        if name.removesuffix(".weight") in pairs:
            down, up = pairs[name.removesuffix(".weight")]
            expected = expected + scale * up @ down
        assert torch.allclose(value, expected, atol=1e-5), name


@pytest.mark.parametrize("rslora", [False, True])
def test_a_peft_folder_tells_alpha(tmp_path, rslora):
    model = make()
    before, pairs = state_of(model), factors(model)
    write_lora(tmp_path / "adapter_model.safetensors", pairs, "peft")
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps({"lora_alpha": 6, "r": RANK, "use_rslora": rslora}))
    merge_loras(model, [(load_lora(tmp_path, model), 1.0)])
    (module, (down, up)), *_ = pairs.items()
    expected = before[module + ".weight"] + 6 / (RANK**0.5 if rslora else RANK) * up @ down
    assert torch.allclose(model.get_submodule(module).weight, expected, atol=1e-5)
    for text, message in (
        ("{}", "with lora_alpha"),
        ('{"lora_alpha": 1, "use_dora": 1}', "use_dora"),
    ):
        config.write_text(text)
        with pytest.raises(CheckpointError, match=message):
            load_lora(tmp_path, model)


def test_diffusers_metadata_tells_alpha(tmp_path):
    model = make()
    before, pairs = state_of(model), factors(model)
    path = write_lora(tmp_path / "lora.safetensors", pairs, "peft")
    config = json.dumps({"transformer.r": RANK, "transformer.lora_alpha": 6})
    save_file(load_file(path), path, metadata={"lora_adapter_metadata": config})
    merge_loras(model, [(load_lora(path, model), 1.0)])
    (module, (down, up)), *_ = pairs.items()
    expected = before[module + ".weight"] + 6 / RANK * up @ down
    assert torch.allclose(model.get_submodule(module).weight, expected, atol=1e-5)


def test_several_are_merged_with_their_strengths(tmp_path):
    model, expected = make(torch.bfloat16), state_of(make(torch.bfloat16))
    loras = []
    for seed, strength in ((1, 0.5), (2, -0.3), (3, 0.0)):
        path = write_lora(tmp_path / f"{seed}.safetensors", factors(model, seed))
        loras.append((load_lora(path, model), strength))
        for module, (down, up) in factors(model, seed).items():
            changed = expected[module + ".weight"].float() + strength * up @ down
            expected[module + ".weight"] = changed.bfloat16()
    before = velocity(model)
    merge_loras(model, loras)
    assert not torch.allclose(velocity(model), before, atol=1e-2)
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_whole_weights_and_biases(tmp_path):
    model = make()
    before = state_of(model)
    tensors = {
        "diffusion_model.blocks.0.ffn.2.diff": torch.ones(48, 96),
        "diffusion_model.blocks.0.ffn.2.diff_b": torch.ones(48),
        "diffusion_model.blocks.1.modulation.diff": torch.ones(1, 6, 48),
        "diffusion_model.blocks.0.norm3.set_weight": torch.full((48,), 7.0),
        "lora_unet_blocks_1_norm3.diff_b": torch.ones(48),
    }
    lora = load_lora(write(tmp_path / "lora.safetensors", tensors), model)
    merge_loras(model, [(lora, 0.5)])
    state = model.state_dict()
    for name in (
        "blocks.0.ffn.2.weight",
        "blocks.0.ffn.2.bias",
        "blocks.1.modulation",
        "blocks.1.norm3.bias",
    ):
        assert torch.equal(state[name], before[name] + 0.5)
    assert torch.equal(state["blocks.0.norm3.weight"], torch.full((48,), 7.0))


@pytest.mark.parametrize("part", ["low rank", "diff"])
def test_a_lora_can_widen_the_patch_embedding(tmp_path, part):
    model = make()
    base = model.patch_embedding.weight.clone()
    name = "diffusion_model.patch_embedding."
    down, up = torch.randn(5, 36 * 4), torch.randn(48, 5)
    delta = (up @ down).reshape(48, 36, 1, 2, 2)
    tensors = {name + "diff": delta}
    if part == "low rank":
        tensors = {
            name + "reshape_weight": torch.tensor([48, 36, 1, 2, 2]),
            name + "lora_A.weight": down,
            name + "lora_B.weight": up,
        }
    lora = load_lora(write(tmp_path / "lora.safetensors", tensors), model)
    merge_loras(model, [(lora, 1.0)])
    assert torch.allclose(model.patch_embedding.weight[:, :16], base + delta[:, :16], atol=1e-5)
    assert torch.allclose(model.patch_embedding.weight[:, 16:], delta[:, 16:], atol=1e-5)
    assert velocity(model).shape == (1, 16, 2, 4, 6)
    assert model.config.in_dim == 36


def test_the_change_of_the_modulation_is_added(tmp_path):
    """`X.diff_m` is `X.modulation`, as in rCM's and Self-Forcing's files."""
    model = make()
    before = state_of(model)
    block, head, kohya = torch.randn(1, 6, 48), torch.randn(1, 2, 48), torch.randn(1, 6, 48)
    tensors = {
        "diffusion_model.blocks.0.diff_m": block,
        "diffusion_model.head.diff_m": head,
        "lora_unet_blocks_1.diff_m": kohya,
    }
    path = write(tmp_path / "lora.safetensors", tensors)
    merge_loras(model, [(load_lora(path, model), 0.5)])
    changes = {"blocks.0.modulation": block, "head.modulation": head, "blocks.1.modulation": kohya}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] + 0.5 * changes.get(name, 0)), name


@pytest.mark.parametrize("first", ["of noise", "widening"])
def test_sixteen_channels_are_the_noise_of_thirty_six(tmp_path, first):
    """On an inpainting model, and beside a LoRA that makes it one, in either order."""
    name = "diffusion_model.patch_embedding.diff"
    noise, wide = torch.randn(48, 16, 1, 2, 2), torch.randn(48, 36, 1, 2, 2)
    paths = {
        "of noise": write(tmp_path / "noise.safetensors", {name: noise}),
        "widening": write(tmp_path / "wide.safetensors", {name: wide}),
    }
    model = make()
    base = model.patch_embedding.weight.clone()
    loras = [(load_lora(path, model), 0.5) for path in paths.values()]
    merge_loras(model, loras if first == "of noise" else loras[::-1])
    expected = torch.zeros(48, 36, 1, 2, 2)
    expected[:, :16] = base + 0.5 * noise
    expected += 0.5 * wide
    assert torch.allclose(model.patch_embedding.weight, expected, atol=1e-6)

    weight = model.patch_embedding.weight.clone()  # it has 36 channels now
    merge_loras(model, [(load_lora(paths["of noise"], model), 1.0)])
    assert torch.equal(model.patch_embedding.weight[:, :16], weight[:, :16] + noise)
    assert torch.equal(model.patch_embedding.weight[:, 16:], weight[:, 16:])
    eight = write(tmp_path / "8.safetensors", {name: noise[:, :8]})
    with pytest.raises(CheckpointError, match="this model's shapes"):
        load_lora(eight, model)


def with_context(path, context=None, **metadata):
    """A LoRA, with a context inside where one is given."""
    tensors = {
        f"{template.format(MODULES[0])}": torch.zeros(shape)
        for template, shape in zip(NAMES["comfyui"], ((3, 48), (48, 3)), strict=True)
    }
    if context is not None:
        tensors["context"] = context
    save_file(tensors, path, metadata=metadata)
    return path


def test_a_context_inside_becomes_the_models_own(tmp_path):
    model, given = make(), torch.randn(1, 5, 24)
    text = torch.nn.functional.pad(given, (0, 0, 0, 3))
    latent = torch.randn(1, 16, 2, 4, 6)
    expected = model(latent, model.prepare(torch.ones(1), text))
    path = with_context(tmp_path / "lora.safetensors", given)
    merge_loras(model, [(load_lora(path, model), 0.3)])
    assert model.config.learned_context
    assert torch.equal(model(latent, model.prepare(torch.ones(1))), expected)
    assert torch.equal(model.state_dict()["context"], text)


def test_the_context_beside_counts_where_it_is_of_the_same_training(tmp_path):
    given, run = torch.randn(1, 8, 24), {"base": "base.safetensors", "steps": "7"}
    path = with_context(tmp_path / "lora.safetensors", **run)
    save_file({"context": given}, tmp_path / "context.safetensors", metadata=run)
    assert torch.equal(load_lora(path, make()).context, given)
    save_file({"context": given}, tmp_path / "context.safetensors", {**run, "steps": "8"})
    assert load_lora(path, make()).context is None
    assert load_lora(with_context(tmp_path / "public.safetensors"), make()).context is None


def test_the_last_context_wins_and_that_is_said(tmp_path, caplog):
    model, contexts = make(), [torch.full((1, 8, 24), float(i)) for i in range(3)]
    loras = [
        (load_lora(with_context(tmp_path / f"{i}.safetensors", context), model), strength)
        for i, (context, strength) in enumerate(zip(contexts, (1.0, 0.5, 0.0), strict=True))
    ]
    merge_loras(model, loras)
    assert torch.equal(model.context, contexts[1])  # the third has no strength
    assert "1.safetensors: its learned context is taken" in caplog.text


def test_a_context_of_another_width_is_refused(tmp_path):
    path = with_context(tmp_path / "lora.safetensors", torch.zeros(1, 8, 23))
    with pytest.raises(CheckpointError, match=r"a context of this model's, .*got \[1, 8, 23\]"):
        load_lora(path, make())


Q = "diffusion_model.blocks.0.self_attn.q."


@pytest.mark.parametrize(
    "tensors, message",
    [
        ({Q.replace("0", "7") + "lora_A.weight": (3, 48)}, r"unmatched names: .*blocks\.7\.self"),
        ({Q + "lora_A.weight": (3, 48), "other": (1,)}, "unmatched names: other"),
        ({Q + "hada_w1_a": (3, 48)}, "unmatched names: .*hada_w1_a"),
        ({"diffusion_model.blocks.0.modulation.diff_b": (48,)}, "unmatched names: .*diff_b"),
        ({Q + "lora_A.weight": (3, 48)}, r"half a pair: blocks\.0\.self_attn\.q\.weight"),
        ({Q + "lora_A.weight": (3, 40), Q + "lora_B.weight": (48, 3)}, "this model's shapes"),
        ({Q + "lora_A.weight": (3, 48), Q + "lora_B.weight": (48, 4)}, "this model's shapes"),
        ({Q + "diff": (48, 40)}, "this model's shapes"),
        ({Q + "diff": (48,)}, "this model's shapes"),
        ({}, "expected a LoRA for a Wan transformer; this is an empty file"),
        ({"other": (1,)}, "expected a LoRA for a Wan transformer; this is an unknown model"),
        (
            {"lora_unet_down_blocks_0_proj.lora_down.weight": (3, 48)},
            "this is a LoRA for another model, with unmatched names: lora_unet",
        ),
    ],
)
def test_what_does_not_fit_is_listed(tmp_path, tensors, message):
    path = write(tmp_path / "lora.safetensors", {k: torch.ones(v) for k, v in tensors.items()})
    with pytest.raises(CheckpointError, match=message):
        load_lora(path, make())
