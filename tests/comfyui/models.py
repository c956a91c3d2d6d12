"""Tiny models of random weights in the server's model folders."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import torch

from .server import PACK

CORE = "dreamstereo_core_of_the_tests"


def write_models(folder: Path) -> dict[str, str]:
    """Write a transformer, a VAE and a LoRA; return what a user chooses in the loader's lists."""
    torch.manual_seed(0)
    _save_transformer(folder / "diffusion_models" / "tiny_dreamstereo.safetensors")
    _save_vae(folder / "vae" / "tiny_vae.safetensors")
    _save_lora(folder / "loras" / "tiny_lora.safetensors")
    return {
        "diffusion_model": "tiny_dreamstereo.safetensors",
        "vae": "tiny_vae.safetensors",
        "lora": "tiny_lora.safetensors",
    }


def _save_transformer(path: Path) -> None:
    models, config = _core("models.transformer"), _core("models.config")
    tiny = replace(config.transformer_config("tiny"), latent_space=config.WAN_SPACE)
    model = models.Transformer(tiny)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path.parent.mkdir(parents=True, exist_ok=True)
    _core("models.files.transformer").save_transformer(path, model)


def _save_vae(path: Path) -> None:
    config = _core("models.vae.config").WanVAEConfig(widths=(8, 16, 16, 16))
    path.parent.mkdir(parents=True, exist_ok=True)
    _core("models.vae.checkpoint").save_vae(_core("models.vae.wan").WanVAE(config), path)


def _save_lora(path: Path) -> None:
    from safetensors.torch import save_file

    key, width = "diffusion_model.blocks.0.self_attn.v", _core("models.config").TINY.dim
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {
            f"{key}.lora_A.weight": torch.randn(2, width),
            f"{key}.lora_B.weight": torch.randn(width, 2),
        },
        path,
    )


def _core(name: str):
    """Import a module of the core from this working tree, under a name of its own."""
    if CORE not in sys.modules:
        folder = PACK / "dreamstereo_core"
        spec = importlib.util.spec_from_file_location(
            CORE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[CORE] = module
        spec.loader.exec_module(module)
    return importlib.import_module(f"{CORE}.{name}")
