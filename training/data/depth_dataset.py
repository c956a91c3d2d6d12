"""Pictures with inverse depth for training, changed as films differ; each drawn by its number."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.depth_shards import DepthEntry, DepthView, list_views
from data.random_streams import shuffled, stream_seed

HELD_OUT_EVERY = 400
"""Views between two that no training sees."""


@dataclass(frozen=True)
class DepthDataSettings:
    """Which views, and how they are cut."""

    views: tuple[str, ...] = ("views",)
    """Folders of render_scenes.py."""
    height: int = 192
    width: int = 320
    least_crop: float = 0.6
    """Smallest crop's share of a view's sides."""
    changes: bool = True
    """Of colour, sharpness and noise."""
    workers: int = 0

    def __post_init__(self) -> None:
        if self.height % 32 or self.width % 32 or min(self.height, self.width) < 32:
            raise ValueError(
                f"height, width: expected multiples of 32, got {self.height}, {self.width}"
            )
        if not 0 < self.least_crop <= 1:
            raise ValueError(f"least_crop: expected above 0, at most 1, got {self.least_crop}")


class DepthDataset(Dataset):
    """Endless samples: `picture` [3, H, W] in [0, 1], `inverse_depth` [1, H, W], scalars.

    These are `weight` and `soft`, as in `DepthView`. Unknown inverse depth is NaN. The order and
    all changes depend on the seed and the number alone.

    Raises:
        DataError: there are no views.
    """

    def __init__(self, settings: DepthDataSettings, *, seed: int = 0, held_out: bool = False):
        self.settings, self.seed, self.held_out = settings, seed, held_out
        entries = [entry for folder in settings.views for entry in list_views(folder)]
        kept = [e for i, e in enumerate(entries) if (i % HELD_OUT_EVERY == 0) == held_out]
        self.entries: list[DepthEntry] = kept or entries

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return sample `index`; held-out ones are whole and unchanged."""
        view = self._entry(index).read()
        rng = np.random.default_rng(stream_seed(self.seed, "view", index))
        settings = self.settings
        if self.held_out:
            picture = view.picture
            inverse = view.inverse_depth
        else:
            picture, inverse = random_crop(view, settings.least_crop, rng)
        size = (settings.width, settings.height)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        inverse = cv2.resize(inverse, size, interpolation=cv2.INTER_NEAREST_EXACT)
        if settings.changes and not self.held_out:
            picture = change(picture, rng)
        return {
            "picture": torch.from_numpy(picture).permute(2, 0, 1).float().div(255),
            "inverse_depth": torch.from_numpy(inverse).unsqueeze(0),
            "weight": torch.tensor(view.weight),
            "soft": torch.tensor(view.soft),
            "index": torch.tensor(index),
        }

    def _entry(self, index: int) -> DepthEntry:
        """Go through all views in a new order each time around; held-out ones as they are."""
        count = len(self.entries)
        place = index % count if self.held_out else shuffled(index, count, self.seed, "order")
        return self.entries[place]


def random_crop(
    view: DepthView, least: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of the picture and of its inverse depth, mirrored half of the time."""
    h, w = view.inverse_depth.shape
    share = rng.uniform(least, 1.0)
    stretch = rng.uniform(0.85, 1.0)
    ch, cw = (share, share * stretch) if rng.random() < 0.5 else (share * stretch, share)
    ch, cw = max(2, round(ch * h)), max(2, round(cw * w))
    y, x = int(rng.integers(h - ch + 1)), int(rng.integers(w - cw + 1))
    picture = view.picture[y : y + ch, x : x + cw]
    inverse = view.inverse_depth[y : y + ch, x : x + cw]
    if rng.random() < 0.5:
        picture, inverse = picture[:, ::-1], inverse[:, ::-1]
    return np.ascontiguousarray(picture), np.ascontiguousarray(inverse)


def change(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change colours, sharpness, noise and compression of `[h, w, 3]` uint8, as films differ."""
    x = picture.astype(np.float32) / 255
    x = x ** np.exp(rng.normal(0, 0.25))
    grey = x @ np.array((0.299, 0.587, 0.114), np.float32)
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.3, 1.5)
    x = grey[..., None] + (x - grey[..., None]) * np.float32(saturation)
    x = x @ (np.eye(3) + rng.normal(0, 0.06, (3, 3))).astype(np.float32)
    middle = float(x.mean())
    x = middle + (x - middle) * np.float32(rng.uniform(0.6, 1.4)) + np.float32(rng.normal(0, 0.06))
    x *= np.float32(np.exp(rng.normal(0, 0.15)))
    if rng.random() < 0.12:  # night
        x *= np.float32(rng.uniform(0.15, 0.6))
    h, w = x.shape[:2]
    if rng.random() < 0.25:  # scaled up from a smaller picture
        small = rng.uniform(0.35, 0.8)
        x = cv2.resize(x, (max(1, int(w * small)), max(1, int(h * small))))
        x = cv2.resize(x, (w, h), interpolation=cv2.INTER_CUBIC)
    elif rng.random() < 0.4:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.6))
    elif rng.random() < 0.2:  # sharpened
        x = x + rng.uniform(0.3, 1.2) * (x - cv2.GaussianBlur(x, (0, 0), 1.0))
    if rng.random() < 0.5:
        grain = rng.standard_normal((h, w, 1 if rng.random() < 0.5 else 3), dtype=np.float32)
        x = x + grain * np.float32(rng.exponential(0.02))
    x = (x * 255).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        x = cv2.imdecode(cv2.imencode(".jpg", x, quality)[1], cv2.IMREAD_COLOR)
    return np.ascontiguousarray(x)
