"""Depth by parallax: rendered scenes whose depth and camera are known."""

import math
import os

import cv2
import numpy as np
import pytest

import weak_views
from data.depth_shards import list_views
from data.files import DataError
from making.parallax import film_views, photo_views, seen_by_parallax
from scenes.renderer import Camera, Item, Scene, SceneRenderer, moved, scaled
from scenes.textures import SIDE, Textures

SIZE = (512, 288)


@pytest.fixture(scope="module")
def draw():
    """Returns what draws three boxes on a floor before a wall from a camera."""
    made, rng = Textures(), np.random.default_rng(0)
    for number in range(3):
        noise = rng.integers(0, 256, (SIDE // 6, SIDE // 6, 3), dtype=np.uint8)
        made.add(f"noise{number}", cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    try:
        renderer = SceneRenderer([], made, SIZE)
    except DataError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))

    def drawn(camera):
        boxes = (((-1.2, -4.0), 1.0), ((1.0, -3.0), 0.8), ((0.1, -6.0), 1.6))
        items = [
            Item("box", moved(x, 0, z) @ scaled(size, size, size), layer=i)
            for i, ((x, z), size) in enumerate(boxes)
        ]
        items.append(Item("box", moved(0, -1, -9) @ scaled(30, 12, 0.2), layer=0))
        items.append(Item("box", moved(0, -0.2, -5) @ scaled(30, 0.2, 12), layer=1))
        return renderer.render(Scene(camera, items, ambient=1.0, sun_power=0.0))

    return drawn


def camera(x=0.0, y=1.2, z=0.0, yaw=0.0):
    return Camera((x, y, z), yaw=yaw, pitch=-0.1, fov=math.radians(55))


def correlation(seen, inverse):
    truth = inverse[::2, ::2]
    known = np.isfinite(seen.inverse_depth)
    return np.corrcoef(seen.inverse_depth[known], truth[known])[0, 1]


@pytest.mark.parametrize(
    "other",
    [camera(0.15), camera(-0.1, yaw=-0.02), camera(0.1, 1.3, -0.1), camera(0.0, 1.25, -0.5)],
    ids=["sideways", "turning", "every way", "forwards"],
)
def test_a_moved_camera_sees_the_depth(draw, other):
    picture, inverse = draw(camera())
    seen = seen_by_parallax(picture, [draw(other)[0]])
    assert seen is not None and seen.parallax > 4
    assert np.isfinite(seen.inverse_depth).mean() > 0.5
    assert correlation(seen, inverse) > 0.97


def test_a_camera_that_only_turns_sees_nothing(draw):
    picture, _ = draw(camera())
    assert seen_by_parallax(picture, [draw(camera(yaw=0.05))[0]]) is None
    assert seen_by_parallax(picture, [picture]) is None
    assert seen_by_parallax(picture, []) is None


def test_what_moves_by_itself_is_unknown(draw):
    picture, inverse = draw(camera())
    other = draw(camera(0.15))[0]
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
    frames = [draw(camera(0.02 * t))[0] for t in range(26)]
    found = list(film_views(frames))
    assert len(found) == 2 and all(picture is frames[i] for (picture, _), i in zip(found, (6, 18)))
    assert list(film_views([frames[0]] * 26)) == []
    assert len(list(photo_views(frames[:12:4]))) == 3


def test_the_command_writes_them(draw, tmp_path):
    folder = tmp_path / "room"
    folder.mkdir()
    for t in range(3):
        path = str(folder / f"{t}.jpg")
        cv2.imwrite(path, draw(camera(0.15 * t))[0][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert weak_views.main([str(tmp_path / "out"), "--parallax", str(folder)]) == 0
    views = [entry.read() for entry in list_views(tmp_path / "out")]
    assert len(views) == 3 and all(view.soft for view in views)
    truth = draw(camera())[1]
    inverse = views[0].inverse_depth
    assert inverse.shape == (216, 384) == views[0].picture.shape[:2]
    known = np.isfinite(inverse)
    truth = cv2.resize(truth, (384, 216), interpolation=cv2.INTER_NEAREST_EXACT)
    assert known.mean() > 0.5 and np.corrcoef(inverse[known], truth[known])[0, 1] > 0.97
