"""TCSmallNet, a small published depth network, to teach by: 0.2 M parameters, names as published.

Li et al., "Enforcing Temporal Consistency in Video Depth Estimation" (ICCV-W 2021); the trunk is
that of Ma et al., "ShuffleNet V2" (ECCV 2018), half as wide and without its max pooling. The file
(MIT, yu-li/TCMonoDepth) is a user's own; nothing of it is part of this project.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamstereo_core.depth.mini import MiniDepth
from dreamstereo_core.models.depth.mini import fold_batch_norms
from dreamstereo_core.models.files.checkpoint_file import CheckpointError
from dreamstereo_core.models.vae.base import channels_innermost

STRIDE = 32
"""Sides of the input are multiples of it."""
SHORT_SIDES = (256, 384)
"""Of a published teacher's picture."""

_WIDTHS = (24, 48, 96, 192)  # at 1/2, 1/4, 1/8 and 1/16
_BLOCKS = (4, 8, 4)
_UNUSED = ("encoder.stage", "decoder.final2.", "decoder.final3.")  # copies; heads for its training


def _pointwise(c_in: int, c_out: int) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out)]


def _depthwise(channels: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


class ShuffleBlock(nn.Module):
    """Every second channel passes, the others are filtered; a first block filters all twice."""

    def __init__(self, c_in: int, c_out: int, first: bool):
        super().__init__()
        c_main = c_in if first else c_in // 2
        middle, stride = c_out // 2, 2 if first else 1
        passed = c_in if first else c_out // 2
        self.branch_main = nn.Sequential(
            *_pointwise(c_main, middle),
            nn.ReLU(),
            *_depthwise(middle, stride),
            *_pointwise(middle, c_out - passed),
            nn.ReLU(),
        )
        self.branch_proj = (
            nn.Sequential(*_depthwise(c_in, stride), *_pointwise(c_in, c_in), nn.ReLU())
            if first
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, c_in, h, w]`` to ``[N, c_out, h, w]``, a first block to half the size."""
        if self.branch_proj is not None:
            return torch.cat((self.branch_proj(x), self.branch_main(x)), dim=1)
        return torch.cat((x[:, ::2], self.branch_main(x[:, 1::2])), dim=1)


class Encoder(nn.Module):
    """A picture to features at 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self):
        super().__init__()
        stem = nn.Conv2d(3, _WIDTHS[0], 3, 2, 1, bias=False)
        self.first_conv = nn.Sequential(stem, nn.BatchNorm2d(_WIDTHS[0]), nn.ReLU())
        blocks = []
        for c_in, c_out, count in zip(_WIDTHS, _WIDTHS[1:], _BLOCKS, strict=False):
            blocks += [ShuffleBlock(c_in if i == 0 else c_out, c_out, i == 0) for i in range(count)]
        self.features = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features, finest first."""
        scales = [self.first_conv(x)]
        for i, block in enumerate(self.features):
            x = block(scales[-1] if i == 0 else x)
            if i + 1 in (_BLOCKS[0], _BLOCKS[0] + _BLOCKS[1], sum(_BLOCKS)):
                scales.append(x)
        return scales


class _Separable(nn.Module):
    """A filter of each channel and a mix of them."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        mix = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.conv = nn.Sequential(*_depthwise(c_in), nn.ReLU(), mix)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Merge(nn.Module):
    """Coarse features, enlarged, beside a quarter as many finer ones."""

    def __init__(self, c_fine: int, c_coarse: int):
        super().__init__()
        self.skip_conv = nn.Sequential(*_pointwise(c_fine, c_coarse // 4), nn.ReLU())
        separable = _Separable(c_coarse + c_coarse // 4, c_fine)
        self.last_conv = nn.Sequential(separable, nn.BatchNorm2d(c_fine), nn.ReLU())

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        fine = self.skip_conv(fine)
        coarse = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear")
        return self.last_conv(torch.cat((coarse, fine), dim=1))


class _Decoder(nn.Module):
    """Features to inverse depth at half the picture's size."""

    def __init__(self):
        super().__init__()
        for i in (3, 2, 1):
            setattr(self, f"decoder{i}", _Merge(_WIDTHS[i - 1], _WIDTHS[i]))
        self.final = nn.Conv2d(_WIDTHS[0], 1, 3, padding=1)

    def forward(self, scales: list[Tensor]) -> Tensor:
        x = scales[3]
        for i in (3, 2, 1):
            x = getattr(self, f"decoder{i}")(scales[i - 1], x)
        return F.relu(self.final(x))


class TeacherNetwork(nn.Module):
    """A picture in [0, 1] to inverse depth >= 0 at half its size."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = _Decoder()

    def forward(self, pictures: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]``, sides multiples of 32, to ``[N, 1, H / 2, W / 2]``."""
        return self.decoder(self.encoder(pictures))


@torch.inference_mode()
def taught_by_published(teacher: TeacherNetwork, beside: MiniDepth, clip: Tensor) -> Tensor:
    """Return what a published network says of the last frame at two sizes, and ours, as one.

    Each has mean 0 and deviation 1; at the smaller size it is asked mirrored too.

    Args:
        teacher: see there.
        beside: an own network.
        clip: `[T, 3, H, W]`.

    Returns:
        Inverse depth `[1, 1, H / 2, W / 2]`.
    """
    h, w = clip.shape[-2:]
    answers = []
    for i, short in enumerate(SHORT_SIDES):
        scale = short / min(h, w) / STRIDE
        size = round(h * scale) * STRIDE, round(w * scale) * STRIDE
        picture = resized(clip[-1:], size)
        answer = teacher(picture)
        answers.append((answer + teacher(picture.flip(-1)).flip(-1)) / 2 if i == 0 else answer)
    answers.append(beside.predict(clip[-1:])[0])
    return torch.stack([standardised(answer, (h // 2, w // 2)) for answer in answers]).mean(0)


def standardised(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """Return it at a size with mean 0 and deviation 1."""
    raw = F.interpolate(raw, size, mode="bilinear")
    return (raw - raw.mean()) / raw.std().clamp(min=1e-6)


def resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `[T, 3, *size]` in [0, 1]."""
    return F.interpolate(frames, size, mode="bilinear", antialias=True).clamp(0, 1)


def load_teacher(path: str | Path) -> TeacherNetwork:
    """Read the published file, for inference.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is no PyTorch file of weights, or they are another network's.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected a file of TCSmallNet's weights, there is none")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path}: expected a PyTorch file of weights ({error})") from error
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path}: expected weights by name, got {type(weights).__name__}")
    weights = {n: x for n, x in weights.items() if not str(n).startswith(_UNUSED)}
    network = TeacherNetwork()
    wanted = network.state_dict()
    if differing := sorted(map(str, wanted.keys() ^ weights.keys())):
        raise CheckpointError(f"{path}: expected TCSmallNet's weights; differing {differing[:3]}")
    for name, weight in wanted.items():
        if weights[name].shape != weight.shape:
            raise CheckpointError(
                f"{path}: {name}: expected {tuple(weight.shape)}, got {tuple(weights[name].shape)}"
            )
    network.load_state_dict(weights)
    fold_batch_norms(network.eval().requires_grad_(False))
    channels_innermost(network)
    return network
