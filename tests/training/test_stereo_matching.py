"""Disparity by matching."""

import cv2
import numpy as np
import pytest
import torch

from data.files import DataError
from evaluation.stereo_matching import match, matched_pairs


def views(disparity=12):
    """Noise whose middle is nearer, seen from the left and from the right."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 320, 3)).astype(np.uint8)
    noise = cv2.GaussianBlur(noise, (5, 5), 1.2)
    right = noise.copy()
    right[30:90, 120 - disparity : 220 - disparity] = noise[30:90, 120:220]
    return noise, right


def test_a_shift_is_found_where_both_directions_agree():
    found = match(*views())[0, 0]
    near = found[40:80, 135:205]
    known = near.isfinite()
    assert known.float().mean() > 0.8
    assert torch.allclose(near[known], torch.full_like(near[known], 12.0), atol=0.6)
    far = found[:, 250:300]
    assert not (far.isfinite() & (far > 2)).any()


def test_pairs_are_read_by_their_names(tmp_path):
    for side, view in zip(("left", "right"), views(), strict=True):
        cv2.imwrite(str(tmp_path / f"room_{side}.png"), view)
    ((name, left, disparity),) = matched_pairs(tmp_path)
    assert name == "room"
    assert left.shape == (1, 3, 120, 320)
    assert disparity.shape == (1, 1, 120, 320)
    (tmp_path / "room_right.png").unlink()
    with pytest.raises(DataError, match=r"room_left.png: expected it and room_right.png"):
        next(matched_pairs(tmp_path))
    with pytest.raises(DataError, match="got none"):
        next(matched_pairs(tmp_path / "nowhere"))
