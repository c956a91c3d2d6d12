"""A LoRA as `train_lora.py` exports it, applied by ComfyUI's own loader to the native model."""

import importlib
import importlib.util
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

TRAINING = Path(__file__).resolve().parents[2] / "training"


def exporter():
    """The export module alone; it needs neither peft nor accelerate."""
    for name in ("data.files", "engine.lora_export"):
        path = TRAINING / f"{name.replace('.', '/')}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules["engine.lora_export"]


def trained_parameters(model, wide, rank=4):
    """What a training leaves, by PEFT's names, and the weights that it amounts to."""
    generator = torch.Generator().manual_seed(3)
    trained, expected = {}, {}
    for name, weight in model.state_dict().items():
        module = name.removesuffix(".weight")
        if name.startswith("blocks.") and weight.ndim == 2:
            down = torch.randn(rank, weight.shape[1], generator=generator)
            up = torch.randn(weight.shape[0], rank, generator=generator) * 0.1
            trained[f"{module}.lora_A.default.weight"] = down
            trained[f"{module}.lora_B.default.weight"] = up
            expected[name] = weight + 2.0 * up @ down  # alpha 8, rank 4
    for name in ("patch_embedding.weight", "patch_embedding.bias"):
        value = wide.state_dict()[name]
        change = 0.1 * torch.randn(value.shape, generator=generator)
        trained[name] = expected[name] = value + change
    trained["context"] = torch.randn(1, 8, 40, generator=generator)
    return trained, expected


def test_comfyui_applies_the_exported_lora(core, tmp_path):
    transformer = importlib.import_module("dreamstereo_core.models.transformer")
    comfy_lora = importlib.import_module("comfy.lora")
    wan = importlib.import_module("comfy.ldm.wan.model")
    ops = importlib.import_module("comfy.ops").disable_weight_init
    config = transformer.TransformerConfig(
        in_dim=16, dim=96, ffn_dim=160, num_heads=2, num_layers=2, freq_dim=64, text_dim=40
    )
    model = transformer.Transformer(config)
    wide = transformer.widen_for_inpainting(transformer.Transformer(config))
    wide.load_state_dict(
        {
            **model.state_dict(),
            "patch_embedding.weight": torch.nn.functional.pad(
                model.patch_embedding.weight.detach(), (0, 0, 0, 0, 0, 0, 0, 20)
            ),
            "context": torch.zeros(1, 512, 40),
        }
    )
    trained, expected = trained_parameters(model, wide)
    base = {n: model.state_dict()[n] for n in ("patch_embedding.weight", "patch_embedding.bias")}
    path = tmp_path / "lora.safetensors"
    exporter().export_lora(path, trained, base, alpha=8.0, metadata={})

    sizes = {n: getattr(config, n) for n in ("in_dim", "dim", "ffn_dim", "freq_dim", "text_dim")}
    heads = {"num_heads": 2, "num_layers": 2}
    native = wan.WanModel(
        model_type="t2v", operations=ops, dtype=torch.float32, device="cpu", **sizes, **heads
    )
    native.load_state_dict(model.state_dict())
    tensors = importlib.import_module("safetensors.torch").load_file(path)
    keys = {f"diffusion_model.{n.removesuffix('.weight')}": n for n in native.state_dict()}
    patches = comfy_lora.load_lora(tensors, keys)
    assert patches.keys() == expected.keys()
    for name, weight in native.state_dict().items():
        if name in patches:
            patch = [(1.0, patches[name], 1.0, None, None)]
            weight = comfy_lora.calculate_weight(patch, weight.clone(), name)
            assert torch.allclose(weight, expected[name], atol=1e-5), name
    assert (tmp_path / "context.safetensors").exists()


def test_a_stray_tensor_is_noticed(core, tmp_path):
    """Every tensor of the file is one that ComfyUI knows: it warns of others and goes on."""
    transformer = importlib.import_module("dreamstereo_core.models.transformer")
    comfy_lora = importlib.import_module("comfy.lora")
    config = transformer.TransformerConfig(
        in_dim=16, dim=96, ffn_dim=160, num_heads=2, num_layers=1, freq_dim=64, text_dim=40
    )
    model = transformer.Transformer(config)
    wide = transformer.widen_for_inpainting(transformer.Transformer(config))
    trained, _ = trained_parameters(model, wide)
    base = {n: model.state_dict()[n] for n in ("patch_embedding.weight", "patch_embedding.bias")}
    tensors = exporter().lora_tensors(trained, base, alpha=8.0)
    save_file(tensors, tmp_path / "x.safetensors")
    keys = {f"diffusion_model.{n.removesuffix('.weight')}": n for n in model.state_dict()}
    left = []
    warn = comfy_lora.logging.warning
    try:
        comfy_lora.logging.warning = lambda text, *_: left.append(text)
        comfy_lora.load_lora(tensors, keys)
    finally:
        comfy_lora.logging.warning = warn
    assert left == []
