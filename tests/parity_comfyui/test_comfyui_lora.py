"""A LoRA file does to our weights what ComfyUI does to its own."""

import importlib

import torch
from safetensors.torch import load_file, save_file

STRENGTH = 0.6


def lora_tensors():
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    return {
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight": random(4, 96),
        "diffusion_model.blocks.0.self_attn.q.lora_B.weight": random(96, 4),
        "diffusion_model.blocks.0.self_attn.q.alpha": torch.tensor(2.0),
        "diffusion_model.blocks.1.ffn.0.lora_A.weight": random(4, 96),
        "diffusion_model.blocks.1.ffn.0.lora_B.weight": random(160, 4),
        "lora_unet_blocks_1_cross_attn_o.lora_down.weight": random(2, 96),
        "lora_unet_blocks_1_cross_attn_o.lora_up.weight": random(96, 2),
        "lora_unet_blocks_1_cross_attn_o.alpha": torch.tensor(1.0),
        "diffusion_model.blocks.0.ffn.2.diff": random(96, 160),
        "diffusion_model.blocks.0.ffn.2.diff_b": random(96),
        "diffusion_model.blocks.0.norm3.set_weight": random(96),
        "diffusion_model.blocks.1.modulation.diff": random(1, 6, 96),
        "diffusion_model.patch_embedding.lora_A.weight": random(4, 36 * 4),
        "diffusion_model.patch_embedding.lora_B.weight": random(96, 4),
        "diffusion_model.patch_embedding.reshape_weight": torch.tensor([96, 36, 1, 2, 2]),
    }


def test_every_kind_of_patch(core, tmp_path):
    transformer = importlib.import_module("dreamstereo_core.models.transformer")
    lora = importlib.import_module("dreamstereo_core.models.lora")
    comfy_lora = importlib.import_module("comfy.lora")
    config = transformer.TransformerConfig(
        in_dim=16, dim=96, ffn_dim=160, num_heads=2, num_layers=2, freq_dim=64, text_dim=40
    )
    model = transformer.Transformer(config).requires_grad_(False)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    path = tmp_path / "lora.safetensors"
    save_file(lora_tensors(), path)

    keys = {}
    for name in weights:  # as comfy.lora.model_lora_keys_unet names them
        module = name.removesuffix(".weight")
        keys[f"diffusion_model.{module}"] = name
        keys["lora_unet_" + module.replace(".", "_")] = name
    patches = comfy_lora.load_lora(load_file(path), keys)
    lora.merge_loras(model, [(lora.load_lora(path, model), STRENGTH)])

    assert len(patches) == 8
    for name, value in model.state_dict().items():
        expected = weights[name].clone()
        if name in patches:
            patch = [(STRENGTH, patches[name], 1.0, None, None)]
            expected = comfy_lora.calculate_weight(patch, expected, name)
            assert not torch.equal(value, weights[name])
        assert torch.allclose(value, expected, atol=1e-5), name
    assert model.config.in_dim == 36
