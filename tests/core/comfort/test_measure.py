"""A frame's disparity in numbers, and the limits that they are held against."""

import math

import numpy as np
import pytest
import torch

from dreamstereo_core.comfort import SOURCES, ComfortLog, Viewing, limits, measure_frame
from dreamstereo_core.comfort.measure import WIDTH, at_measuring_size
from dreamstereo_core.types import FrameComfort


def box(near=2.0, far=-3.0):
    """A near box in the middle of a far wall, 50 x 100 pixels."""
    disparity = torch.full((1, 1, 50, 100), far)
    disparity[..., 10:40, 30:70] = near
    return disparity


class TestMeasure:
    def test_percent_of_the_width(self):
        frame = measure_frame(box())
        assert (frame.far1, frame.far5, frame.median) == (-3.0, -3.0, -3.0)
        assert (frame.near95, frame.near99, frame.middle) == (2.0, 2.0, 2.0)
        wide = measure_frame(2 * torch.nn.functional.interpolate(box(), scale_factor=2.0))
        assert wide[:10] == pytest.approx(frame[:10])

    def test_holes_are_as_wide_as_the_step(self):
        frame = measure_frame(box())
        assert frame.widest_hole == 5.0
        # 30 of 50 rows have a gap of 5 beside the box; what comes from beyond the frame is 3 wide.
        assert frame.holes == pytest.approx(100 * (30 * 5 + 50 * 3) / 5000, abs=0.5)
        assert measure_frame(torch.zeros(1, 1, 8, 16)).holes == 0
        assert measure_frame(box(), holes=False)[-2:] == (0, 0)

    @pytest.mark.parametrize("toward", ["right", "left"])
    def test_the_other_eye_is_the_mirrored_problem(self, toward):
        disparity = box()
        disparity[..., :20] = 4.0
        frame = measure_frame(disparity, toward=toward)
        other = "left" if toward == "right" else "right"
        mirrored = measure_frame(disparity.flip(-1), toward=other)
        assert (frame.left, frame.right) == (mirrored.right, mirrored.left)
        assert frame.left == pytest.approx(4.0) and frame.right == 0
        assert frame.holes == pytest.approx(mirrored.holes)

    def test_bars_make_the_percentages_smaller(self):
        whole, half = measure_frame(box()), measure_frame(box(), share=0.5)
        assert half.near99 == whole.near99 / 2 and half.widest_hole == whole.widest_hole / 2
        assert half.holes == whole.holes  # a share of the picture

    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (300, 2), (3, 400)])
    def test_any_size(self, size):
        frame = measure_frame(torch.zeros(1, 1, *size), time=2.0, new_shot=True)
        assert frame == (2.0, 1.0, *[0.0] * 8, frame.holes, frame.widest_hole)

    def test_shrinking_invents_no_value(self):
        depth = (torch.rand(1, 1, 400, 700) > 0.5).float()
        small = at_measuring_size(depth)
        assert small.shape == (1, 1, round(400 * WIDTH / 700), WIDTH)
        assert set(small.unique().tolist()) == {0.0, 1.0}
        assert at_measuring_size(small) is small


class TestLimits:
    def test_without_a_screen_they_are_percentages(self):
        bounds = limits()
        assert (bounds["front"].safe, bounds["behind"].hard) == (1.0, 4.0)
        for limit in bounds.values():
            assert set(limit.source.split()) <= set(SOURCES)
            assert limit.score(limit.safe) == 1 and limit.score(limit.hard) == 0
            assert limit.score((limit.safe + limit.hard) / 2) == pytest.approx(0.5)

    def test_one_degree_and_parallel_eyes_by_hand(self):
        viewing = Viewing(1.2, 2.5)
        bounds = limits(viewing)
        # A degree at 2.5 m is 2.5 m * pi / 180 of parallax, and the zone of comfort allows more.
        assert bounds["front"].safe == pytest.approx(100 * 2.5 * math.radians(1) / 1.2, rel=0.01)
        assert viewing.degrees(bounds["front"].safe) == pytest.approx(1)
        assert viewing.degrees(-bounds["behind"].safe) == pytest.approx(-1)
        assert bounds["behind"].hard == pytest.approx(100 * 0.063 / 1.2)
        # (1 / 2.5 + 0.626) / 1.035 dioptres: 0.99, that is 1.009 m away.
        away = 1.035 / (0.4 + 0.626)
        assert bounds["front"].hard == pytest.approx(100 * 0.063 * (2.5 - away) / away / 1.2)

    def test_eyes_stay_parallel_in_a_cinema(self):
        assert limits(Viewing(12, 15))["behind"].safe == pytest.approx(100 * 0.063 / 12)

    @pytest.mark.parametrize("screen", [(0.15, 0.35), (1.2, 2.5), (12, 15), (0.1, 30), (30, 1)])
    def test_hard_is_beyond_safe(self, screen):
        for limit in limits(Viewing(*screen)).values():
            assert 0 < limit.safe < limit.hard < math.inf

    @pytest.mark.parametrize("given", [(1.2, None), (None, 2.0), (0, 2.0), (1.2, math.inf)])
    def test_half_a_screen_is_none(self, given):
        with pytest.raises(ValueError, match=r"screen_width|distance"):
            Viewing(*given)


class TestLog:
    ROWS = tuple(FrameComfort(*(n + k / 100 for k in range(12))) for n in range(7))

    def test_a_resumed_log_is_the_whole_one(self, tmp_path):
        whole = ComfortLog()
        whole.add(self.ROWS)
        path = tmp_path / "log"
        first = ComfortLog()
        first.resume(path, 0)
        first.add(self.ROWS[:5])
        first.close()
        second = ComfortLog()  # the piece ended after three frames
        second.resume(path, 3)
        second.add(self.ROWS[3:])
        second.close()
        assert np.array_equal(second.rows, whole.rows)
        third = ComfortLog()
        third.resume(path, 7)
        third.close()
        assert np.array_equal(third.rows, whole.rows)

    @pytest.mark.parametrize("kept", [0, 96, 100, 201])
    def test_frames_that_were_not_kept_are_not_measured(self, tmp_path, kept):
        path = tmp_path / "log"
        log = ComfortLog()
        log.add(self.ROWS)
        path.write_bytes(log.rows.tobytes()[:kept])
        log.resume(path, 4)
        log.add(self.ROWS[4:])
        log.close()
        assert log.rows.shape == (7, 12)
        known = np.isfinite(log.rows).all(axis=1)
        assert known.tolist() == [n < kept // 96 for n in range(4)] + [True] * 3
