"""Textures of rendered scenes: photographs, patterns, foliage, skies; `[S, S, 4]` uint8."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

SIDE = 256
PATTERNS, LEAVES, CUTOUTS, SKIES, RIDGES = 64, 24, 96, 24, 12
"""How many of each are drawn."""
SMOOTH = 8.0
"""Detail in levels up to which the upper third of a photograph passes for a sky."""


@dataclass
class Textures:
    """All layers of a texture array, and which of them are what."""

    layers: list[np.ndarray] = field(default_factory=list)
    groups: dict[str, list[int]] = field(default_factory=dict)

    def add(self, group: str, image: np.ndarray) -> int:
        """Append `[h, w, 3 or 4]` RGB(A) uint8 to a group; return its layer."""
        if image.shape[2] == 3:
            image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
        if image.shape[:2] != (SIDE, SIDE):
            image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        self.layers.append(np.ascontiguousarray(image))
        self.groups.setdefault(group, []).append(len(self.layers) - 1)
        return len(self.layers) - 1


def build_textures(photos: list[Path], seed: int) -> Textures:
    """Return photographs' parts ("photo", "detail") and everything that is drawn."""
    rng = np.random.default_rng([seed, 77])
    textures = Textures()
    for path in photos:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            continue
        image = np.ascontiguousarray(image[..., ::-1])
        textures.add("photo", _part(image, rng, 0.9))
        textures.add("detail", _part(image, rng, 0.35))
        if rng.random() < CUTOUTS / max(1, len(photos)):
            part = cv2.resize(_part(image, rng, 0.7), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            textures.add("cutout", np.dstack([part, _blob(rng)]))
        top = cv2.resize(image[: image.shape[0] // 3], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        if np.abs(cv2.Laplacian(top, cv2.CV_32F)).mean() < SMOOTH:
            textures.add("sky", top)
    for _ in range(PATTERNS):
        textures.add("pattern", _pattern(rng))
    for _ in range(LEAVES):
        textures.add("leaves", _leaves(rng))
    for _ in range(SKIES):
        textures.add("sky", _sky(rng))
    for _ in range(RIDGES):
        textures.add("ridge", _ridge(rng))
    return textures


def noise(rng: np.random.Generator, octaves: int = 5, power: float = 1.0) -> np.ndarray:
    """Return fractal noise `[S, S]` in [0, 1]."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(octaves):
        cells = rng.random((2 ** (octave + 2), 2 ** (octave + 2)), dtype=np.float32)
        total += cv2.resize(cells, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) / 2 ** (
            octave * power
        )
    low, high = total.min(), total.max()
    return (total - low) / (high - low)


def _part(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    h, w = image.shape[:2]
    side = max(8, int(min(h, w) * share * rng.uniform(0.7, 1.0)))
    y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
    return image[y : y + side, x : x + side]


def _colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first = rng.uniform(20, 235, 3)
    second = np.clip(first + rng.normal(0, 50, 3), 0, 255)
    return first, second


def _mix(field_: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a + (b - a) * field_[..., None]).clip(0, 255).astype(np.uint8)


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """Noise, stripes, tiles, bricks, planks or windows in two or three colours."""
    a, b = _colours(rng)
    grain = noise(rng, 6, 0.5)
    kind = rng.integers(6)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    n = int(rng.integers(2, 9))
    if kind == 0:
        return _mix(grain, a, b)
    if kind == 1:
        field_ = np.sin(2 * np.pi * n * (x if rng.random() < 0.5 else y)) * 0.5 + 0.5
        return _mix(0.8 * field_ + 0.2 * grain, a, b)
    if kind == 2:
        field_ = ((x * n).astype(int) + (y * n).astype(int)) % 2
        return _mix(0.8 * field_ + 0.2 * grain, a, b)
    rows = (y * n * 2).astype(int)
    u = (x * n + 0.5 * (rows % 2) * (kind == 3)) % 1
    v = (y * n * 2) % 1
    if kind == 5:  # a front with windows
        u, v = (x * n) % 1, (y * n) % 1
        window = (abs(u - 0.5) < rng.uniform(0.2, 0.4)) & (abs(v - 0.5) < rng.uniform(0.2, 0.4))
        lit = noise(rng, 4, 0.3)
        front = _mix(grain * 0.4, a, b)
        glass = _mix(lit, rng.uniform(0, 90, 3), rng.uniform(60, 230, 3))
        return np.where(window[..., None], glass, front)
    joint = (u < 0.06) | (v < 0.1)
    return np.where(joint[..., None], _mix(grain, b, a * 0.6), _mix(grain * 0.6, a, b))


def _leaves(rng: np.random.Generator) -> np.ndarray:
    dark = rng.uniform((10, 25, 5), (70, 90, 50))
    bright = dark + rng.uniform(40, 120) * rng.uniform((0.4, 0.8, 0.1), (1.0, 1.0, 0.5))
    colour = _mix(noise(rng, 6, 0.3), dark, bright)
    alpha = noise(rng, 6, 0.5) > rng.uniform(0.3, 0.5)
    return np.dstack([colour, (alpha * 255).astype(np.uint8)])


def _blob(rng: np.random.Generator) -> np.ndarray:
    """A random star-shaped outline that stands on the lower border."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE * 2 - 1
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    edge = np.full_like(angle, 0.7)
    for k in range(1, 8):
        edge += 0.25 * rng.random() / k * np.sin(k * angle + 6.28 * rng.random())
    return ((radius < edge) * 255).astype(np.uint8)


def _sky(rng: np.random.Generator) -> np.ndarray:
    top = rng.uniform((20, 40, 80), (150, 190, 255))
    bottom = np.clip(top + rng.uniform(20, 130), 0, 255) * rng.uniform((0.9, 0.85, 0.7), (1, 1, 1))
    if rng.random() < 0.2:  # dusk or night
        top, bottom = top * 0.25, bottom * rng.uniform(0.3, 0.8)
    y = np.linspace(0, 1, SIDE)[:, None].repeat(SIDE, 1)
    sky = _mix(y, top, bottom).astype(np.float32)
    clouds = np.clip((noise(rng, 5, 0.8) - rng.uniform(0.3, 0.8)) * 3, 0, 1)[..., None]
    return (sky + (rng.uniform(150, 255) - sky) * clouds * 0.8).astype(np.uint8)


def _ridge(rng: np.random.Generator) -> np.ndarray:
    """Far hills or a skyline below a ragged line."""
    line = noise(rng, 6, rng.uniform(0.6, 1.2))[SIDE // 2]
    if rng.random() < 0.3:
        line = np.repeat(line[:: (step := int(rng.integers(6, 20)))], step)[:SIDE]
        line = np.pad(line, (0, SIDE - len(line)), mode="edge")
    y = np.linspace(1, 0, SIDE)[:, None]
    a, b = _colours(rng)
    colour = _mix(noise(rng, 6, 0.4), a * 0.6, b * 0.7)
    return np.dstack([colour, ((y < line * 0.95 + 0.03) * 255).astype(np.uint8)])
