"""Draw lines of text, white with a dark outline, and put them into both eyes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from ..errors import VideoError
from ..types import Caption, Video

_log = logging.getLogger(__name__)
_SIZE = 1 / 20  # of the frame's height
_OUTLINE = 1 / 12  # of the size
_EDGE = 1 / 20  # of the frame's height, below and above the text
_WIDEST = 0.9  # of the frame's width
_SPACING = 0.2  # of the size, between lines
_SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial.ttf", "segoeui.ttf"),
    *("NotoSansCJK-Regular.ttc", "msyh.ttc", "msgothic.ttc", "malgun.ttf", "PingFang.ttc"),
    *("Arial Unicode.ttf", "unifont.ttf"),
)
_NOWHERE = "\U0010ffff"  # no font has it, so that it shows what stands for a missing sign


@dataclass(frozen=True)
class CaptionStyle:
    """How text looks."""

    font: str | None = None
    """A font file; None is Pillow's own."""
    size: float = 1.0
    """Relative to the usual size."""
    white: float = 1.0
    """The display-encoded value of white: less where 1 is a lamp, as in PQ and HLG."""

    def font_at(self, height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        """Return the font for frames of a height."""
        pixels = max(8.0, self.size * _SIZE * height)
        return _font(self.font, round(pixels))


@dataclass(frozen=True)
class Bitmap:
    """Drawn text: `alpha` and `light` are `[h, w]`, the latter multiplied by the former."""

    alpha: Tensor
    light: Tensor
    x: int
    """Of its left side in a frame, where it has no disparity."""
    y: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, in pixels of the frame."""
        height, width = self.alpha.shape
        return self.x, self.y, self.x + width, self.y + height


def draw_captions(
    left: Video, right: Video, captions: Iterable[Caption], style: CaptionStyle
) -> tuple[Video, Video]:
    """Draw captions into both views `[1, 3, H, W]`; all else stays as it is, to the bit."""
    height, width = left.shape[-2:]
    for caption in captions:
        bitmap = bitmap_of(caption.text, caption.top, (width, height), style)
        left = _put(left, bitmap, caption.disparity / 2)
        right = _put(right, bitmap, -caption.disparity / 2)
    return left, right


@lru_cache(maxsize=8)
def bitmap_of(text: str, top: bool, size: tuple[int, int], style: CaptionStyle) -> Bitmap:
    """Draw a text for frames of a size (width, height)."""
    width, height = size
    font = style.font_at(height)
    pixels = getattr(font, "size", 10)
    outline = max(1, round(pixels * _OUTLINE))
    lines = "\n".join(_wrapped(text, font, _WIDEST * width - 2 * outline))
    how = {"font": font, "spacing": _SPACING * pixels, "align": "center", "stroke_width": outline}
    measure = ImageDraw.Draw(Image.new("L", (1, 1)))
    x0, y0, x1, y1 = measure.multiline_textbbox((0, 0), lines, **how)
    w, h = max(1, math.ceil(x1 - x0)), max(1, math.ceil(y1 - y0))
    alpha, light = Image.new("L", (w, h)), Image.new("L", (w, h))
    for image, stroke in ((alpha, 255), (light, 0)):
        draw = ImageDraw.Draw(image)
        draw.multiline_text((-x0, -y0), lines, fill=255, stroke_fill=stroke, **how)
    edge = round(_EDGE * height)
    y = edge if top else height - edge - h
    return Bitmap(_plane(alpha), _plane(light) * style.white, (width - w) // 2, max(0, y))


def _plane(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).float() / 255


def _put(view: Video, bitmap: Bitmap, shift: float) -> Video:
    """Draw a bitmap `shift` pixels to the right of its place; parts outside are cut off."""
    whole = math.floor(shift)
    share = shift - whole
    alpha, light = (_moved(plane, share).to(view) for plane in (bitmap.alpha, bitmap.light))
    x, y = bitmap.x + whole, bitmap.y
    height, width = view.shape[-2:]
    columns = slice(max(0, -x), max(0, min(alpha.shape[1], width - x)))
    rows = slice(0, max(0, min(alpha.shape[0], height - y)))
    alpha, light = alpha[rows, columns], light[rows, columns]
    if not alpha.numel():
        return view
    drawn = view.clone()
    x = max(0, x)
    part = drawn[..., y : y + alpha.shape[0], x : x + alpha.shape[1]]
    covered = alpha > 0  # elsewhere nothing is computed, so that no bit changes
    part.copy_(torch.where(covered, part * (1 - alpha) + light, part))
    return drawn


def _moved(plane: Tensor, share: float) -> Tensor:
    """Move a plane to the right by a share of a pixel; it grows by a column."""
    here, there = F.pad(plane, (0, 1)), F.pad(plane, (1, 0))
    return here * (1 - share) + there * share


def _wrapped(text: str, font, most: float) -> list[str]:
    """Break lines that are too wide at spaces, or between letters where there is none."""
    lines: list[str] = []
    for line in text.splitlines():
        current = ""
        for word in line.split(" "):
            longer = f"{current} {word}" if current else word
            if font.getlength(longer) <= most:
                current = longer
                continue
            if current:
                lines.append(current)
            while font.getlength(word) > most and len(word) > 1:
                fits = max(1, int(len(word) * most / font.getlength(word)))
                lines.append(word[:fits])
                word = word[fits:]
            current = word
        lines.append(current)
    return lines


@lru_cache(maxsize=4)
def _font(name: str | None, pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name is None:
        return ImageFont.load_default(pixels)
    try:
        return ImageFont.truetype(name, pixels)
    except OSError as error:
        raise VideoError(f"{name}: cannot be read as a font ({error})") from error


def choose_font(letters: Iterable[str], wanted: str | None) -> str | None:
    """Return the font that has all letters: the wanted one, Pillow's own, or one of the system's.

    A warning names the letters that it lacks, or the system's font that is taken.

    Raises:
        VideoError: the wanted font cannot be read.
    """
    letters = sorted(letters)
    if wanted is not None or not (lacking := _lacking(None, letters)):
        lacking = _lacking(wanted, letters)
        if lacking:
            _log.warning("%s: has no sign for %s", wanted, _some(lacking))
        return wanted
    for name in _SYSTEM_FONTS:
        try:
            found = ImageFont.truetype(name, 20)
        except OSError:
            continue
        if not _lacking(name, letters):
            _log.warning("subtitles: drawn with %s", found.path)
            return name
    _log.warning("subtitles: no font here has a sign for %s; name one that has", _some(lacking))
    return None


def _lacking(name: str | None, letters: Sequence[str]) -> list[str]:
    font = _font(name, 20)

    def sign(letter: str) -> bytes:
        return bytes(cast(Any, font.getmask(letter)))

    missing = sign(_NOWHERE)
    return [letter for letter in letters if sign(letter) == missing]


def _some(letters: Sequence[str]) -> str:
    return " ".join(letters[:8]) + (" ..." if len(letters) > 8 else "")
