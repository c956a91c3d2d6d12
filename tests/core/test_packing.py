import pytest
import torch

from dreamstereo_core import LAYOUTS, pack_stereo
from dreamstereo_core.packing import FILE_LAYOUTS, PAIRED, packed_size, show, shown_size
from dreamstereo_core.types import StereoVideo


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


def test_crossed_eyes_see_the_right_view_at_the_left(views):
    left, right = views
    assert torch.equal(pack_stereo(left, right, "cross_eyed"), pack_stereo(right, left, "full_sbs"))


@pytest.mark.parametrize("height", [6, 7])
def test_interleaved_rows_and_columns_begin_with_the_left_view(height):
    generator = torch.Generator().manual_seed(0)
    left, right = torch.rand((2, 2, 3, height, 9), generator=generator)
    rows = pack_stereo(left, right, "row_interleaved")
    assert torch.equal(rows[:, :, 0::2], left[:, :, 0::2])
    assert torch.equal(rows[:, :, 1::2], right[:, :, 1::2])
    columns = pack_stereo(left, right, "column_interleaved")
    assert torch.equal(columns[..., 0::2], left[..., 0::2])
    assert torch.equal(columns[..., 1::2], right[..., 1::2])


class TestShow:
    """What a conversion writes of its results."""

    @pytest.fixture
    def stereo(self, views):
        depth, mask = torch.full((2, 1, 6, 10), 0.25), torch.ones(2, 1, 6, 10)
        return StereoVideo(*views, depth, mask, start=0)

    @pytest.mark.parametrize(("made", "source"), [("right", 0), ("left", 1)])
    def test_depth_stands_beside_the_source(self, stereo, views, made, source):
        picture = show(stereo, "full_rgbd", made=made)
        assert torch.equal(picture[..., :10], views[source])
        assert (picture[..., 10:] == 0.25).all()
        half = show(stereo, "half_rgbd", made=made)
        assert half.shape == (2, 3, 6, 10)
        assert (half[..., 5:] == 0.25).all()

    @pytest.mark.parametrize("layout", PAIRED)
    def test_two_pictures_come_side_by_side(self, stereo, views, layout):
        assert torch.equal(show(stereo, layout), torch.cat(views, -1))

    @pytest.mark.parametrize("layout", [x for x in FILE_LAYOUTS if x != "separate"])
    def test_sizes_are_known_beforehand(self, stereo, layout):
        height, width = show(stereo, layout).shape[-2:]
        assert shown_size(10, 6, layout) == (width, height)
