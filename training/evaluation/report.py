"""Tables and pictures of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.clips import Clip
from evaluation.scores import Scores

Means = Mapping[str, Mapping[str, Scores]]
"""kind of clip -> row -> measure -> mean."""

COLUMNS = {
    "psnr_band": ("PSNR: edge band", 2),
    "psnr_band_known": ("its known pixels", 2),
    "psnr_frame": ("frame", 2),
    "st_lpips_frame": ("ST-LPIPS", 4),
    "white_kept": ("white kept, %", 1),
    "outline_kept": ("outline kept, %", 1),
    "change_mean": ("change along the flow: mean", 2),
    "change_99": ("99th percentile", 1),
    "psnr_full": ("PSNR", 2),
    "psnr_hole": ("hole", 2),
    "psnr_ring": ("ring", 2),
    "ssim_full": ("SSIM", 4),
    "ssim_hole": ("hole", 3),
    "ssim_ring": ("ring", 3),
    "lpips_full": ("LPIPS", 4),
    "st_lpips_full": ("ST-LPIPS", 4),
    "st_lpips_hole": ("hole", 4),
    "st_lpips_ring": ("ring", 4),
    "siou": ("SIoU", 3),
    "temporal_full": ("temporal error", 2),
    "temporal_hole": ("hole", 2),
    "seam": ("seam", 2),
    "drift_mean_hole": ("colour in holes: mean", 2),
    "drift_std_hole": ("std", 2),
    "drift_mean_known": ("outside: mean", 2),
    "drift_std_known": ("std", 2),
    "known_exact": ("known exact, %", 2),
    "tokens_kept": ("tokens kept, %", 1),
    "ms_frame": ("ms a frame", 1),
    "ms_dit": ("its DiT", 1),
    "ms_vae": ("its VAE", 1),
}
"""Title and decimals of each measure."""
PERCENT = ("known_exact", "tokens_kept", "white_kept", "outline_kept")
LOST = ("psnr_hole", "ssim_hole", "st_lpips_hole", "temporal_hole")
TILE = 160
"""Side of a crop, in pixels."""
HEADER = 18


def tables(means: Means, counts: Mapping[str, int]) -> str:
    """Return a Markdown table for each kind of clip, with the number of clips."""
    parts = []
    for kind, rows in means.items():
        columns = [c for c in COLUMNS if any(c in scores for scores in rows.values())]
        lines = [
            f"**{kind}** ({counts[kind]})\n",
            "| fill | " + " | ".join(COLUMNS[c][0] for c in columns) + " |",
            "|---" * (1 + len(columns)) + "|",
        ]
        for row, scores in rows.items():
            cells = [_cell(c, scores.get(c, math.nan)) for c in columns]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def lost_table(means: Means, pairs: Sequence[tuple[str, str]]) -> str:
    """Return what each sparse row loses against its dense one, or "" where there is no pair."""
    lines = []
    for kind, rows in means.items():
        for sparse, dense in pairs:
            lost = {c: rows[sparse][c] - rows[dense][c] for c in LOST if c in rows[sparse]}
            cells = [_cell(c, lost.get(c, math.nan), "+") for c in LOST]
            kept = _cell("tokens_kept", rows[sparse].get("tokens_kept", math.nan))
            lines.append(f"| {kind} | {sparse} | {kept} | " + " | ".join(cells) + " |")
    if not lines:
        return ""
    titles = "hole PSNR | hole SSIM | hole ST-LPIPS | hole temporal error"
    head = [
        "**Sparse minus dense**\n",
        f"| clips | fill | tokens kept, % | {titles} |",
        "|---" * 7 + "|",
    ]
    return "\n".join([*head, *lines])


def _cell(column: str, value: float, sign: str = "-") -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞"
    return f"{value * (100 if column in PERCENT else 1):{sign}.{COLUMNS[column][1]}f}"


def plain(value: object) -> object:
    """Return what JSON can hold: NaN becomes null, infinity "inf"."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf"
    return str(value) if isinstance(value, Path) else value


def busiest_window(mask: Tensor, size: int = TILE, margin: int = 64) -> tuple:
    """Return the index of the middle frame's square with the most holes, off the side borders."""
    middle = len(mask) // 2
    height, width = mask.shape[-2:]
    size = min(size, height, width)
    margin = margin if width >= size + 2 * margin else 0
    inner = mask[middle : middle + 1, :, :, margin : width - margin]
    count = F.avg_pool2d(inner, size, 16)[0, 0]
    y, x = (16 * i for i in divmod(int(count.argmax()), count.shape[1]))
    return (
        middle,
        slice(None),
        slice(y, y + size),
        slice(margin + x, margin + x + size),
    )


def picture_row(clip: Clip, fills: Mapping[str, Tensor]) -> np.ndarray:
    """Return one clip's crops side by side `[h, w, 3]` uint8: input, mask, each fill, truth."""
    tiles = {"input": clip.warped, "holes": clip.mask.expand_as(clip.warped), **fills}
    tiles["truth"] = clip.truth
    return tile_row(f"{clip.kind}: {clip.name}", tiles, busiest_window(clip.measured))


def tile_row(title: str, tiles: Mapping[str, Tensor], window: tuple) -> np.ndarray:
    """Return the window of each of the clips `[T, 3, H, W]` side by side `[h, w, 3]` uint8."""
    row = np.concatenate([_titled(tile[window], name) for name, tile in tiles.items()], axis=1)
    strip = np.full((HEADER, row.shape[1], 3), 255, np.uint8)
    return np.concatenate([_write(strip, title), row])


def write_grid(path: Path, rows: Sequence[np.ndarray]) -> None:
    """Write the rows one below the other, as the suffix of `path` says."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0))) for r in rows]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(padded), cv2.COLOR_RGB2BGR))


def _titled(tile: Tensor, title: str) -> np.ndarray:
    picture = (tile.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    strip = np.full((HEADER, picture.shape[1], 3), 230, np.uint8)
    return np.concatenate([_write(strip, title), picture])


def _write(strip: np.ndarray, text: str) -> np.ndarray:
    ascii_text = text.encode("ascii", "replace").decode()
    return cv2.putText(strip, ascii_text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
