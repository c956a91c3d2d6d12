import pytest
import torch

from dreamstereo_core import LAYOUTS, pack_stereo
from dreamstereo_core.packing import packed_size


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand((2, 3, 6, 10), generator=generator) for _ in range(2))


def test_full_layouts_hold_both_views_untouched_left_first(views):
    left, right = views
    side = pack_stereo(left, right, "full_sbs")
    assert torch.equal(side[..., :10], left)
    assert torch.equal(side[..., 10:], right)
    above = pack_stereo(left, right, "full_tb")
    assert torch.equal(above[..., :6, :], left)
    assert torch.equal(above[..., 6:, :], right)


def test_half_layouts_squeeze_each_view(views):
    flat = [torch.full((1, 3, 6, 10), value) for value in (0.25, 0.75)]
    side = pack_stereo(*flat, "half_sbs")
    assert side.shape == (1, 3, 6, 10)
    assert torch.allclose(side[..., :5], torch.tensor(0.25))
    assert torch.allclose(side[..., 5:], torch.tensor(0.75))
    assert pack_stereo(*views, "half_tb").shape == (2, 3, 6, 10)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_packed_size_is_the_size_of_the_picture(layout):
    view = torch.zeros(1, 3, 7, 9)
    picture = pack_stereo(view, view, layout)
    assert packed_size(9, 7, layout) == (picture.shape[-1], picture.shape[-2])
    assert 0 <= picture.min() <= picture.max() <= 1


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name.startswith("anaglyph")])
def test_two_equal_grey_views_give_that_grey(layout):
    grey = torch.full((1, 3, 4, 4), 0.5)
    assert torch.allclose(pack_stereo(grey, grey, layout), grey, atol=2e-3)


def test_the_colour_anaglyph_takes_red_from_the_left(views):
    left, right = views
    picture = pack_stereo(left, right, "anaglyph_color")
    assert torch.equal(picture[:, 0], left[:, 0])
    assert torch.equal(picture[:, 1:], right[:, 1:])


def test_dubois_by_hand():
    left, right = torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    left[0, 0] = 1.0  # pure red on the left eye only
    assert pack_stereo(left, right, "anaglyph").flatten().tolist() == pytest.approx([0.456, 0, 0])
    right[0, 1] = 1.0  # and pure green on the right
    expected = [0.456 - 0.088, -0.040 + 0.734, 0.0]
    assert pack_stereo(left, right, "anaglyph").flatten().tolist() == pytest.approx(expected)


def test_wrong_arguments_are_named(views):
    left, right = views
    with pytest.raises(ValueError, match="layout: expected one of full_sbs"):
        pack_stereo(left, right, "sideways")
    with pytest.raises(ValueError, match="right: expected shape"):
        pack_stereo(left, right[..., :-1], "full_sbs")
