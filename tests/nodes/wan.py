"""A small Wan model of random weights as a file, and what ComfyUI makes of it."""

import importlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

# ComfyUI counts heads of 128 and expects text of 4096.
SIZES = {"dim": 256, "ffn_dim": 320, "num_heads": 2, "num_layers": 2}
CLIP = (3, 6, 8)
"""Latent frames, height, width: 36 tokens."""
TEXT_TOKENS = 7


def core(name: str):
    """Import a module of the core by its name inside the pack."""
    return importlib.import_module(f"dreamstereo_pack.dreamstereo_core.{name}")


def make_transformer(in_dim: int = 36, **config):
    """Our transformer with random weights whose outputs are neither tiny nor equal."""
    models = core("models.transformer")
    config = {"text_len": TEXT_TOKENS} | SIZES | config
    model = models.Transformer(models.TransformerConfig(in_dim=in_dim, **config))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = noise / parameter[0].numel() ** 0.5 + (parameter.ndim == 1)
    return model.eval().requires_grad_(False)


def save(network, path: Path, kind=None) -> None:
    """Write a DreamStereo file; a transformer's unless told."""
    kind = kind or core("models.files.transformer").TRANSFORMER
    core("models.files.load").save_network(network, path, kind)


def write_checkpoint(path: Path, model, dtype: torch.dtype | None = None) -> str:
    """Write its weights under the original names; the large ones in `dtype`."""
    state = {
        name: x.to(dtype) if dtype and x.ndim == 2 and "blocks." in name else x
        for name, x in model.state_dict().items()
    }
    save_file(state, path)
    return str(path)


def write_lora(path: Path) -> str:
    """Write a LoRA on the first block's self-attention, in ComfyUI's names."""
    generator = torch.Generator().manual_seed(3)
    key = "diffusion_model.blocks.0.self_attn.v"
    tensors = {
        f"{key}.lora_A.weight": torch.randn(4, SIZES["dim"], generator=generator),
        f"{key}.lora_B.weight": torch.randn(SIZES["dim"], 4, generator=generator) / 8,
    }
    save_file(tensors, path)
    return str(path)


def clip_inputs(batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, known latents (raw, as a VAE gives them) and text."""
    generator = torch.Generator().manual_seed(1)
    known = torch.randn((1, 16, *CLIP), generator=generator)
    text = torch.randn((2, TEXT_TOKENS, 4096), generator=generator)
    noise = torch.randn((batch, 16, *CLIP), generator=generator)
    return noise, known, text


def hole_mask() -> Tensor:
    """A MASK of 9 frames, 48 x 64, with a hole of one token in the first and the last latent."""
    mask = torch.zeros(9, 48, 64)
    mask[0, 20:24, 2:5] = 1
    mask[8, 40:44, 50:60] = 1
    return mask


def write_vae(path: Path) -> str:
    """Write Wan's VAE, 12 times narrower, under the original names."""
    config = core("models.vae.config").WanVAEConfig(widths=(8, 16, 32, 32))
    vae = core("models.vae.wan").WanVAE(config)
    generator = torch.Generator().manual_seed(2)
    for parameter in vae.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = noise / parameter[0].numel() ** 0.5 + (parameter.ndim == 1)
    save(vae, path, core("models.vae.checkpoint").VAE)
    return str(path)
