"""A drawing of a few shapes, as SVG and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Point: TypeAlias = tuple[float, float]
Anchor: TypeAlias = Literal["start", "middle", "end"]
_PILLOW_ANCHOR = {"start": "ls", "middle": "ms", "end": "rs"}


@dataclass
class Drawing:
    """Shapes on white, the later ones on top; x to the right, y down, in pixels.

    Example:
        >>> drawing = Drawing(40, 20)
        >>> drawing.area([(0, 0), (20, 0), (20, 20)], "#ff0000")
        >>> drawing.picture().shape
        torch.Size([3, 20, 40])
    """

    width: int
    height: int
    shapes: list[tuple] = field(default_factory=list)

    def area(self, points: Sequence[Point], color: str) -> None:
        """Add a filled polygon."""
        self.shapes.append(("area", list(points), color))

    def line(self, points: Sequence[Point], color: str, width: float = 1.0) -> None:
        """Add a polyline."""
        self.shapes.append(("line", list(points), color, width))

    def text(
        self, at: Point, text: str, size: int = 14, color: str = "#222222", anchor: Anchor = "start"
    ) -> None:
        """Add a line of text; `at` is on its baseline."""
        self.shapes.append(("text", at, text, size, color, anchor))

    def svg(self) -> str:
        """Return it as an SVG element."""
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
                 ' font-family="sans-serif" role="img">']  # fmt: skip
        for kind, *what in self.shapes:
            if kind == "text":
                (x, y), text, size, color, anchor = what
                parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
                             f'text-anchor="{anchor}">{escape(text)}</text>')  # fmt: skip
                continue
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in what[0])
            if kind == "area":
                parts.append(f'<polygon points="{points}" fill="{what[1]}"/>')
            else:
                parts.append(f'<polyline points="{points}" fill="none" stroke="{what[1]}" '
                             f'stroke-width="{what[2]}"/>')  # fmt: skip
        return "\n".join([*parts, "</svg>"])

    def picture(self) -> Tensor:
        """Return it as a picture `[3, height, width]` in [0, 1]."""
        image = Image.new("RGB", (self.width, self.height), "white")
        draw = ImageDraw.Draw(image)
        for kind, *what in self.shapes:
            if kind == "area":
                draw.polygon(what[0], fill=what[1])
            elif kind == "line":
                draw.line(what[0], fill=what[1], width=max(1, round(what[2])))
            else:
                at, text, size, color, anchor = what
                font = ImageFont.load_default(size)
                draw.text(at, text, fill=color, font=font, anchor=_PILLOW_ANCHOR[anchor])
        return torch.from_numpy(np.array(image)).movedim(-1, 0).float() / 255
