"""Morphology of masks."""

import pytest
import torch

from dreamstereo_core.masks import dilate, erode, wide_parts


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 5, 9, 12, 40])
@pytest.mark.parametrize("shape", [(2, 1, 30, 41), (1, 1, 1, 7), (1, 1, 6, 2)])
def test_dilation_is_the_maximum_of_the_square(radius, shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(mask, (radius,) * 4, value=-torch.inf)
    size = 2 * radius + 1
    expected = padded.unfold(2, size, 1).unfold(3, size, 1).amax((-2, -1))
    assert torch.equal(dilate(mask, radius), expected)
    assert torch.equal(erode(1 - mask, radius), 1 - expected)


def row(text):
    return torch.tensor([float(c == "x") for c in text]).view(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (1, "xx.xxx..x.xxxxx"),
        (2, "xx.xxx....xxxxx"),
        (3, "...xxx....xxxxx"),
        (4, "..........xxxxx"),
        (6, "..............."),
        (99, "..............."),
    ],
)
def test_wide_parts_are_the_long_runs_of_a_row(width, expected):
    assert torch.equal(wide_parts(row("xx.xxx..x.xxxxx"), width), row(expected))


def test_rows_and_frames_are_apart():
    mask = torch.zeros(2, 1, 4, 6)
    mask[0, 0, :, 2] = 1  # a line that is tall, not wide
    mask[1, 0, 3, 1:5] = 0.5
    wide = wide_parts(mask, 3)
    assert wide[0].sum() == 0
    assert torch.equal(wide[1], (mask[1] > 0).float())
