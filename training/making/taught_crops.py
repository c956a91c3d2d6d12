"""Crops of pictures with a published network's answer, views seen by parallax, rendered views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from data.depth_dataset import change, random_crop
from data.depth_shards import DepthEntry, list_views
from data.files import DataError
from data.random_streams import stream_seed
from engine.settings import load_settings
from making.media import TABLE, Media
from making.teacher_network import STRIDE, resized

LEAST_KNOWN = 0.5
"""Of a view's known part, in a crop of it."""


@dataclass(frozen=True)
class CropSettings:
    """Which pictures, and how they are cut."""

    photos: tuple[str, ...]
    """Folders of JPEGs; those that the evaluation holds out are left out."""
    films: tuple[str, ...] = ()
    """Folders of weak_views.py, for their pictures."""
    views: tuple[str, ...] = ("views",)
    """Folders of render_scenes.py."""
    sizes: tuple[tuple[int, int], ...] = (
        *((192, 320), (192, 320), (224, 384), (192, 288)),
        *((224, 288), (256, 256), (288, 192), (160, 352)),
    )
    """Heights and widths; a batch has one of them."""
    teacher_sizes: tuple[int, ...] = (224, 256, 320, 384)
    """Shorter sides at which the teacher looks at a crop, one of them each time."""
    film_share: float = 0.35
    """Of films among the taught crops."""
    seen: tuple[str, ...] = ()
    """Folders of `weak_views.py --parallax`: pictures whose depth is known in parts."""
    seen_views: int = 0
    """Of these, in a batch."""
    rendered: int = 2
    """Of a batch."""
    least_crop: float = 0.5
    """Smallest crop's share of the largest one that fits."""
    workers: int = 0

    def __post_init__(self) -> None:
        if self.seen_views and not self.seen:
            raise ValueError("seen: expected folders for the batch's seen_views, got none")
        for height, width in self.sizes:
            if height % 32 or width % 32 or min(height, width) < 32:
                raise ValueError(f"sizes: expected multiples of 32, got {height} x {width}")


class TaughtCrops(Dataset):
    """Endless samples: `picture` [3, H, W], `inverse_depth` [1, H, W], `taught`, `weight`.

    All samples of a batch have one size: crops with the teacher's answer, then (taught, too) views
    seen by parallax, NaN where that is not sure, then rendered views. What is drawn
    depends on the seed and the sample's number alone.

    Raises:
        DataError: there are no photographs, or a folder of views has none.
    """

    def __init__(self, settings: CropSettings, teacher: nn.Module, *, batch: int, seed: int = 0):
        self.settings, self.teacher, self.batch, self.seed = settings, teacher, batch, seed
        held_out = load_settings(Media, TABLE).held_out
        folders = (Path(folder) for folder in settings.photos)
        self.photos = [
            path
            for folder in folders
            for path in sorted(folder.glob("*.jpg"))
            if path.name not in held_out
        ]
        if not self.photos:
            raise DataError(f"photos: expected JPEGs in {', '.join(settings.photos)}, got none")
        self.films = [entry for folder in settings.films for entry in list_views(folder)]
        self.seen = [entry for folder in settings.seen for entry in list_views(folder)]
        self.views = [entry for folder in settings.views for entry in list_views(folder)]

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return sample `index`."""
        number, place = divmod(index, self.batch)
        sizes = np.random.default_rng(stream_seed(self.seed, "size", number))
        size = self.settings.sizes[sizes.integers(len(self.settings.sizes))]
        rng = np.random.default_rng(stream_seed(self.seed, "crop", index))
        taught = place < self.batch - self.settings.rendered
        if place < self.batch - self.settings.rendered - self.settings.seen_views:
            picture, inverse = self._taught(size, rng)
        else:
            picture, inverse = _view(self.seen if taught else self.views, size, rng)
        return {
            "picture": torch.from_numpy(change(picture, rng)).permute(2, 0, 1).float().div(255),
            "inverse_depth": inverse,
            "taught": torch.tensor(taught),
            "weight": torch.tensor(1.0),
            "index": torch.tensor(index),
        }

    def _taught(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        part = cut(self._picture(rng), size, self.settings.least_crop, rng)
        sides = self.settings.teacher_sizes
        scale = sides[rng.integers(len(sides))] / min(size) / STRIDE
        whole = torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            height, width = (round(side * scale) * STRIDE for side in size)
            answer = F.interpolate(self.teacher(resized(whole, (height, width))), size,
                                   mode="bilinear")  # fmt: skip
        small = cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA)
        return small, answer[0].clone()

    def _picture(self, rng: np.random.Generator) -> np.ndarray:
        if self.films and rng.random() < self.settings.film_share:
            return self.films[rng.integers(len(self.films))].read().picture
        path = self.photos[rng.integers(len(self.photos))]
        half = rng.random() < 0.6  # smaller pictures are quicker to read, and sharp
        image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{path}: cannot be read")
        return np.ascontiguousarray(image[..., ::-1])


def _view(
    entries: list[DepthEntry], size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, Tensor]:
    view = entries[rng.integers(len(entries))].read()
    least = LEAST_KNOWN * np.isfinite(view.inverse_depth).mean()
    picture, inverse = random_crop(view, 0.6, rng)
    while np.isfinite(inverse).mean() < least:
        picture, inverse = random_crop(view, 0.6, rng)
    picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    inverse = cv2.resize(inverse, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return picture, torch.from_numpy(inverse)[None]


def cut(
    picture: np.ndarray, size: tuple[int, int], least: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a part of `[h, w, 3]` of the shape of `size`, mirrored half of the time."""
    h, w = picture.shape[:2]
    scale = min(h / size[0], w / size[1]) * rng.uniform(least, 1)
    ch, cw = max(8, int(size[0] * scale)), max(8, int(size[1] * scale))
    y, x = int(rng.integers(h - ch + 1)), int(rng.integers(w - cw + 1))
    part = picture[y : y + ch, x : x + cw]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)
