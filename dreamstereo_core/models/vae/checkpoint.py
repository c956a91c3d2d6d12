"""Autoencoders from files: Wan's, diffusers', taehv's, lightx2v's and our own, told by their keys.

A file of ours carries its configuration in its metadata. Networks are opened
on the meta device, so that no weight is drawn only to be replaced, and loaded strictly.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...devices import choose_device
from ..files.checkpoint_file import (
    WEIGHTS,
    CheckpointError,
    CheckpointFile,
    open_checkpoint,
    save_checkpoint,
)
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

KIND = "vae"
FILES: Mapping[str, tuple[str, ...]] = {
    "mini": ("mini_vae.safetensors",),
    "wan": ("wan_2.1_vae.safetensors", "Wan2.1_VAE.safetensors", "Wan2.1_VAE.pth"),
    "distilled": ("dreamstereo_vae_distilled.safetensors",),
}
"""The files of the named autoencoders, in the order in which they are looked for."""

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# What a file is if it is no video autoencoder that fits: the first pattern found in its keys.
_OTHERS = (
    (r"lora_(A|B|up|down)\b", "a LoRA"),
    (r"blocks\.0\.(self_attn\.q|attn1\.to_q)\.", "a Wan transformer"),
    (r"(double_blocks|transformer_blocks|input_blocks)\.\d", "another diffusion model"),
    (r"upsamples\.0\.upsamples\.0\.|^(en|de)coder\.(down|up)_blocks\.0\.resnets", "a Wan 2.2 VAE"),
    (r"(^|\.)(shared\.weight|block\.0\.layer\.0|blocks\.0\.attn\.q\.)", "a text encoder"),
    (r"decoder\.mid(_block)?\.(block_1|resnets\.0\.norm1\.weight)", "a VAE of an image model"),
    (r"^decoder\.\d+\.conv\.", "a tiny VAE of another model"),
)

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
        spec: "mini", "wan", "distilled", or a file: .safetensors or .pth, with Wan's names or
            diffusers', or of taew2_1, lighttaew2_1 (told from taew2_1 by its name) or
            lightvaew2_1; or a diffusers folder.
        folders: where to look for the named ones, before the package's own weights.
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
    file = open_checkpoint(path)
    if file.kind not in (None, KIND):
        raise CheckpointError(f"{path}: expected a VAE; this is a DreamStereo {file.kind}")
    names = _original_names(file.shapes)
    config = _config(file, names)
    file.require_blocks(config.num_blocks)
    with torch.device("meta"):
        vae = build_vae(config, operations)
    _fill(vae, file, names, dtype)
    channels_innermost(vae)
    return vae.to(device).eval().requires_grad_(False)


def build_vae(config: VAEConfig | str, operations: Any = nn) -> VideoVAE:
    """Return an autoencoder with new random weights, of a configuration or a preset's name."""
    if isinstance(config, str):
        if config not in PRESETS:
            raise ValueError(f"config: expected one of {', '.join(PRESETS)}, got {config!r}")
        config = PRESETS[config]
    kind = WanVAE if isinstance(config, WanVAEConfig) else TinyVAE
    return kind(config, operations)  # pyright: ignore[reportArgumentType]


def save_vae(
    vae: VideoVAE,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file that `load_vae` reads, with the configuration inside."""
    weights = {
        name: weight.detach().to("cpu", dtype, memory_format=torch.contiguous_format)
        for name, weight in vae.state_dict().items()
    }
    config = config_to_json(vae.config)
    save_checkpoint(path, weights, kind=KIND, config=config, metadata=metadata)


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
    places = [*map(Path, folders), WEIGHTS]
    for place in places:
        for name in FILES[spec]:
            if (place / name).is_file():
                return place / name
    raise FileNotFoundError(
        f"vae: no weights for {spec!r}: put {FILES[spec][0]} into "
        f"{' or '.join(map(str, places))}, or give its path"
    )


def _original_names(names: Collection[str]) -> dict[str, str]:
    """Map Wan's own names to the names in a file that has them, or diffusers' ones."""
    if "post_quant_conv.weight" not in names or "decoder.conv_in.weight" not in names:
        return {name: name for name in names}
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


def _config(file: CheckpointFile, names: Mapping[str, str]) -> VAEConfig:
    """Return the configuration of a file of ours, or of a public one.

    Raises:
        CheckpointError: it is none that can be, or the file is of another model.
    """
    try:
        if file.config is not None:
            return config_from_json(file.config)
        return _recognise({name: file.shapes[stored] for name, stored in names.items()}, file.path)
    except ValueError as error:
        raise CheckpointError(f"{file.path}: {error}") from error


def _recognise(shapes: Mapping[str, tuple[int, ...]], path: Path) -> VAEConfig:
    """Return the configuration of a public file."""
    firsts = [shapes.get(f"encoder.downsamples.{i}.residual.2.weight") for i in (0, 3, 6, 9)]
    if all(firsts) and shapes.get("conv2.weight", ())[:1] == (16,):
        return WanVAEConfig(widths=tuple(shape[0] for shape in firsts if shape))
    taew = shapes.get("decoder.22.bias") == (3,) and shapes.get("decoder.1.weight", ())[1:2] == (
        16,
    )
    if taew and "encoder.0.weight" in shapes:
        if path.stem.startswith("taehv"):
            raise ValueError("expected a VAE for Wan 2.1, this is HunyuanVideo's")
        return LIGHTTAE if "lighttae" in path.stem else TAEW
    keys = "\n".join(shapes)
    what = next((what for pattern, what in _OTHERS if re.search(pattern, keys, re.M)), None)
    if what is None:
        what = f"something else, with keys such as {', '.join(list(shapes)[:3]) or '(none)'}"
    raise ValueError(f"expected a VAE for Wan 2.1, this is {what}")


def _fill(
    vae: VideoVAE, file: CheckpointFile, names: Mapping[str, str], dtype: torch.dtype | None
) -> None:
    """Put the file's weights into the network, in `dtype`; None = that of its first tensor."""
    expected = {name: tuple(weight.shape) for name, weight in vae.state_dict().items()}
    missing, unexpected = expected.keys() - names.keys(), names.keys() - expected.keys()
    if missing or unexpected:
        raise CheckpointError(
            f"{file.path}: the keys do not fit; missing: {_some(missing)}; unexpected: "
            f"{_some(unexpected)}"
        )
    weights = {}
    for name, stored in names.items():
        if file.shapes[stored] != expected[name]:
            raise CheckpointError(
                f"{file.path}: {name}: expected shape {list(expected[name])}, "
                f"got {list(file.shapes[stored])}"
            )
        weight = file.read(stored)
        if weight.dtype not in (*_DTYPES, torch.float64):
            raise CheckpointError(
                f"{file.path}: {name}: expected fp32, fp16 or bf16, got {weight.dtype}"
            )
        dtype = dtype or weight.dtype
        weights[name] = file.require_finite(name, weight.to(dtype))
    vae.load_state_dict(weights, assign=True)


def _some(names: Any) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return (", ".join(listed[:5]) or "none") + more
