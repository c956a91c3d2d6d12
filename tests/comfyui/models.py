"""Tiny models of random weights in the server's model folders."""

import importlib.util
import sys
from pathlib import Path

import torch

from .server import PACK

CORE = "dreamstereo_core_of_the_tests"
SIZES = {"dim": 48, "ffn_dim": 96, "num_heads": 2, "num_layers": 2}


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
    tiny = config.TransformerConfig(
        in_dim=36, text_dim=24, text_len=8, learned_context=True, **SIZES
    )
    model = models.Transformer(tiny)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    _save(model, path, _core("models.files.transformer").TRANSFORMER)


def _save_vae(path: Path) -> None:
    files = _core("models.vae.checkpoint")
    config = _core("models.vae.config").WanVAEConfig(widths=(8, 16, 16, 16))
    _save(files.build_vae(config), path, files.VAE)


def _save(network, path: Path, kind) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _core("models.files.load").save_network(network, path, kind)


def _save_lora(path: Path) -> None:
    from safetensors.torch import save_file

    key, width = "diffusion_model.blocks.0.self_attn.v", SIZES["dim"]
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
