"""Inverse depth of a picture out of how the camera moved: what other views of a still scene say.

Dense optical flow both ways, the essential matrix of the camera's motion (Nister, "An efficient
solution to the five-point relative pose problem", PAMI 2004), then for each pixel the inverse depth
that explains its flow best. Infinity is at 0, the scale is free. Nobody knows the focal length;
several are tried, and a view from which they conclude different things counts for nothing (Hartley
and Zisserman, "Multiple View Geometry", 2nd edition, Sec. 9.6 and 9.7). What moves by itself, is
hidden in one view or has no texture does not fit the motion and stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

WIDTH = 512
"""Longer side of pictures that are compared; cells of 2 pixels get a depth."""
FOCALS = (0.75, 1.0, 1.4)
"""Focal lengths that are tried, of the picture's longer side."""
LEAST_PARALLAX = 4.0
"""Pixels of a picture 640 wide between the 10th and 90th percentile of what the depth moves."""
LEAST_KNOWN = 0.4
"""Of the picture that must be sure."""
AGREEMENT = 0.93
"""Least correlation of what two focal lengths, or two second views, say."""
EVERY = 12
"""Frames of a film from one view to the next."""
_NOISE = 0.3  # px, of the flow
_SURE = 0.12  # of the depths' spread, largest error that the flow's noise may make
_BEHIND = -0.3  # of the depths' spread, least inverse depth
_ROUND_TRIP = 1.0  # px by which the flows both ways may differ
_OFF_LINE = 1.0  # px beside the epipolar line
_POINTS = 2000  # for the motion
_STEP = 2  # px, of the grid on which depth is found
_MOTION = 14.0  # px between near and far that a second view of a film should have
_FARTHEST = 30  # frames to the second view
_STILL = 0.1  # px a frame between near and far; below it nothing is looked for


@dataclass(frozen=True)
class Seen:
    """Inverse depth `[h, w]`, NaN = unknown, with its 10th and 90th percentile 1 apart."""

    inverse_depth: np.ndarray
    parallax: float
    """Pixels of a picture 640 wide between these percentiles."""


def film_views(frames: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Seen]]:
    """Yield frames whose depth the camera's motion shows.

    Args:
        frames: of a film, `[H, W, 3]` uint8, `WIDTH` long. Cuts need no care: across one, no flow
            leads back.
    """
    for index in range(EVERY // 2, len(frames) - 2, EVERY):
        motion = _relative_motion(frames[index], frames[index + 2]) / 2
        if motion < _STILL:
            continue
        k = int(np.clip(_MOTION / motion, 1, _FARTHEST))
        steps = (k, max(1, k // 2), max(1, k // 4))
        places = dict.fromkeys(index + sign * step for step in steps for sign in (-1, 1))
        others = [frames[place] for place in places if 0 <= place < len(frames)]
        seen = seen_by_parallax(frames[index], others[:4], least=2)
        if seen is not None:
            yield frames[index], seen


def photo_views(photos: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, Seen]]:
    """Yield photographs of one still scene, in order, that the ones beside them show the depth of.

    Args:
        photos: `[H, W, 3]` uint8 of one size, `WIDTH` long.
    """
    for index, photo in enumerate(photos):
        beside = [photos[i] for i in (index + 1, index - 1) if 0 <= i < len(photos)]
        seen = seen_by_parallax(photo, [x for x in beside if x.shape == photo.shape])
        if seen is not None:
            yield photo, seen


def seen_by_parallax(
    picture: np.ndarray, others: Sequence[np.ndarray], least: int = 1
) -> Seen | None:
    """Return what other views of the same scene say of a picture's depth; None = nothing sure.

    Args:
        picture: `[H, W, 3]` uint8, about `WIDTH` long. The depth has half its size.
        others: of the same size.
        least: of the others that must say the same. One is enough for photographs of a still scene;
            in films, two find out what moves by itself, and a shutter that rolls.
    """
    found: list[Seen] = []
    for other in others:
        flow, sure = _flow(picture, other)
        answers = [_two_views(flow, sure, focal) for focal in FOCALS]
        known = [answer for answer in answers if answer is not None]
        if len(known) == len(FOCALS) and all(_agree(known[0], x) for x in known[1:]):
            found.append(known[len(known) // 2])
    groups = [[a, *(b for b in found if b is not a and _agree(a, b))] for a in found]
    found = max(groups, key=len, default=[])
    if len(found) < least:
        return None
    together = np.stack([seen.inverse_depth for seen in found])
    inverse = np.ma.median(np.ma.masked_invalid(together), axis=0).filled(np.nan)
    apart = np.nan_to_num(np.abs(together - inverse)).max(axis=0)
    inverse = np.where(apart < 2 * _SURE, inverse, np.nan)
    return _sure_enough(Seen(inverse, found[0].parallax))


def _sure_enough(seen: Seen) -> Seen | None:
    return seen if np.isfinite(seen.inverse_depth).mean() >= LEAST_KNOWN else None


def _relative_motion(a: np.ndarray, b: np.ndarray) -> float:
    """Return how far things move against most of the picture, in pixels."""
    first, second = (cv2.cvtColor(cv2.resize(x, (160, 90)), cv2.COLOR_RGB2GRAY) for x in (a, b))
    flow = _dis(first, second, cv2.DISOPTICAL_FLOW_PRESET_FAST) * (WIDTH / 160)
    return float(np.quantile(np.linalg.norm(flow - np.median(flow, (0, 1)), axis=-1), 0.9))


def _flow(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the flow `[h, w, 2]` from a to b, and where the way back leads home."""
    first, second = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (a, b))
    forward, backward = _dis(first, second), _dis(second, first)
    h, w = first.shape
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    x, y = x + forward[..., 0], y + forward[..., 1]
    back = cv2.remap(backward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    sure = inside & (np.linalg.norm(forward + back, axis=-1) < _ROUND_TRIP)
    return forward[::_STEP, ::_STEP], sure[::_STEP, ::_STEP]


def _dis(
    a: np.ndarray, b: np.ndarray, preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
) -> np.ndarray:
    dis = cv2.DISOpticalFlow.create(preset)
    return dis.calc(a, b, None)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _two_views(flow: np.ndarray, sure: np.ndarray, focal: float) -> Seen | None:
    """Return the depth that a flow means, if a camera of this focal length can have moved so."""
    if sure.mean() < LEAST_KNOWN:
        return None
    h, w = (_STEP * side for side in sure.shape)
    f = focal * max(h, w)
    camera = np.array([[f, 0, (w - 1) / 2], [0, f, (h - 1) / 2], [0, 0, 1]])
    here = _places(sure.shape)
    there = here + flow
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(sure))[:_POINTS]
    points = here.reshape(-1, 2)[chosen], there.reshape(-1, 2)[chosen]
    essential, _ = cv2.findEssentialMat(*points, camera, cv2.USAC_ACCURATE, 0.999, 0.7)
    if essential is None or essential.shape != (3, 3):
        return None
    one, two, shift = cv2.decomposeEssentialMat(essential)
    turn = max(one, two, key=np.trace)  # the other one looks backwards
    inverse, reach, off_line = _inverse_depth(there, camera, turn, shift[:, 0])
    if np.median(inverse[sure]) < 0:  # most is in front of the camera
        inverse = -inverse
    sure = sure & (off_line < _OFF_LINE)
    if sure.mean() < LEAST_KNOWN:
        return None
    low, high = np.quantile(inverse[sure], (0.1, 0.9))
    spread = high - low
    sure &= (_SURE * spread * reach > _NOISE) & (inverse > _BEHIND * spread)
    parallax = float(np.median(reach[sure]) * spread * 640 / max(h, w)) if sure.any() else 0.0
    if parallax < LEAST_PARALLAX:
        return None
    return _sure_enough(Seen(np.where(sure, inverse / spread, np.nan), parallax))


def _inverse_depth(
    there: np.ndarray, camera: np.ndarray, turn: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the inverse depth, how many pixels a unit of it moves, and how many are off the line.

    A pixel p of the first view is seen at K R K^-1 p + K t / depth in the second one: two linear
    equations in the inverse depth, solved by least squares.
    """
    here = np.pad(_places(there.shape[:2]), ((0, 0), (0, 0), (0, 1)), constant_values=1.0)
    far = here @ (camera @ turn @ np.linalg.inv(camera)).T
    epipole = camera @ shift
    along = epipole[:2] - there * epipole[2]
    wanted = there * far[..., 2:] - far[..., :2]
    length = np.maximum(np.linalg.norm(along, axis=-1), 1e-9)
    inverse = (along * wanted).sum(-1) / length**2
    across = along[..., 0] * wanted[..., 1] - along[..., 1] * wanted[..., 0]
    scale = np.maximum(np.abs(far[..., 2]), 1e-9)
    return inverse, length / scale, np.abs(across) / length / scale


def _places(shape: tuple[int, ...]) -> np.ndarray:
    """Return x and y `[h, w, 2]` of the grid's points, in the picture's pixels."""
    h, w = shape
    x, y = np.meshgrid(np.arange(w, dtype=np.float64), np.arange(h, dtype=np.float64))
    return np.stack((x, y), -1) * _STEP


def _agree(a: Seen, b: Seen) -> bool:
    both = np.isfinite(a.inverse_depth) & np.isfinite(b.inverse_depth)
    if both.mean() < LEAST_KNOWN / 2:
        return False
    return np.corrcoef(a.inverse_depth[both], b.inverse_depth[both])[0, 1] >= AGREEMENT
