"""What an autoencoder's files are like: Wan's, diffusers', taehv's, lightx2v's and our own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...devices import choose_device
from ..config import LATENT_CHANNELS
from ..files.describe import TINY_VAE, WAN_VAE
from ..files.load import NetworkKind, Shapes, load_network, same_names
from .base import VideoVAE, channels_innermost
from .config import (
    LIGHTTAE,
    PRESETS,
    TAEW,
    VAEConfig,
    WanVAEConfig,
    config_from_json,
    config_to_json,
)
from .tiny import TinyVAE
from .wan import WanVAE

FILES: Mapping[str, tuple[str, ...]] = {
    "wan": ("wan_2.1_vae.safetensors", "Wan2.1_VAE.safetensors", "Wan2.1_VAE.pth"),
    "distilled": ("dreamstereo_vae_distilled.safetensors",),
}
"""The files of the named autoencoders, in the order in which they are looked for."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

_FROM_DIFFUSERS = (
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.down_blocks\.", ".downsamples."),
    (r"\.norm1\.", ".residual.0."),
    (r"(?<=\d)\.conv1\.", ".residual.2."),
    (r"\.norm2\.", ".residual.3."),
    (r"(?<=\d)\.conv2\.", ".residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
)


def load_vae(
    spec: str | Path,
    *,
    folders: Sequence[str | Path] = (),
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    operations: Any = nn,
) -> VideoVAE:
    """Load a video autoencoder, ready to encode and decode.

    Args:
        spec: "wan", "distilled", or a file: .safetensors or .pth, with Wan's names or diffusers',
            or of taew2_1, lighttaew2_1 (told from taew2_1 by its name) or lightvaew2_1; or a
            diffusers folder.
        folders: where to look for the named ones.
        device: "auto" takes CUDA, then MPS, then the CPU.
        dtype: float32, float16 or bfloat16; the default is the file's on a GPU, else float32.
        operations: a namespace with Conv2d and Conv3d.

    Raises:
        FileNotFoundError: there is no such file; the message says where to put it.
        CheckpointError: the file is not such an autoencoder, is damaged, or does not fit.
        ValueError: the dtype is another one.

    Example:
        >>> import torch
        >>> vae = load_vae("vae.safetensors")
        >>> latent = vae.encode(torch.rand(1, 3, 5, 64, 64))
        >>> latent.shape, vae.decode(latent).shape
        (torch.Size([1, 16, 2, 8, 8]), torch.Size([1, 3, 5, 64, 64]))
    """
    path = _find(str(spec), folders)
    device = choose_device(device)
    if dtype is not None and dtype not in _DTYPES:
        raise ValueError(f"dtype: expected float32, float16 or bfloat16, got {dtype}")
    if dtype is None and device.type == "cpu":
        dtype = torch.float32
    return load_network(path, VAE, device=device, dtype=dtype, operations=operations)


def build_vae(config: VAEConfig | str, operations: Any = nn) -> VideoVAE:
    """Return an autoencoder with new random weights, of a configuration or a preset's name."""
    if isinstance(config, str):
        if config not in PRESETS:
            raise ValueError(f"config: expected one of {', '.join(PRESETS)}, got {config!r}")
        config = PRESETS[config]
    kind = WanVAE if isinstance(config, WanVAEConfig) else TinyVAE
    return kind(config, operations)  # pyright: ignore[reportArgumentType]


def _find(spec: str, folders: Sequence[str | Path]) -> Path:
    if spec not in FILES:
        path = Path(spec)
        inner = path / "diffusion_pytorch_model.safetensors"
        if path.is_dir() and inner.is_file():
            return inner
        if not path.is_file():
            known = ", ".join(FILES)
            raise FileNotFoundError(f"vae: expected {known} or a file, got {spec!r}")
        return path
    places = [Path(folder) for folder in folders]
    for place in places:
        for name in FILES[spec]:
            if (place / name).is_file():
                return place / name
    raise FileNotFoundError(
        f"vae: no weights for {spec!r}: put {FILES[spec][0]} into "
        f"{' or '.join(map(str, places)) or 'any folder'}, or give its path"
    )


def _original_names(names: Iterable[str]) -> dict[str, str]:
    """Map Wan's own names to the names in a file that has them, or diffusers' ones."""
    names = list(names)
    if "post_quant_conv.weight" not in names or "decoder.conv_in.weight" not in names:
        return same_names(names)
    return {_original_name(name): name for name in names}


def _original_name(name: str) -> str:
    if found := re.match(r"decoder\.up_blocks\.(\d)\.(resnets|upsamplers)\.(\d)\.(.*)", name):
        block, kind, index, rest = found.groups()
        # Three residual blocks and an upsampler a scale, counted through in the original.
        number = 4 * int(block) + (int(index) if kind == "resnets" else 3)
        name = f"decoder.upsamples.{number}.{rest}"
    for pattern, new in _FROM_DIFFUSERS:
        name = re.sub(pattern, new, name)
    return name


def _detect(shapes: Shapes, path: Path) -> VAEConfig:
    """Return the configuration of a public file."""
    if "decoder.1.weight" in shapes:
        return _detect_tiny(shapes, path)
    latents = shapes["conv2.weight"][0]
    if latents != LATENT_CHANNELS:
        raise ValueError(f"latents of {LATENT_CHANNELS} channels, not {latents}")
    firsts = (shapes[f"encoder.downsamples.{i}.residual.2.weight"] for i in (0, 3, 6, 9))
    return WanVAEConfig(widths=tuple(shape[0] for shape in firsts))


def _detect_tiny(shapes: Shapes, path: Path) -> VAEConfig:
    if shapes["decoder.22.bias"] != (3,) or shapes["decoder.1.weight"][1] != LATENT_CHANNELS:
        raise ValueError("this is a tiny VAE of another model")
    if path.stem.startswith("taehv"):
        raise ValueError("this is HunyuanVideo's")
    return LIGHTTAE if "lighttae" in path.stem else TAEW


VAE: NetworkKind[VideoVAE] = NetworkKind(
    title=WAN_VAE,
    mark="vae",
    build=build_vae,
    parse=config_from_json,
    config_text=config_to_json,
    public=(WAN_VAE, TINY_VAE),
    detect=_detect,
    names=_original_names,
    blocks=lambda config: config.num_blocks,
    dtype_of=lambda names: next(iter(names.values())),
    finish=channels_innermost,
)
"""A video autoencoder with Wan 2.1's shape of latents."""
