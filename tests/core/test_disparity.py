import pytest
import torch

from dreamstereo_core import inverse_depth_to_disparity, resize_disparity


def test_signs_and_scale():
    inverse_depth = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4).repeat(1, 1, 1, 50)
    disparity = inverse_depth_to_disparity(inverse_depth, max_disparity=4.0, convergence=0.25)
    # 4 % of 200 px are 8 px from the farthest to the nearest point; 0.25 lies on the screen.
    assert disparity[0, 0, 0, :4].tolist() == [-2.0, 0.0, 2.0, 6.0]


def test_resizing_scales_the_values():
    disparity = torch.full((2, 1, 10, 20), 3.0)
    assert torch.allclose(resize_disparity(disparity, 30, 60), torch.full((2, 1, 30, 60), 9.0))
    assert torch.allclose(resize_disparity(disparity, 5, 10), torch.full((2, 1, 5, 10), 1.5))


def test_resizing_keeps_the_relative_shift():
    disparity = torch.linspace(-8, 8, 64).expand(1, 1, 16, 64)
    small = resize_disparity(disparity, 8, 32)
    assert torch.allclose(
        small[0, 0, 0, 1:-1], disparity[0, 0, 0].view(32, 2).mean(1)[1:-1] / 2, atol=0.02
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_disparity": -1}, r"max_disparity: expected a value in \[0, 100\], got -1"),
        ({"convergence": 1.5}, r"convergence: expected a value in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_ranges_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        inverse_depth_to_disparity(torch.zeros(1, 1, 2, 2), **arguments)


def test_wrong_size_is_named():
    with pytest.raises(ValueError, match="height, width: expected at least 1"):
        resize_disparity(torch.zeros(1, 1, 2, 2), 0, 4)
