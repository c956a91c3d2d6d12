"""Configurations of the video autoencoders, as values; they travel in the checkpoint's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

# Per channel, of Wan 2.1's latents: z = (mu - mean) / std.
WAN_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
WAN_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)


@dataclass(frozen=True)
class WanVAEConfig:
    """Wan 2.1's causal 3-D autoencoder: one entry a scale, from full resolution down to 1/8."""

    widths: tuple[int, ...] = (96, 192, 384, 384)
    encoder_blocks: tuple[int, ...] = (2, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 3)
    flat: bool = False
    """The second convolution of each residual block is 2-D."""
    mean: tuple[float, ...] = WAN_MEAN
    std: tuple[float, ...] = WAN_STD


@dataclass(frozen=True)
class Stage:
    """One scale of a tiny autoencoder: `blocks` memory blocks of `width` channels."""

    width: int
    blocks: int
    space: int
    """By how much the stage changes the size: down in the encoder, up in the decoder."""
    time: int
    """By how much it changes the frame count."""


@dataclass(frozen=True)
class TinyVAEConfig:
    """An autoencoder of 2-D convolutions with a one-frame memory (after madebyollin/taehv)."""

    patch: int = 1
    """Pixels of a patch x patch square become channels."""
    encoder: tuple[Stage, ...] = (Stage(64, 3, 2, 2), Stage(64, 3, 2, 2), Stage(64, 3, 2, 1))
    decoder: tuple[Stage, ...] = (Stage(256, 3, 2, 1), Stage(128, 3, 2, 2), Stage(64, 3, 2, 2))
    stem: int = 64
    """Channels of the encoder's first layer and of the decoder's last."""
    causal: bool = False
    """The first latent is the first frame alone, as in Wan; else the first four frames."""
    mean: tuple[float, ...] = (0.0,) * 16
    std: tuple[float, ...] = (1.0,) * 16


VAEConfig: TypeAlias = WanVAEConfig | TinyVAEConfig

WAN = WanVAEConfig()
LIGHTVAE = WanVAEConfig(widths=(24, 48, 96, 96))
"""lightx2v's lightvaew2_1: Wan at a quarter of its width."""
DISTILLED = WanVAEConfig(
    widths=(48, 96, 256, 448), encoder_blocks=(2, 2, 1, 2), decoder_blocks=(2, 2, 2, 3), flat=True
)
"""76.3 M parameters, 5.2 times fewer operations than `WAN`: narrow and shallow where pixels are
many, wide where they are few."""
TAEW = TinyVAEConfig()
"""madebyollin's taew2_1: its latents are normalised already."""
LIGHTTAE = TinyVAEConfig(mean=WAN_MEAN, std=WAN_STD)
"""lightx2v's lighttaew2_1: taew2_1's layout on Wan's raw latents."""
MINI = TinyVAEConfig(
    patch=4,
    encoder=(Stage(48, 1, 1, 2), Stage(128, 2, 2, 2)),
    decoder=(Stage(128, 3, 2, 2), Stage(48, 2, 1, 2)),
    stem=48,
    causal=True,
)

PRESETS: Mapping[str, VAEConfig] = {"wan": WAN, "distilled": DISTILLED, "mini": MINI}

_KINDS: Mapping[str, type[VAEConfig]] = {"wan": WanVAEConfig, "tiny": TinyVAEConfig}


def config_to_json(config: VAEConfig) -> str:
    """Return the configuration as JSON, with its kind."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(config, cls))
    return json.dumps({"kind": kind, **asdict(config)})


def config_from_json(text: str) -> VAEConfig:
    """Return the configuration that `config_to_json` wrote.

    Raises:
        ValueError: the text is no such configuration.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        cls = _KINDS[values.pop("kind")]
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown entries {sorted(unknown)}")
        return cls(**{name: _frozen(name, value) for name, value in values.items()})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"expected a VAE configuration as JSON, got {error}") from error


def _frozen(name: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    is_stage = name in ("encoder", "decoder")
    return tuple(Stage(**item) if is_stage else item for item in value)
