"""Video-Depth-Anything's network, with the published names of its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..files.describe import VIDEO_DEPTH
from ..files.load import NetworkKind, Shapes
from .dinov2 import DinoV2
from .temporal_head import TemporalHead


@dataclass(frozen=True)
class VideoDepthConfig:
    """Sizes of a network."""

    dim: int = 384
    """Width of the encoder's tokens."""
    num_layers: int = 12
    """Of the encoder."""
    num_heads: int = 6
    """Of the encoder's attention."""
    layers: tuple[int, int, int, int] = (2, 5, 8, 11)
    """Of the encoder, that the head looks at."""
    features: int = 64
    """Channels of the head's pyramid, a multiple of 32."""
    widths: tuple[int, int, int, int] = (48, 96, 192, 384)
    """Channels of the four layers in the head, the last two multiples of 32."""
    grid: int = 37
    """Tokens along a side of the pictures that the encoder's positions were learned on."""


SMALL = VideoDepthConfig()
BASE = VideoDepthConfig(768, 12, 12, (2, 5, 8, 11), 128, (96, 192, 384, 768))
LARGE = VideoDepthConfig(1024, 24, 16, (4, 11, 17, 23), 256, (256, 512, 1024, 1024))


class VideoDepthNetwork(nn.Module):
    """The encoder, frame by frame, and the head over a window; weights are random."""

    def __init__(self, config: VideoDepthConfig = SMALL):
        super().__init__()
        self.config = config
        self.pretrained = DinoV2(config.dim, config.num_layers, config.num_heads, config.grid)
        self.head = TemporalHead(config.dim, config.features, config.widths)


def detect_config(shapes: Shapes, path: Path | None = None) -> VideoDepthConfig:
    """Return the sizes of a published file.

    Raises:
        KeyError: it has no tokens.
        ValueError: they have another width.
    """
    width = shapes["pretrained.cls_token"][-1]
    configs = {config.dim: config for config in (SMALL, BASE, LARGE)}
    if width not in configs:
        raise ValueError(f"expected tokens {', '.join(map(str, configs))} wide, got {width}")
    return configs[width]


VIDEO_DEPTH_ANYTHING: NetworkKind[VideoDepthNetwork] = NetworkKind(
    title=VIDEO_DEPTH,
    mark=None,
    build=VideoDepthNetwork,
    public=(VIDEO_DEPTH,),
    detect=detect_config,
)
"""Video-Depth-Anything, as published."""
