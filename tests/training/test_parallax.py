"""Depth by parallax: drawn scenes whose depth and camera are known."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

import weak_views
from data.depth_shards import list_views
from making.parallax import film_views, photo_views, seen_by_parallax

WIDTH, HEIGHT = 512, 288
FOCAL = 490.0
CARDS = (  # distance, then left, right, bottom and top in metres
    (9.0, -15.0, 15.0, -9.0, 9.0),
    (6.0, -0.7, 0.9, -2.0, 0.8),
    (4.0, -1.7, -0.7, -2.0, 0.2),
    (3.0, 0.6, 1.4, -2.0, 0.1),
)
FLOOR = -1.2


@dataclass(frozen=True)
class Camera:
    """Right, up and forwards in metres, and turned to the right by `yaw` radians."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0


@pytest.fixture(scope="module")
def draw():
    """Returns what draws cards on a floor before a wall, and their inverse depth, by rays."""
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 1.5)
    texture = (128 + 5 * (texture - 128)).clip(0, 255).astype(np.uint8)

    def drawn(camera):
        x, y = np.meshgrid(np.arange(WIDTH) - (WIDTH - 1) / 2, (HEIGHT - 1) / 2 - np.arange(HEIGHT))
        turn = np.array([[np.cos(camera.yaw), 0, np.sin(camera.yaw)], [0, 1, 0],
                         [-np.sin(camera.yaw), 0, np.cos(camera.yaw)]])  # fmt: skip
        rays = np.stack((x / FOCAL, y / FOCAL, np.ones_like(x)), -1) @ turn.T
        depth = np.full((HEIGHT, WIDTH), np.inf)
        at = np.zeros((HEIGHT, WIDTH, 2), np.float32)
        for number, (far, left, right, low, high) in enumerate(CARDS):
            t = (far - camera.z) / rays[..., 2]
            px, py = camera.x + t * rays[..., 0], camera.y + t * rays[..., 1]
            hit = (px > left) & (px < right) & (py > low) & (py < high) & (t < depth)
            depth[hit] = t[hit]
            at[hit] = (np.stack((px, py), -1) * (400 / far) + 300 * number)[hit]
        t = (FLOOR - camera.y) / np.minimum(rays[..., 1], -1e-9)
        hit = t < depth
        depth[hit] = t[hit]
        on_floor = np.stack((camera.x + t * rays[..., 0], camera.z + t * rays[..., 2]), -1)
        at[hit] = (on_floor * 60)[hit]
        texels = cv2.remap(texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_WRAP)  # fmt: skip
        return texels, (1 / depth).astype(np.float32)

    return drawn


def correlation(seen, inverse):
    truth = inverse[::2, ::2]
    known = np.isfinite(seen.inverse_depth)
    return np.corrcoef(seen.inverse_depth[known], truth[known])[0, 1]


@pytest.mark.parametrize(
    "other",
    [Camera(0.15), Camera(-0.1, yaw=0.02), Camera(0.1, 0.1, 0.1), Camera(0.0, 0.05, 0.5)],
    ids=["sideways", "turning", "every way", "forwards"],
)
def test_a_moved_camera_sees_the_depth(draw, other):
    picture, inverse = draw(Camera())
    seen = seen_by_parallax(picture, [draw(other)[0]])
    assert seen is not None and seen.parallax > 4
    assert np.isfinite(seen.inverse_depth).mean() > 0.5
    assert correlation(seen, inverse) > 0.97


def test_a_camera_that_only_turns_sees_nothing(draw):
    picture, _ = draw(Camera())
    assert seen_by_parallax(picture, [draw(Camera(yaw=0.05))[0]]) is None
    assert seen_by_parallax(picture, [picture]) is None
    assert seen_by_parallax(picture, []) is None


def test_what_moves_by_itself_is_unknown(draw):
    picture, inverse = draw(Camera())
    other = draw(Camera(0.15))[0]
    lifted = other.copy()  # a piece goes up while the camera goes sideways: off its lines
    lifted[140:220, 200:300] = other[146:226, 200:300]
    seen = seen_by_parallax(picture, [lifted])
    assert seen is not None
    before = seen_by_parallax(picture, [other])
    assert before is not None
    inner = slice(78, 102), slice(115, 135)
    assert np.isfinite(before.inverse_depth[inner]).mean() > 0.9
    assert np.isnan(seen.inverse_depth[inner]).mean() > 0.9
    assert correlation(seen, inverse) > 0.97


def test_films_and_photographs(draw):
    frames = [draw(Camera(0.02 * t))[0] for t in range(26)]
    found = list(film_views(frames))
    assert len(found) == 2 and found[0][0] is frames[6] and found[1][0] is frames[18]
    assert list(film_views([frames[0]] * 26)) == []
    assert len(list(photo_views(frames[:12:4]))) == 3


def test_the_command_writes_them(draw, tmp_path):
    folder = tmp_path / "room"
    folder.mkdir()
    for t in range(3):
        path = str(folder / f"{t}.jpg")
        cv2.imwrite(path, draw(Camera(0.15 * t))[0][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert weak_views.main([str(tmp_path / "out"), "--parallax", str(folder)]) == 0
    views = [entry.read() for entry in list_views(tmp_path / "out")]
    assert len(views) == 3 and all(view.soft for view in views)
    truth = draw(Camera())[1]
    inverse = views[0].inverse_depth
    assert inverse.shape == (216, 384) == views[0].picture.shape[:2]
    known = np.isfinite(inverse)
    truth = cv2.resize(truth, (384, 216), interpolation=cv2.INTER_NEAREST_EXACT)
    assert known.mean() > 0.5 and np.corrcoef(inverse[known], truth[known])[0, 1] > 0.97
