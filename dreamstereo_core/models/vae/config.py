"""Configurations of the video autoencoders, as values; they travel in the checkpoint's metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

from ..config import LATENT_CHANNELS, WAN_SPACE
from ..files.stored_config import build_config, check_sizes, check_statistics, parse_object

# Per channel, of Wan 2.1's latents: z = (mu - mean) / std.
WAN_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
WAN_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)

SCALES = 4
"""Of Wan's autoencoder: full size to 1/8."""
STRIDES = 8, 4
"""Pixels along each side, and frames, of one latent of every autoencoder here."""


@dataclass(frozen=True)
class WanVAEConfig:
    """Wan 2.1's causal 3-D autoencoder: one entry a scale, from full resolution down to 1/8."""

    widths: tuple[int, ...] = (96, 192, 384, 384)
    encoder_blocks: tuple[int, ...] = (2, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 3)
    flat: bool = False
    """The second convolution of each residual block is 2-D."""
    conditioned: bool = False
    """The decoder also sees the known pixels and the mask, at each size it grows to."""
    mean: tuple[float, ...] = WAN_MEAN
    std: tuple[float, ...] = WAN_STD
    latent_space: str = WAN_SPACE
    """Its name; a transformer of another one refuses this autoencoder."""

    def __post_init__(self) -> None:
        for name in ("widths", "encoder_blocks", "decoder_blocks"):
            values = getattr(self, name)
            if len(values) != SCALES:
                raise ValueError(f"{name}: expected {SCALES} numbers, got {len(values)}")
            check_sizes({f"{name}[{i}]": value for i, value in enumerate(values)})
        check_statistics(self.mean, self.std, LATENT_CHANNELS)

    @property
    def num_blocks(self) -> int:
        """How many blocks it has; each has tensors of its own."""
        return sum(self.encoder_blocks) + sum(self.decoder_blocks)


@dataclass(frozen=True)
class Stage:
    """One scale of a tiny autoencoder: `blocks` memory blocks of `width` channels."""

    width: int
    blocks: int
    space: int
    """By how much the stage changes the size: down in the encoder, up in the decoder."""
    time: int
    """By how much it changes the frame count."""

    def __post_init__(self) -> None:
        check_sizes({"width": self.width, "space": self.space, "time": self.time})
        check_sizes({"blocks": self.blocks}, least=0)


@dataclass(frozen=True)
class TinyVAEConfig:
    """An autoencoder of 2-D convolutions with a one-frame memory, as madebyollin/taehv's."""

    encoder: tuple[Stage, ...] = (Stage(64, 3, 2, 2), Stage(64, 3, 2, 2), Stage(64, 3, 2, 1))
    decoder: tuple[Stage, ...] = (Stage(256, 3, 2, 1), Stage(128, 3, 2, 2), Stage(64, 3, 2, 2))
    stem: int = 64
    """Channels of the encoder's first layer and of the decoder's last."""
    mean: tuple[float, ...] = (0.0,) * 16
    std: tuple[float, ...] = (1.0,) * 16
    latent_space: str = WAN_SPACE
    """As of `WanVAEConfig`."""

    def __post_init__(self) -> None:
        check_sizes({"stem": self.stem})
        for name in ("encoder", "decoder"):
            stages: tuple[Stage, ...] = getattr(self, name)
            space = math.prod(stage.space for stage in stages)
            time = math.prod(stage.time for stage in stages)
            if (space, time) != STRIDES:
                raise ValueError(
                    f"{name}: expected {STRIDES[0]} pixels and {STRIDES[1]} frames to a latent, "
                    f"got {space} and {time}"
                )
        check_statistics(self.mean, self.std, LATENT_CHANNELS)

    @property
    def num_blocks(self) -> int:
        """How many blocks it has; each has tensors of its own."""
        return sum(stage.blocks + 1 for stage in (*self.encoder, *self.decoder))


VAEConfig: TypeAlias = WanVAEConfig | TinyVAEConfig

WAN = WanVAEConfig()
DISTILLED = WanVAEConfig(
    widths=(48, 96, 256, 448), encoder_blocks=(2, 2, 1, 2), decoder_blocks=(2, 2, 2, 3), flat=True
)
"""76.3 M parameters, 5.2 times fewer operations than `WAN`: narrow and shallow where pixels are
many, wide where they are few."""
SIGHTED = WanVAEConfig(
    widths=(32, 64, 128, 256),
    encoder_blocks=(2, 2, 1, 2),
    decoder_blocks=(1, 1, 1, 2),
    flat=True,
    conditioned=True,
)
"""A tiny decoder that sees the picture: near known pixels it need not draw from the latents what is
there to be seen."""
TAEW = TinyVAEConfig()
"""madebyollin's taew2_1: its latents are normalised already."""
LIGHTTAE = TinyVAEConfig(mean=WAN_MEAN, std=WAN_STD)
"""lightx2v's lighttaew2_1: taew2_1's layout on Wan's raw latents."""
PRESETS: Mapping[str, VAEConfig] = {"wan": WAN, "distilled": DISTILLED, "sighted": SIGHTED}

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
        values = parse_object(text)
        kind = values.pop("kind", None)
        if not isinstance(kind, str) or kind not in _KINDS:
            raise ValueError(f"kind: expected one of {', '.join(_KINDS)}")
        return build_config(_KINDS[kind], values)
    except ValueError as error:
        raise ValueError(f"expected a VAE configuration as JSON, got {error}") from error
