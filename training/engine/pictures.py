"""Pictures for people: PNG files and strips of clips."""

from __future__ import annotations

from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

UNKNOWN = (0.15, 0.25, 0.45)
"""The colour of depth that is not known."""


def write_png(path: Path, picture: Tensor) -> None:
    """Write `[3, H, W]` in [0, 1], in the format of the name's suffix."""
    image = (picture.detach().float().cpu().permute(1, 2, 0).clamp(0, 1) * 255).round().byte()
    cv2.imwrite(str(path), cv2.cvtColor(image.numpy(), cv2.COLOR_RGB2BGR))


def paint_mask(video: Tensor, mask: Tensor) -> Tensor:
    """Show holes `[T, 1, H, W]` of `[T, 3, H, W]` in magenta."""
    colour = video.new_tensor((1.0, 0.0, 0.8)).view(1, 3, 1, 1)
    return torch.where(mask > 0, 0.35 * video + 0.65 * colour, video)


def show_depth(inverse_depth: Tensor) -> Tensor:
    """Return `[3, h, w]` of `[1, h, w]`: near is white, far black, NaN (unknown) blue."""
    known = inverse_depth.isfinite()
    values = inverse_depth[known]
    ends = torch.tensor((0.02, 0.98))
    low, high = torch.quantile(values[:: len(values) // 2**20 + 1], ends).tolist()
    shown = ((inverse_depth - low) / max(high - low, 1e-6)).clamp(0, 1)
    return torch.where(known, shown, torch.tensor(UNKNOWN).view(3, 1, 1))


def contact_sheet(rows: list[list[Tensor]], height: int = 160) -> Tensor:
    """Lay out pictures `[3, h, w]`, scaled to one height; short rows end in white."""
    lines = [
        torch.cat([_to_height(picture, height) for picture in row], dim=2) for row in rows if row
    ]
    width = max(line.shape[2] for line in lines)
    return torch.cat([F.pad(line, (0, width - line.shape[2]), value=1.0) for line in lines], dim=1)


def two_columns(rows: list[list[Tensor]]) -> list[list[Tensor]]:
    """Put the second half of the rows beside the first."""
    half = (len(rows) + 1) // 2
    return [a + b for a, b in zip(rows[:half], [*rows[half:], []], strict=False)]


def _to_height(picture: Tensor, height: int) -> Tensor:
    picture = picture.detach().float().cpu()
    width = max(1, round(picture.shape[2] * height / picture.shape[1]))
    return F.interpolate(picture[None], (height, width), mode="bilinear", antialias=True)[0]
