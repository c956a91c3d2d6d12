"""Morphology of masks."""

import pytest
import torch

from dreamstereo_core.masks import wide_parts


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
