"""A flat picture on half a sphere, against the formulas for single points."""

import math

import pytest
import torch

from dreamstereo_core import pack_stereo
from dreamstereo_core.equirectangular import MOST_PIXELS, Vr180, sphere_size, to_half_sphere

WIDTH, HEIGHT = 128, 72


def ramps():
    """Red grows from left to right and green from top to bottom; blue is 1."""
    x = (torch.arange(WIDTH) + 0.5) / WIDTH
    y = (torch.arange(HEIGHT) + 0.5) / HEIGHT
    rows = [x.expand(HEIGHT, -1), y[:, None].expand(-1, WIDTH), torch.ones(HEIGHT, WIDTH)]
    return torch.stack(rows)[None]


def direction(row, column, side):
    """Return where a pixel of the sphere looks: x to the right, y down, z ahead."""
    longitude = (column + 0.5) / side * math.pi - math.pi / 2
    latitude = (row + 0.5) / side * math.pi - math.pi / 2
    flat = math.cos(latitude)
    return flat * math.sin(longitude), math.sin(latitude), flat * math.cos(longitude)


@pytest.mark.parametrize("pixel_aspect", [1.0, 1.5])
@pytest.mark.parametrize("view", [60.0, 90.0, 120.0])
def test_each_pixel_is_what_lies_in_its_direction(view, pixel_aspect):
    vr = Vr180(view, pixel_aspect=pixel_aspect)
    sphere = to_half_sphere(ramps(), vr)[0]
    side = sphere_size(WIDTH, vr)
    assert sphere.shape == (3, side, side)
    half = math.tan(math.radians(view) / 2)
    tall = half * HEIGHT / WIDTH / pixel_aspect
    seen = 0
    for row in range(0, side, 7):
        for column in range(0, side, 7):
            x, y, z = direction(row, column, side)
            u, v = x / z / half, y / z / tall  # -1 to 1 within the picture
            red, green, blue = sphere[:, row, column].tolist()
            if max(abs(u), abs(v)) < 0.95:
                seen += 1
                assert (red, green) == pytest.approx(((u + 1) / 2, (v + 1) / 2), abs=2e-3)
                assert blue == pytest.approx(1, abs=1e-3)
            elif max(abs(u), abs(v)) > 1.1:
                assert (red, green, blue) == (0, 0, 0)
    assert seen > 20


@pytest.mark.parametrize("width", [720, 1920])
def test_the_middle_is_as_fine_as_the_flat_picture(width):
    vr = Vr180(90)
    side = sphere_size(width, vr)
    assert side % 2 == 0
    # One pixel of the sphere's middle is pi / side; of the flat picture's it is 2 / width.
    assert 2 / width == pytest.approx(math.pi / side, rel=2e-3)
    assert sphere_size(7680, vr) == MOST_PIXELS


def test_what_lies_on_the_screen_is_nearer_than_infinitely_far():
    """Parallel eyes: the left eye sees what is near farther to the right."""
    view = torch.zeros(1, 3, HEIGHT, WIDTH)
    view[..., WIDTH // 2 - 2 : WIDTH // 2 + 2] = 1
    vr = Vr180(90, screen_disparity=10)
    left, right = pack_stereo(view, view, "vr180", vr).chunk(2, -1)
    side = left.shape[-1]
    columns = torch.arange(side) + 0.5
    middles = []
    for eye in (left, right):
        row = eye[0, 0, side // 2]
        middles.append(float((row * columns).sum() / row.sum()))
    assert sum(middles) / 2 == pytest.approx(side / 2, abs=0.1)
    # 5 percent of the width to either side, of a picture whose half is tan(45 degrees) = 1.
    angle = (middles[0] - side / 2) / side * math.pi
    assert math.tan(angle) == pytest.approx(0.1, abs=2e-3)
    # As much behind the screen as the screen lies before infinity: both eyes look straight ahead.
    behind = [torch.roll(view, shift, -1) for shift in (-6, 6)]
    far = Vr180(90, screen_disparity=100 * 12 / WIDTH)
    eyes = pack_stereo(*behind, "vr180", far).chunk(2, -1)
    assert torch.allclose(*eyes, atol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"field_of_view": 5}, {"field_of_view": 180}, {"screen_disparity": -1}]
)
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}: expected a value in"):
        Vr180(**wrong)
