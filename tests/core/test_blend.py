import pytest
import torch

from dreamstereo_core import blend
from dreamstereo_core.masks import depth_inside, dilate, erode


def scene(hole=slice(20, 40)):
    warped = torch.rand((2, 3, 40, 60), generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 40, 60)
    mask[..., 10:30, hole] = 1
    return warped, mask


@pytest.mark.parametrize("feather", [0, 1, 4, 9])
def test_known_pixels_come_back_bit_exact(feather):
    warped, mask = scene()
    result = blend(torch.rand_like(warped), warped, mask, feather=feather)
    known = (mask == 0).expand_as(warped)
    assert torch.equal(result[known], warped[known])


def test_a_constant_colour_error_is_feathered_inside_the_hole():
    _, mask = scene()
    warped = torch.full((2, 3, 40, 60), 0.25)
    result = blend(warped + 0.5, warped, mask, feather=4)
    row = result[0, 0, 20, 19:30]
    expected = 0.25 + 0.5 * torch.tensor([0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1])
    assert torch.allclose(row, expected, atol=1e-6)


def test_an_inpainter_that_is_right_on_the_ring_is_taken_as_it_is():
    warped, mask = scene()
    inpainted = torch.where(mask > 0, torch.rand_like(warped), warped)
    assert torch.equal(blend(inpainted, warped, mask, feather=4), inpainted)


def test_no_foreground_is_mixed_into_the_hole():
    warped, mask = scene()
    warped[..., :20] = 1.0  # the foreground, left of the hole
    warped[..., 20:] = 0.0
    inpainted = warped.clone()
    assert blend(inpainted, warped, mask, feather=8)[..., 20:40].max() == 0


def test_feather_zero_is_a_hard_edge():
    warped, mask = scene()
    inpainted = torch.rand_like(warped)
    expected = torch.where(mask > 0, inpainted, warped)
    assert torch.equal(blend(inpainted, warped, mask, feather=0), expected)


def test_the_frames_border_is_no_seam():
    warped, mask = scene()
    mask[:] = 0
    mask[..., 50:] = 1
    ring = torch.full_like(warped, 0.5)
    result = blend(ring + 0.25, ring, mask, feather=4)
    assert torch.allclose(result[..., 54:], torch.full_like(result[..., 54:], 0.75))


def test_wrong_arguments_are_named():
    warped, mask = scene()
    with pytest.raises(ValueError, match="feather: expected at least 0"):
        blend(warped, warped, mask, feather=-1)
    with pytest.raises(ValueError, match="inpainted: expected shape"):
        blend(warped[:1], warped, mask)


class TestMasks:
    def test_dilate_and_erode_are_squares(self):
        mask = torch.zeros(1, 1, 9, 9)
        mask[0, 0, 4, 4] = 1
        grown = dilate(mask, 2)
        assert grown.sum() == 25
        assert torch.equal(erode(grown, 2), mask)
        assert torch.equal(dilate(mask, 0), mask)

    def test_erosion_does_not_start_at_the_frames_border(self):
        assert erode(torch.ones(1, 1, 5, 5), 2).sum() == 25

    def test_depth_inside_counts_from_the_hole_border(self):
        mask = torch.zeros(1, 1, 9, 9)
        mask[..., 2:7, 2:7] = 1
        assert depth_inside(mask, 5)[0, 0, 4].tolist() == [0, 0, 1, 2, 3, 2, 1, 0, 0]
        assert depth_inside(mask, 2).max() == 2


def test_a_share_of_a_pixel_is_taken_from_the_fill():
    warped, filled = torch.full((1, 3, 1, 4), 0.2), torch.full((1, 3, 1, 4), 0.6)
    mask = torch.tensor([0.0, 0.25, 1.0, 0.0]).view(1, 1, 1, 4)
    result = blend(filled, warped, mask, feather=0)
    assert result[0, 0, 0].tolist() == pytest.approx([0.2, 0.3, 0.6, 0.2])
