"""A perceptual distance that needs no download: ST-LPIPS, as a measure and as a loss.

Shift-tolerant LPIPS (Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022):
LPIPS (Zhang et al., CVPR 2018) over a network whose strides are blurred first (Zhang, "Making
Convolutional Networks Shift-Invariant Again", ICML 2019), so that a shift of a pixel costs little.
Its scale is its own: a figure is reported as ST-LPIPS and compared with no LPIPS figure.

The package `stlpips-pytorch` carries the weights (BSD-2) and is not imported: its modules want
IPython, torchsummary and torchvision, and parts of them forbid commercial use. The network is small
enough to be written down here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PACKAGE = "stlpips_pytorch"
NETWORKS = ("alex", "vgg")


class BlurPool(nn.Module):
    """Blur with [1, 2, 1] in x and y, then take every second pixel; the border is mirrored."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `[N, C, ceil(H / 2) + 1, ceil(W / 2) + 1]` of `[N, C, H, W]`."""
        taps = x.new_tensor([0.25, 0.5, 0.25])
        kernel = (taps[:, None] * taps).expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def _alex() -> list[list[nn.Module]]:
    """Return AlexNet's five stages; each one's output is compared."""

    def pool() -> list[nn.Module]:
        return [nn.MaxPool2d(3, 1), BlurPool()]

    return [
        [nn.Conv2d(3, 64, 11, padding=2), BlurPool(), nn.ReLU()],
        [*pool(), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()],
        [*pool(), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()],
    ]


def _vgg() -> list[list[nn.Module]]:
    """Return VGG16's five stages."""
    stages: list[list[nn.Module]] = []
    before = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        stage: list[nn.Module] = [nn.MaxPool2d(2, 1), BlurPool()] if stages else []
        for _ in range(depth):
            stage += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        stages.append(stage)
    return stages


class Perceptual(nn.Module):
    """ST-LPIPS between pictures, differentiable; its weights are frozen.

    Args:
        network: "alex", the measure's usual one, or "vgg", the usual one for a loss.

    Raises:
        ModuleNotFoundError: the package with the weights is not installed.
        ValueError: the network is unknown.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, network: str = "alex") -> None:
        super().__init__()
        if network not in NETWORKS:
            raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, got {network!r}")
        stages = _alex() if network == "alex" else _vgg()
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        weights = torch.load(_weights_path(network), map_location="cpu", weights_only=True)
        self._read(weights)
        self.requires_grad_(False)

    def _read(self, weights: dict[str, Tensor]) -> None:
        self.register_buffer("shift", weights["scaling_layer.shift"])
        self.register_buffer("scale", weights["scaling_layer.scale"])
        # In both lists the convolutions stand in the order of the network.
        named = [name.removesuffix(".weight") for name in weights if name.startswith("net.")]
        sources = [name for name in named if f"{name}.bias" in weights]
        convolutions = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        for source, convolution in zip(sources, convolutions, strict=True):
            names = ("weight", "bias")
            convolution.load_state_dict({n: weights[f"{source}.{n}"] for n in names})
        for i in range(len(self.stages)):
            self.register_buffer(f"importance{i}", weights[f"lin{i}.model.1.weight"])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances `[N]` of `a` and `b`, `[N, 3, H, W]` in [0, 1]; 0 is equal.

        Raises:
            ValueError: the shapes differ or are not those of pictures of at least 32 pixels.
        """
        _check_pictures(a, b)
        return self.distance(self.features(a), self.features(b))

    def spatial(self, a: Tensor, b: Tensor) -> Tensor:
        """Return where the distances lie, `[N, 1, H, W]`, to be averaged over a mask.

        Its mean over the frame is about `forward`'s value. A value belongs to the neighbourhood
        that the network sees, not to the pixel alone.

        Raises:
            ValueError: as `forward`.
        """
        _check_pictures(a, b)
        return self.distance_map(self.features(a), self.features(b), a.shape[-2:])

    def inside(self, a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        """Return the mean distance in the holes `[N, 1, H, W]` of `a` and `b`, `[N, 3, H, W]`.

        Raises:
            ValueError: as `forward`.
        """
        distance = self.spatial(a, b).float()
        return (distance * mask).sum() / mask.sum().clamp(min=1)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Return what is compared of `[N, 3, H, W]`: unit vectors `[N, C, h, w]` of each stage.

        For a picture that is compared with several others.
        """
        x = (2 * pictures - 1 - self.shift) / self.scale
        features = []
        for stage in self.stages:
            x = stage(x)
            # The root's slope at 0 is infinite, which would make a NaN of a loss.
            length = x.square().sum(1, keepdim=True).clamp(min=1e-20).sqrt()
            features.append(x / (length + 1e-10))
        return features

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return the distances `[N]` of two results of `features`."""
        return torch.stack([d.mean((1, 2, 3)) for d in self._differences(a, b)]).sum(0)

    def distance_map(self, a: list[Tensor], b: list[Tensor], size: Sequence[int]) -> Tensor:
        """Return `spatial` `[N, 1, H, W]` of two results of `features`; `size` is (H, W)."""
        maps = [F.interpolate(d, list(size), mode="bilinear") for d in self._differences(a, b)]
        return torch.stack(maps).sum(0)

    def _differences(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        """Return `[N, 1, h, w]` of each stage."""
        return [
            F.conv2d((x - y).square(), self.get_buffer(f"importance{i}"))
            for i, (x, y) in enumerate(zip(a, b, strict=True))
        ]


def perceptual_or_none(weight: float, device: torch.device) -> Perceptual | None:
    """Return the perceptual distance on `device` where its weight asks for it, frozen."""
    if not weight:
        return None
    return Perceptual().to(device).eval().requires_grad_(False)


def _check_pictures(a: Tensor, b: Tensor) -> None:
    if a.ndim != 4 or a.shape != b.shape or a.shape[1] != 3 or min(a.shape[-2:]) < 32:
        shapes = f"{list(a.shape)} and {list(b.shape)}"
        raise ValueError(
            f"a, b: expected two equal shapes [N, 3, H, W] of at least 32 pixels, got {shapes}"
        )


def _weights_path(network: str) -> Path:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the perceptual distance needs the package stlpips-pytorch, which carries its weights: "
            "pip install 'dreamstereo[train]'"
        )
    return Path(
        spec.submodule_search_locations[0], "weights/vST0.0", f"{network}_shift_tolerant.pth"
    )
