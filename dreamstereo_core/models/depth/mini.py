"""The small depth network: MobileNetV2's trunk and a light decoder, about 3 M parameters.

Trunk: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), without
its last layer; its names are torchvision's, so that public ImageNet weights fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from ..files.load import NetworkKind
from ..files.stored_config import check_sizes, read_config

STRIDE = 32
"""The sides of the input are multiples of this many pixels."""
LARGEST_SIZE = 4096
"""Longest sides in pixels at which such a network may work."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
# Expansion, channels, blocks, first stride (the paper's table 2).
_TRUNK = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
_LAST = (6, 320, 1, 1)
_SKIPS = {1: 16, 3: 24, 6: 32, 13: 96, 17: 320}  # the last layer at each scale, 1/2 to 1/32


@dataclass(frozen=True)
class MiniDepthConfig:
    """Sizes of the decoder."""

    widths: tuple[int, ...] = (96, 64, 48, 32, 24)
    """Channels at 1/32, 1/16, 1/8, 1/4 and 1/2 of the input."""
    size: int = 384
    """The longer side in pixels at which the network works."""
    fine: int = 0
    """Channels of the layer that doubles the depth to the input's size; 0 for no such layer."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(_SKIPS) or min(self.widths) < 1:
            raise ValueError(f"widths: expected {len(_SKIPS)} of at least 1, got {self.widths}")
        check_sizes({"size": self.size}, least=STRIDE, most=LARGEST_SIZE)
        check_sizes({"fine": self.fine}, least=0)


def conv_norm(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> list:
    """Return a convolution without bias and its batch norm."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out)]


class InvertedResidual(nn.Module):
    """Expand, filter each channel and project; add the input if the shapes agree."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int):
        super().__init__()
        hidden = c_in * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(nn.Sequential(*conv_norm(c_in, hidden, 1), nn.ReLU6()))
        layers.append(nn.Sequential(*conv_norm(hidden, hidden, 3, stride, hidden), nn.ReLU6()))
        layers += conv_norm(hidden, c_out, 1)
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, c_in, h, w]`` to ``[N, c_out, h / stride, w / stride]``."""
        return x + self.conv(x) if self.adds else self.conv(x)


class Merge(nn.Module):
    """Double the size, add the trunk's features of that size, and refine."""

    def __init__(self, c_in: int, c_skip: int, c_out: int):
        super().__init__()
        self.above = nn.Sequential(*conv_norm(c_in, c_out, 1))
        self.skip = nn.Sequential(*conv_norm(c_skip, c_out, 1))
        self.first = nn.Sequential(*conv_norm(c_out, c_out, 3), nn.ReLU())
        self.second = nn.Sequential(*conv_norm(c_out, c_out, 3))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map ``[N, c_in, h, w]`` and ``[N, c_skip, 2h, 2w]`` to ``[N, c_out, 2h, 2w]``."""
        above = F.interpolate(self.above(x), size=skip.shape[2:], mode="bilinear")
        x = F.relu(above + self.skip(skip))
        return F.relu(x + self.second(self.first(x)))


class Fine(nn.Module):
    """Double the size of inverse depth; each pixel is a mean of 3 x 3 coarse ones around it.

    The shares come from the features and the picture (Teed and Deng, "RAFT", ECCV 2020, "convex
    upsampling"): an edge can be as sharp as a pixel, and nothing comes out that did not go in.
    """

    def __init__(self, c_in: int, c_hidden: int):
        super().__init__()
        # The picture's pixels of each coarse cell become channels.
        self.first = nn.Sequential(*conv_norm(c_in + 12, c_hidden, 3), nn.ReLU())
        self.shares = nn.Conv2d(c_hidden, 4 * 9, 1)
        with torch.no_grad():  # at first it enlarges about bilinearly
            self.shares.weight.mul_(0.2)
        self.shares.bias = nn.Parameter(_bilinear_shares().log().flatten())

    def forward(self, depth: Tensor, features: Tensor, pictures: Tensor) -> Tensor:
        """Map ``[N, 1, h, w]``, ``[N, c_in, h, w]``, ``[N, 3, 2h, 2w]`` to ``[N, 1, 2h, 2w]``."""
        cells = F.pixel_unshuffle(pictures, 2)
        shares = self.shares(self.first(torch.cat((features, cells), dim=1)))
        n, _, h, w = depth.shape
        shares = shares.float().view(n, 4, 9, h, w).softmax(dim=2)
        around = F.unfold(F.pad(depth, (1, 1, 1, 1), mode="replicate"), 3).view(n, 1, 9, h, w)
        return F.pixel_shuffle((shares * around).sum(dim=2), 2)


def _bilinear_shares() -> Tensor:
    """Return the shares ``[4, 9]`` of 3 x 3 cells in each quarter of the middle one."""
    line = torch.tensor(((0.25, 0.75, 0.01), (0.01, 0.75, 0.25)))
    shares = torch.einsum("ay,bx->abyx", line, line).reshape(4, 9)
    return shares / shares.sum(dim=1, keepdim=True)


class MiniDepthNetwork(nn.Module):
    """Map a picture in [0, 1] to inverse depth of its size or half, about 0 (far) to 1 (near)."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: MiniDepthConfig | None = None):
        super().__init__()
        self.config = config = config or MiniDepthConfig()
        layers: list[nn.Module] = [nn.Sequential(*conv_norm(3, 32, 3, 2), nn.ReLU6())]
        channels = 32
        for expansion, c_out, blocks, stride in (*_TRUNK, _LAST):
            for i in range(blocks):
                layers.append(InvertedResidual(channels, c_out, stride if i == 0 else 1, expansion))
                channels = c_out
        self.features = nn.ModuleList(layers)
        widths = config.widths
        *skips, deepest = _SKIPS.values()
        # One channel more is the height in the picture, which says most about the ground's depth.
        self.neck = nn.Sequential(*conv_norm(deepest + 1, widths[0], 1), nn.ReLU())
        self.whole = nn.Linear(widths[0], widths[0])
        self.merges = nn.ModuleList(
            Merge(a, skip, b)
            for a, skip, b in zip(widths, reversed(skips), widths[1:], strict=False)
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)
        self.fine = Fine(widths[-1], config.fine) if config.fine else None
        for name, values in (("mean", _MEAN), ("std", _STD)):
            # On the CPU even where the network is laid out on the meta device: no file has them.
            colour = torch.tensor(values, device="cpu").view(1, 3, 1, 1)
            self.register_buffer(name, colour, persistent=False)

    def forward(self, pictures: Tensor, *, sharp: Tensor | None = None) -> Tensor:
        """Map ``[N, 3, H, W]``, sides multiples of 32, to ``[N, 1, H, W]`` or half of it.

        Where `sharp` ``[N]`` is false, the fine layer is left out and pixels are doubled instead.
        """
        pictures = x = (pictures - self.mean) / self.std
        skips = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in _SKIPS:
                skips.append(x)
        y = torch.linspace(-1, 1, x.shape[2], device=x.device, dtype=x.dtype).view(1, 1, -1, 1)
        x = self.neck(torch.cat((x, y.expand(len(x), 1, -1, x.shape[3])), dim=1))
        x = x + self.whole(x.mean(dim=(2, 3)))[..., None, None]
        for merge, skip in zip(self.merges, reversed(skips[:-1]), strict=True):
            x = merge(x, skip)
        depth = F.softplus(self.head(x).float(), beta=8)
        if self.fine is None:
            return depth
        if sharp is None:
            return self.fine(depth, x, pictures)
        doubled = F.interpolate(depth, scale_factor=2.0)
        if sharp.any():
            doubled[sharp] = self.fine(depth[sharp], x[sharp], pictures[sharp])
        return doubled


@torch.no_grad()
def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Merge the batch norms into the convolutions before them, in place, for inference."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for i in range(len(module) - 1):
            conv, norm = module[i], module[i + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[i] = fuse_conv_bn_eval(conv.eval(), norm.eval())
                module[i + 1] = nn.Identity()
    return network


MINI_DEPTH: NetworkKind[MiniDepthNetwork] = NetworkKind(
    title="a DreamStereo depth network",
    mark="depth",
    build=MiniDepthNetwork,
    parse=partial(read_config, MiniDepthConfig),
    unread=("num_batches_tracked",),
    kernels=torch.float16,
)
"""The small depth network; its batch norms are as they were trained."""
