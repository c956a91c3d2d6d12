"""What becomes of silhouettes in right eyes: a subtitle, a cartoon's outline, contours that crawl.

No truth is needed: a letter's white stays white, an outline stays whole, and a contour moves along
with its thing. docs/evaluation.md says what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dreamstereo_core import ConvertOptions, DepthEstimator, Inpainter, VideoError, read_frames
from dreamstereo_core.depth import with_depth
from dreamstereo_core.optical_flow import warp
from dreamstereo_core.shots import ShotDetector, find_shots
from dreamstereo_core.stream import Frame
from dreamstereo_core.types import InverseDepth, Video
from evaluation.clips import PHOTOS, Selection, real_videos
from evaluation.metrics import motion
from evaluation.report import tile_row
from evaluation.right_eye import made_eyes, shrink
from evaluation.scores import Scores

Measured = tuple[str, str, dict[str, Scores], np.ndarray | None]
"""Kind, name, row -> figures, and a row of pictures."""
SUBTITLE = ("What the letters say may move;", "but none of them comes apart.")
DIM = 0.45
"""Brightness of the picture behind a subtitle, so that its white is all that is more than half
white."""
CARTOON = (640, 360)
RADIUS, STROKE = 80.0, 2.0
"""Of the cartoon's disc and of its outline, which lies within the disc; in pixels."""
INK, DISC, GROUND = 0.05, 0.9, 0.6
SOFT = 1.5
"""Deviation of the blur of the cartoon's depth, in pixels at 384 columns."""
SOURCE = "(source)"
CONVERGENCE = 0.5
_ANGLES = 1440


def measure_silhouettes(
    videos: Path | None,
    photos: Path | None,
    inpainters: Mapping[str, Inpainter],
    estimators: Mapping[str, DepthEstimator],
    percents: Sequence[float],
    selection: Selection,
) -> Iterator[Measured]:
    """Yield the figures of the cartoon, of a subtitle on each picture, and of each clip's change.

    Args:
        videos: folder of clips; the first frame of each carries a subtitle too.
        photos: folder of photographs for subtitles.
        inpainters: by row.
        estimators: of the pictures' depth, by name.
        percents: maximum disparities of the clips; the other cases have the default one.
        selection: what of each file is taken.

    Raises:
        ValueError: a folder is none or has nothing in it.
    """
    yield measure_cartoon(inpainters)
    for path in selection.files(photos, PHOTOS)[: selection.limit] if photos else ():
        try:
            photo = next(read_frames(path)).pixels[None]
        except VideoError as error:
            selection.leave_out(error)
            continue
        frame = _fit(photo, selection.size)
        yield from measure_subtitle(path.name, frame, inpainters, estimators)
    for name, video in real_videos(videos, selection) if videos else ():
        yield from measure_subtitle(name, video[:1], inpainters, estimators)
        for depth, estimator in estimators.items():
            inverse_depth = small_depth(video, estimator)
            for percent in percents:
                eyes = made_eyes(video, inverse_depth, inpainters, percent, CONVERGENCE)
                rows = {row: change(eye) for row, eye in {**eyes, SOURCE: video}.items()}
                yield f"clips along their flow, {percent:g} %, depth: {depth}", name, rows, None


def small_depth(video: Video, estimator: DepthEstimator) -> InverseDepth:
    """Return the inverse depth `[T, 1, h, w]` of a clip as the pipeline gets it."""
    frames = find_shots(map(Frame, video), ShotDetector())
    return torch.cat([frame.inverse_depth for frame in with_depth(frames, estimator)])


def measure_subtitle(
    name: str,
    frame: Video,
    inpainters: Mapping[str, Inpainter],
    estimators: Mapping[str, DepthEstimator],
) -> Iterator[Measured]:
    """Yield how much of a subtitle's white each right eye of `[1, 3, H, W]` keeps."""
    titled = subtitle(frame)
    for depth, estimator in estimators.items():
        inverse_depth = small_depth(titled, estimator)
        eyes = made_eyes(titled, inverse_depth, inpainters, _default_percent(), CONVERGENCE)
        rows: dict[str, Scores] = {
            row: {"white_kept": white_kept(eye, titled)} for row, eye in eyes.items()
        }
        kind = f"subtitles, depth: {depth}"
        height, width = frame.shape[-2:]
        top, side = max(0, height - 160), max(0, width // 2 - 160)
        window = (0, slice(None), slice(top, None), slice(side, width - side))
        yield kind, name, rows, tile_row(f"{kind}: {name}", {"left": titled, **eyes}, window)


def subtitle(frame: Video) -> Video:
    """Burn two lines of white letters with a black border into a dimmed `[1, 3, H, W]`."""
    height, width = frame.shape[-2:]
    image = (frame[0].permute(1, 2, 0) * DIM * 255).round().byte().numpy().copy()
    scale = min(height / 480, width / 640)
    stroke = max(1, round(2 * scale))
    for line, text in enumerate(reversed(SUBTITLE)):
        font = cv2.FONT_HERSHEY_DUPLEX
        (wide, high), _ = cv2.getTextSize(text, font, scale, stroke)
        place = ((width - wide) // 2, round(height * 0.95) - line * 2 * high)
        for level, thickness in ((0, 3 * stroke), (255, stroke)):
            cv2.putText(image, text, place, font, scale, (level,) * 3, thickness, cv2.LINE_AA)
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255


def white_kept(eye: Video, source: Video) -> float:
    """Return the share of the source's white pixels that the eye has in the same row.

    White is more than half white: a letter that is moved by a part of a pixel keeps its count.
    """
    made, true = ((x.amin(1) > 0.5).sum(-1) for x in (eye, source))
    return float(torch.minimum(made, true).sum() / true.sum().clamp(min=1))


def measure_cartoon(inpainters: Mapping[str, Inpainter]) -> Measured:
    """Return how much of a disc's outline each right eye keeps."""
    picture, inverse_depth = cartoon()
    percent = _default_percent()
    eyes = made_eyes(picture, inverse_depth, inpainters, percent)
    shift = percent / 100 * picture.shape[-1]
    rows: dict[str, Scores] = {
        row: {"outline_kept": outline_kept(eye, shift)} for row, eye in eyes.items()
    }
    reach = int(RADIUS) + 40
    x, y = (size // 2 for size in CARTOON)
    window = (0, slice(None), slice(y - reach, y + reach), slice(x - reach, x + reach))
    kind = "cartoon disc"
    return kind, "disc", rows, tile_row(kind, {"left": picture, **eyes}, window)


def cartoon() -> tuple[Video, InverseDepth]:
    """Return a flat disc with a dark outline before a plain ground, and its blurred small depth."""
    width, height = CARTOON
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = (x - width // 2).float().hypot((y - height // 2).float())

    def inside(radius: float) -> Tensor:
        return (radius + 0.5 - distance).clamp(0, 1)

    grey = GROUND + (INK - GROUND) * inside(RADIUS)
    grey = grey + (DISC - INK) * inside(RADIUS - STROKE)
    near = shrink(inside(RADIUS)[None, None])[0, 0].numpy()
    blurred = torch.from_numpy(cv2.GaussianBlur(near, (0, 0), SOFT))[None, None]
    return grey.expand(1, 3, -1, -1).clone(), blurred.clamp(0, 1)


def outline_kept(eye: Video, shift: float) -> float:
    """Return the share of the outline's circumference at which the eye `[1, 3, H, W]` is dark.

    At each angle the darkest point counts of those near where the outline belongs, the source's
    place moved by the disc's `shift` in pixels; dark is less than halfway to the ground.
    """
    height, width = eye.shape[-2:]
    angle = torch.arange(_ANGLES) * (2 * torch.pi / _ANGLES)
    radius = torch.arange(RADIUS - 2 * STROKE, RADIUS + STROKE + 0.25, 0.25)
    x = width // 2 - shift + radius[:, None] * angle.cos()
    y = height // 2 + radius[:, None] * angle.sin()
    grid = torch.stack(((x + 0.5) * 2 / width - 1, (y + 0.5) * 2 / height - 1), -1)
    grey = F.grid_sample(eye.mean(1, keepdim=True), grid[None], align_corners=False)
    return float((grey.amin(2) < (INK + GROUND) / 2).float().mean())


def change(video: Video) -> Scores:
    """Return how much a clip `[T, 3, H, W]` changes along its own motion, in levels of 255.

    A pixel's change is the mean of its channels'; NaN for a single frame.
    """
    changes = [
        (warp(after[None], flow[None]) - before[None]).abs().mean(1) * 255
        for before, after, flow in zip(video[:-1], video[1:], motion(video), strict=True)
    ]
    if not changes:
        return {"change_mean": float("nan"), "change_99": float("nan")}
    levels = torch.cat(changes)
    top = np.percentile(levels.numpy(), 99)
    return {"change_mean": float(levels.double().mean()), "change_99": float(top)}


def _default_percent() -> float:
    return ConvertOptions().max_disparity


def _fit(photo: Video, size: tuple[int, int]) -> Video:
    """Scale `[1, 3, H, W]` to cover a width and height, and cut the middle out."""
    width, height = size
    scale = max(width / photo.shape[-1], height / photo.shape[-2])
    tall, wide = (
        max(n, round(x * scale)) for n, x in zip((height, width), photo.shape[-2:], strict=True)
    )
    photo = F.interpolate(photo, (tall, wide), mode="bilinear", antialias=True).clamp(0, 1)
    top, side = (tall - height) // 2, (wide - width) // 2
    return photo[..., top : top + height, side : side + width]
