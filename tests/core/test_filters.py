import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core.filters import box_mean, gaussian


@pytest.mark.parametrize("edges", ["replicate", "zeros"])
def test_the_gaussian_equals_a_convolution(edges):
    image, sigma, radius = torch.rand(2, 3, 9, 12), 1.7, 4
    offsets = torch.arange(-radius, radius + 1.0)
    taps = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    mode = "replicate" if edges == "replicate" else "constant"
    padded = F.pad(image, (radius,) * 4, mode=mode)
    expected = F.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)
    torch.testing.assert_close(gaussian(image, sigma, radius, edges=edges), expected)


@pytest.mark.parametrize("size", [1, 3, 5, 11, 40])
def test_the_box_mean_is_that_of_each_pixels_window(size):
    image, half = torch.rand(2, 3, 9, 12, dtype=torch.float64), size // 2
    mean = box_mean(image, size)
    for y in range(9):
        for x in range(12):
            rows, columns = (
                slice(max(0, y - half), y + half + 1),
                slice(max(0, x - half), x + half + 1),
            )
            expected = image[..., rows, columns].mean((2, 3))
            torch.testing.assert_close(mean[..., y, x], expected)
