"""What random scenes are made of: furniture, people, animals, trees, houses, small things."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenes.meshes import Mesh
from scenes.renderer import SHADOWS, Item, Scene, moved, rotation, scaled
from scenes.textures import Textures

OWN = -2.0
"""Texture: the mesh's own."""
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Props:
    """What scenes are made of."""

    meshes: list[Mesh]
    textures: Textures


@dataclass
class Builder:
    """Puts things into a scene; all randomness is `rng`'s."""

    props: Props
    rng: np.random.Generator
    scene: Scene

    def uniform(self, low: float, high: float) -> float:
        """Draw from [low, high)."""
        return float(self.rng.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        """Draw with equal chances for equal ratios."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def layer(self, *groups: str) -> float:
        """Return a texture of one of the groups, or none."""
        known = [g for g in groups if self.props.textures.groups.get(g)]
        if not known:
            return -1.0
        return float(self.rng.choice(self.props.textures.groups[str(self.rng.choice(known))]))

    def colour(self, low: float = 0.1, high: float = 1.0) -> Colour:
        """Draw a colour that is not too gaudy."""
        grey = self.uniform(low, high)
        spread = self.rng.exponential(0.07)
        r, g, b = np.clip(grey + self.rng.normal(0, spread, 3), 0.02, 1.3)
        return float(r), float(g), float(b)

    def add(self, mesh: str, matrix: np.ndarray, **style) -> None:
        """Append an item."""
        self.scene.items.append(Item(mesh, matrix, **style))

    def surface(self, *groups: str, repeat: float = 1.0, plain: float = 0.3) -> dict:
        """Return a texture, or a plain colour, tinted, with its repeat and offset."""
        is_plain = self.rng.random() < plain
        return {
            "layer": -1.0 if is_plain else self.layer(*groups),
            "tint": self.colour() if is_plain else self.colour(0.6, 1.3),
            "repeat": (repeat, repeat * self.uniform(0.6, 1.5)),
            "offset": (self.uniform(0, 1), self.uniform(0, 1)),
        }

    def shadow(self, x: float, z: float, radius: float) -> None:
        """Darken the ground around (x, z)."""
        if len(self.scene.shadows) < SHADOWS:
            self.scene.shadows.append((x, z, max(0.05, radius)))

    # Things that stand at (x, z) on the height y.

    def furniture(self, x: float, z: float, y: float = 0.0, most: float = 4.0) -> None:
        """Put a mesh of a library, in its true size within a third, turned at random."""
        fitting = [m for m in self.props.meshes if max(m.size) < most]
        if not fitting:
            return self.crate(x, z, y, self.uniform(0.3, 0.9))
        mesh = fitting[int(self.rng.integers(len(fitting)))]
        size = self.uniform(0.75, 1.35)
        if max(mesh.size) < 0.4 and y == 0:  # a trinket: onto a pedestal
            y = self.uniform(0.4, 1.0)
            self.crate(x, z, 0.0, y, wide=self.uniform(0.3, 0.8))
        matrix = moved(x, y, z) @ rotation(1, self.uniform(0, 6.3)) @ scaled(size, size, size)
        own = self.rng.random() < 0.7
        style = {"layer": OWN} if own else self.surface("photo", "detail", "pattern")
        self.add(mesh.name, matrix, **style)
        self.shadow(x, z, 0.5 * size * max(mesh.size[0], mesh.size[2]))
        return None

    def trinket(self, x: float, z: float, y: float) -> None:
        """Put a small thing: a mesh at a small size, a ball, a box, a bottle or a thin stick."""
        size = self.log_uniform(0.06, 0.5)
        kind = self.rng.random()
        style = self.surface("photo", "detail", "pattern", plain=0.4)
        turn = moved(x, y, z) @ rotation(1, self.uniform(0, 6.3))
        if kind < 0.55 and self.props.meshes:
            mesh = self.props.meshes[int(self.rng.integers(len(self.props.meshes)))]
            factor = size / max(mesh.size)
            own = {"layer": OWN} if self.rng.random() < 0.6 else style
            self.add(mesh.name, turn @ scaled(factor, factor, factor), **own)
        elif kind < 0.65:
            self.add("ball", turn @ moved(0, size / 2, 0) @ scaled(size, size, size), **style)
        elif kind < 0.8:
            thick = size * self.uniform(0.05, 0.6)
            self.add("cylinder", turn @ scaled(thick, size, thick), **style)
        elif kind < 0.9:
            leaf = {"layer": self.layer("leaves"), "tint": self.colour(0.5, 1.1)}
            for _ in range(int(self.rng.integers(3, 12))):  # a plant's blades
                blade = rotation(1, self.uniform(0, 6.3)) @ rotation(0, self.uniform(-0.9, 0.9))
                flat = scaled(0.15 * size, size, 0.02 * size)
                self.add("ball", turn @ blade @ moved(0, size / 2, 0) @ flat, **leaf)
        else:
            box = scaled(size * self.uniform(0.2, 1), size, size * self.uniform(0.1, 1))
            self.add("box", turn @ box, **style)

    def crate(self, x: float, z: float, y: float, high: float, wide: float | None = None) -> None:
        """Put a box."""
        w = wide or high * self.uniform(0.5, 1.6)
        d = w * self.uniform(0.5, 1.5)
        turn = rotation(1, self.uniform(0, 6.3))
        style = self.surface("photo", "detail", "pattern")
        self.add("box", moved(x, y, z) @ turn @ scaled(w, high, d), **style)
        self.shadow(x, z, 0.6 * w)

    def limb(self, base: np.ndarray, at: tuple, size: tuple, tilt: float = 0.0, **style) -> None:
        """Put an ellipsoid that hangs down from `at`, swung by `tilt`."""
        hang = rotation(0, tilt) @ moved(0, -size[1] / 2, 0)
        self.add("ball", base @ moved(*at) @ hang @ scaled(*size), **style)

    def person(self, x: float, z: float, y: float = 0.0) -> None:
        """Put a human figure of ellipsoids, standing or walking."""
        size = self.uniform(0.85, 1.1) * (1.0 if self.rng.random() < 0.85 else 0.65)
        base = moved(x, y, z) @ rotation(1, self.uniform(0, 6.3)) @ scaled(size, size, size)
        skin: dict[str, Any] = {
            "tint": tuple(np.array((0.95, 0.72, 0.58)) * self.uniform(0.3, 1.05))
        }
        shirt = self.surface("detail", "pattern", "photo", plain=0.4)
        trousers = self.surface("detail", "pattern", plain=0.6)
        hair: dict[str, Any] = {"tint": self.colour(0.02, 0.5), "layer": self.layer("detail")}
        swing = self.uniform(-0.5, 0.5)
        width = self.uniform(0.36, 0.5)
        for side in (-1, 1):
            self.limb(base, (side * 0.1, 0.92, 0), (0.19, 0.95, 0.2), side * swing, **trousers)
            lift = self.uniform(-0.6, 0.6) if self.rng.random() < 0.8 else self.uniform(-2, 2)
            arm = (side * (width / 2 + 0.03), 1.45, 0)
            self.limb(base, arm, (0.12, 0.66, 0.13), lift, **shirt)
        self.limb(base, (0, 1.52, 0), (width, 0.72, 0.27), **shirt)
        self.limb(base, (0, 1.56, 0), (0.12, 0.16, 0.12), **skin)
        self.limb(base, (0, 1.76, 0.0), (0.16, 0.25, 0.2), **skin)
        self.limb(base, (0, 1.79, -0.025), (0.19, self.uniform(0.12, 0.3), 0.2), **hair)
        self.shadow(x, z, 0.35)

    def animal(self, x: float, z: float) -> None:
        """Put a four-legged figure of ellipsoids."""
        size = self.log_uniform(0.3, 1.8)
        base = moved(x, 0, z) @ rotation(1, self.uniform(0, 6.3)) @ scaled(size, size, size)
        fur = self.surface("detail", "photo", plain=0.4)
        legs = self.uniform(0.3, 0.6)
        for front in (-1, 1):
            for side in (-1, 1):
                at = (0.13 * side, legs + 0.1, 0.35 * front)
                self.limb(base, at, (0.12, legs + 0.12, 0.12), self.uniform(-0.3, 0.3), **fur)
        self.limb(base, (0, legs + 0.4, 0), (0.4, 0.45, 1.1), **fur)
        up = self.uniform(0.1, 0.6)
        self.limb(base, (0, legs + 0.4 + up, 0.5), (0.18, 0.3 + up, 0.2), 0.5, **fur)
        self.limb(base, (0, legs + 0.5 + up, 0.65), (0.22, 0.24, 0.38), **fur)
        self.shadow(x, z, 0.5 * size)

    def tree(self, x: float, z: float, y: float = 0.0) -> None:
        """Put a trunk with crowns, or a bush, or a fir."""
        high = self.log_uniform(1.0, 14.0)
        leaf = {"layer": self.layer("leaves"), "tint": self.colour(0.5, 1.1), "repeat": (2.0, 2.0)}
        bark = self.surface("detail", "pattern", plain=0.5)
        thick = high * self.uniform(0.02, 0.07)
        self.add("cylinder", moved(x, y, z) @ scaled(thick, high * 0.7, thick), **bark)
        is_fir = self.rng.random() < 0.25
        for i in range(int(self.rng.integers(3, 7))):
            wide = high * (self.uniform(0.2, 0.5) if not is_fir else 0.5 - 0.08 * i)
            side = 0.0 if is_fir else 0.18 * high
            at = (
                x + self.uniform(-side, side),
                y + high * (self.uniform(0.55, 0.95) if not is_fir else 0.3 + 0.14 * i),
                z + self.uniform(-side, side),
            )
            size = scaled(wide, wide * self.uniform(0.6, 1.1), wide)
            self.add("ball", moved(*at) @ size, **leaf)
        self.shadow(x, z, 0.25 * high)

    def house(self, x: float, z: float) -> None:
        """Put a block with windows."""
        w, h, d = self.uniform(5, 16), self.log_uniform(3, 30), self.uniform(5, 16)
        style = self.surface("pattern", "photo", repeat=self.uniform(1, 4), plain=0.15)
        turn = rotation(1, self.uniform(-0.3, 0.3))
        self.add("box", moved(x, 0, z) @ turn @ scaled(w, h, d), **style)

    def pole(self, x: float, z: float) -> None:
        """Put a post, sometimes with a board."""
        high, thick = self.uniform(1, 6), self.uniform(0.04, 0.2)
        style = self.surface("detail", plain=0.7)
        self.add("cylinder", moved(x, 0, z) @ scaled(thick, high, thick), **style)
        if self.rng.random() < 0.4:
            size = scaled(self.uniform(0.3, 1.5), self.uniform(0.3, 1), 0.04)
            style = self.surface("photo", "pattern")
            turn = rotation(1, self.uniform(-0.7, 0.7))
            self.add("box", moved(x, high - 0.5, z) @ turn @ size, **style)

    def cutout(self, x: float, z: float, yaw: float) -> None:
        """Put a photograph cut along a random outline, upright."""
        size = self.log_uniform(0.4, 2.5)
        turn = rotation(1, yaw + self.uniform(-0.4, 0.4))
        matrix = moved(x, -0.1 * size, z) @ turn @ scaled(size * self.uniform(0.5, 1.5), size, 1)
        self.add("quad", matrix, layer=self.layer("cutout"), tint=self.colour(0.7, 1.2))
        self.shadow(x, z, 0.4 * size)
