"""What lies on the screen, how far things leave it, and the window that frames them."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from dreamstereo_core import ClassicInpainter, ConvertOptions, StereoPipeline
from dreamstereo_core.convergence import EasedConvergence, clip_convergence
from dreamstereo_core.depth import DepthEstimator, ShotNormalizer
from dreamstereo_core.disparity import inverse_depth_to_disparity
from dreamstereo_core.floating_window import FloatingWindow, border_disparity, mask_borders

SLEW = 0.15  # of the depth's range, per second


def subject_at(*levels: float, size=(48, 64)) -> torch.Tensor:
    """A large near thing in the middle at each frame's level, far walls, a very near corner."""
    frames = torch.full((len(levels), 1, *size), 0.1)
    for frame, level in zip(frames, levels, strict=True):
        frame[:, 12:36, 16:48] = level
        frame[:, 40:, :16] = 1.0
        frame[:, :4] = 0.0
    return frames


class TestConvergence:
    def test_the_subject_is_what_is_large_and_near_in_the_middle(self):
        assert clip_convergence(subject_at(0.7), "subject") == pytest.approx([0.7])
        assert clip_convergence(subject_at(0.7), "median") == pytest.approx([0.1])

    def test_a_speck_in_the_middle_and_a_near_floor_are_no_subject(self):
        frame = torch.full((1, 1, 48, 64), 0.3)
        frame[..., 23:26, 30:34] = 0.9
        frame[..., 42:, :] = 1.0
        assert clip_convergence(frame, "subject") == pytest.approx([0.3])

    def test_auto_is_the_subject(self):
        levels = subject_at(0.4, 0.9, 0.5)
        assert clip_convergence(levels, "auto") == clip_convergence(levels, "subject")

    @pytest.mark.parametrize("mode", ["subject", "median"])
    @pytest.mark.parametrize("rate", [12.0, 60.0])
    def test_it_moves_slowly_in_a_shot_and_jumps_at_its_cut(self, mode, rate):
        depth = torch.cat([torch.full((n, 1, 8, 8), v) for n, v in ((20, 0.2), (60, 0.9))])
        cuts = torch.zeros(80, dtype=torch.bool)
        cuts[0] = True
        eased = clip_convergence(depth, mode, frame_rate=rate)
        steps = [b - a for a, b in pairwise(eased)]
        assert eased[0] == pytest.approx(0.2)
        assert eased[-1] > 0.3
        assert 0 < max(steps) <= SLEW / rate + 1e-6
        assert min(steps) >= 0
        cuts[20] = True
        jumped = clip_convergence(depth, mode, cuts=cuts, frame_rate=rate)
        assert jumped == pytest.approx([0.2] * 20 + [0.9] * 60)

    def test_it_arrives(self):
        depth = torch.cat([subject_at(*[0.4] * 10), subject_at(*[0.6] * 200)])
        assert clip_convergence(depth, "subject")[-1] == pytest.approx(0.6, abs=0.005)

    def test_one_frames_wrong_depth_does_not_move_it(self):
        levels = [0.5] * 30
        levels[15] = 1.0
        assert max(clip_convergence(subject_at(*levels), "subject")) == pytest.approx(0.5)

    def test_a_subject_is_found_on_the_shots_scale(self):
        (scale,) = ShotNormalizer().stream([(10 + 4 * subject_at(0.5)[0], True)])
        assert scale.subject == pytest.approx(12)
        scale = replace(scale, low=10.0, high=14.0)
        assert EasedConvergence("subject").step(scale, new_shot=True) == pytest.approx(0.5)

    def test_a_number_stays_as_it_is(self):
        assert clip_convergence(subject_at(0.2, 0.9), 0.37) == [0.37, 0.37]

    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (300, 2)])
    def test_any_size(self, size):
        assert clip_convergence(torch.full((1, 1, *size), 0.6), "subject") == pytest.approx([0.6])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("near",), "convergence: expected one of auto, subject, median or a number in"),
            ((1.5,), r"convergence: expected a value in \[0, 1\], got 1.5"),
            (("auto", 0), "frame_rate: expected more than 0 frames per second, got 0"),
            (("auto", float("nan")), "frame_rate: expected more than 0 .* got nan"),
        ],
    )
    def test_wrong_values_are_named(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            EasedConvergence(*arguments)


class TestLimits:
    ramp = torch.linspace(0, 1, 400).view(1, 1, 1, 400)

    def disparity(self, **options):
        return inverse_depth_to_disparity(self.ramp, max_disparity=6.0, **options)

    @pytest.mark.parametrize("convergence", [0.0, 0.3, 1.0])
    def test_they_hold_and_keep_the_order(self, convergence):
        limited = self.disparity(convergence=convergence, max_front=1.5, max_behind=2.0)
        assert limited.max() <= 6.0 + 1e-4  # 1.5 % of 400 px
        assert limited.min() >= -8.0 - 1e-4
        assert (limited.diff() > 0).all()
        free = self.disparity(convergence=convergence)
        assert torch.equal(limited.sign(), free.sign())

    def test_the_extremes_reach_the_limits_and_small_disparities_stay(self):
        limited = self.disparity(convergence=0.5, max_front=1.5, max_behind=2.0)
        assert limited[..., -1].item() == pytest.approx(6.0, abs=1e-4)
        assert limited[..., 0].item() == pytest.approx(-8.0, abs=1e-4)
        free = self.disparity(convergence=0.5)
        small = (free < 3.0) & (free > -4.0)  # half of the limits
        assert torch.equal(limited[small], free[small])
        assert not torch.equal(limited, free)

    def test_the_bend_has_no_corner(self):
        limited = self.disparity(convergence=0.5, max_front=1.5)
        assert limited.diff().diff().abs().max() < 0.004

    def test_nothing_changes_within_the_limits(self):
        free = self.disparity(convergence=0.5)
        assert torch.equal(self.disparity(convergence=0.5, max_front=3.0, max_behind=3.0), free)
        assert torch.equal(free, (self.ramp - 0.5) * (6.0 / 100 * 400))

    def test_no_front_at_all(self):
        limited = self.disparity(convergence=0.5, max_front=0.0)
        assert limited.max() == 0
        assert limited.isfinite().all()

    def test_what_is_nearer_than_nearest_is_held_too(self):
        limited = inverse_depth_to_disparity(self.ramp * 3, max_disparity=6.0, max_front=1.0)
        assert limited.max() <= 4.0 + 1e-4

    @pytest.mark.parametrize("name", ["max_front", "max_behind"])
    def test_wrong_values_are_named(self, name):
        message = rf"{name}: expected a value in \[0, 100\], got -1"
        with pytest.raises(ValueError, match=message):
            self.disparity(**{name: -1})
        with pytest.raises(ValueError, match=message):
            ConvertOptions(**{name: -1})


class TestFloatingWindow:
    def test_it_hides_exactly_what_the_other_eye_does_not_see(self):
        # A thing 4 px in front fills the scene: columns of the world 0..63 in the left view.
        world = torch.rand(1, 3, 8, 80) * 0.9 + 0.1
        left, right = world[..., 10:74], world[..., 14:78]  # x_right = x_left - 4
        disparity = torch.full((1, 1, 8, 64), 4.0)
        strips = FloatingWindow().strips(disparity, "right")
        masked_left, masked_right = mask_borders(left, right, strips)
        assert strips == (4.0, 4.0)
        only_left = torch.zeros(64, dtype=torch.bool)
        only_left[:4] = True  # world columns 10..13
        assert torch.equal((masked_left == 0).all(0).all(0).all(0), only_left)
        assert torch.equal((masked_right == 0).all(0).all(0).all(0), only_left.flip(0))
        assert torch.equal(masked_left[..., 4:], left[..., 4:])
        # What is left is one and the same part of the world.
        assert torch.equal(masked_left[..., 4:], masked_right[..., :-4])

    @pytest.mark.parametrize("toward", ["right", "left"])
    def test_things_behind_and_on_the_screen_are_not_masked(self, toward):
        disparity = torch.full((1, 1, 8, 64), -3.0)
        disparity[..., 20:40] = 5.0  # in front, but not at the border
        disparity[..., -1] = 0.0
        assert FloatingWindow().strips(disparity, toward) == (0.0, 0.0)

    def test_each_border_has_its_own_strip(self):
        disparity = torch.full((1, 1, 8, 64), -1.0)
        disparity[..., :20] = 2.0
        disparity[..., 50:] = 6.0
        assert border_disparity(disparity, "right") == (2.0, 6.0)
        assert border_disparity(disparity, "left") == (2.0, 6.0)

    def test_a_thing_that_only_the_other_frame_cuts_off_counts(self):
        disparity = torch.full((1, 1, 8, 64), -1.0)
        disparity[..., 2:20] = 5.0  # its columns 2..4 land left of the right view
        assert border_disparity(disparity, "right") == (5.0, 0.0)

    def test_a_few_wrong_rows_do_not_count(self):
        disparity = torch.full((1, 1, 100, 64), 1.0)
        disparity[..., :3, :] = 20.0
        assert border_disparity(disparity, "right") == (1.0, 1.0)

    def test_a_fraction_of_a_pixel_darkens_it(self):
        white = torch.ones(1, 3, 2, 8)
        left, right = mask_borders(white, white, (1.25, 0.5))
        assert left[0, 0, 0].tolist() == [0, 0.75, 1, 1, 1, 1, 1, 1]
        assert right[0, 0, 0].tolist() == [1, 1, 1, 1, 1, 1, 1, 0.5]

    def test_it_moves_slowly(self):
        window = FloatingWindow(frame_rate=10)
        levels = [0.0] + [8.0] * 30
        strips = [window.strips(torch.full((1, 1, 4, 100), d), "right")[0] for d in levels]
        steps = [b - a for a, b in pairwise(strips)]
        assert strips[0] == 0
        assert strips[-1] == pytest.approx(3.0, abs=0.01)  # 3 s at 1 % of 100 px a second
        assert max(steps) <= 0.1 + 1e-6
        assert FloatingWindow(10).strips(torch.full((1, 1, 4, 100), 8.0), "right") == (8.0, 8.0)


class BrightIsNear(DepthEstimator):
    name = "bright is near"
    normalized = True

    def predict(self, video, state=None, *, new_shot=False):
        return video.mean(1, keepdim=True), None


def shot(frames: int, level: float, seed: int) -> torch.Tensor:
    """A grey thing that comes nearer, over dark texture; it reaches the left border."""
    texture = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed)) * 0.3
    video = torch.nn.functional.interpolate(texture, (48, 64)).repeat(frames, 1, 1, 1)
    for t, frame in enumerate(video):
        frame[:, 4:44, :44] = level + 0.02 * t
    return video


def convert(video, frame_rate=24.0, **options):
    pipeline = StereoPipeline(
        BrightIsNear(), ClassicInpainter(reach=(1,)), ConvertOptions(**options)
    )
    chunks = list(pipeline.convert(video, frame_rate=frame_rate))
    return torch.cat([c.left for c in chunks]), torch.cat([c.right for c in chunks])


class TestPipeline:
    film = torch.cat([shot(11, 0.5, 0), shot(9, 0.9, 5).flip(2, 3)])

    @pytest.mark.parametrize("eye", ["right", "left"])
    def test_the_pictures_do_not_depend_on_the_chunks(self, eye):
        options = {"max_disparity": 12, "eye": eye, "floating_window": True}
        whole = convert(self.film, **options, chunk_frames=50)
        parts = convert(self.film, **options, chunk_frames=3)
        assert torch.equal(whole[0], parts[0])
        assert torch.equal(whole[1], parts[1])

    def test_nothing_leaks_across_a_cut(self):
        options = {"max_disparity": 12, "floating_window": True, "convergence": "subject"}
        both, alone = convert(self.film, **options), convert(self.film[11:], **options)
        assert torch.equal(both[0][11:], alone[0])
        assert torch.equal(both[1][11:], alone[1])

    def test_the_limits_are_none_of_the_default_strengths_business(self):
        default = convert(self.film, convergence=0.5)
        free = convert(self.film, convergence=0.5, max_front=None, max_behind=None)
        assert torch.equal(default[1], free[1])
        strong = convert(self.film, convergence=0.5, max_disparity=12)
        free = convert(self.film, convergence=0.5, max_disparity=12, max_front=None)
        assert not torch.equal(strong[1], free[1])

    @pytest.mark.parametrize("eye", ["right", "left"])
    def test_the_window_changes_nothing_but_the_strips(self, eye):
        options = {"max_disparity": 12, "convergence": 0.1, "eye": eye, "max_front": None}
        left, right = convert(self.film[:3], **options)
        framed_left, framed_right = convert(self.film[:3], **options, floating_window=True)
        assert not framed_left[..., :3].any()  # 12 % of 64 px, 0.4 of the range in front
        assert torch.equal(framed_left[..., 8:], left[..., 8:])
        assert torch.equal(framed_right[..., :-8], right[..., :-8])
        assert torch.equal(left, self.film[:3]) or torch.equal(right, self.film[:3])

    def test_the_frame_rate_reaches_the_easing(self):
        slow, fast = (
            convert(self.film[:11], rate, convergence="subject")[1] for rate in (2.0, 200.0)
        )
        assert not torch.equal(slow[10], fast[10])

    def test_a_wrong_convergence_is_named(self):
        message = "convergence: expected one of auto, subject, median or a number"
        with pytest.raises(ValueError, match=message):
            ConvertOptions(convergence="near")  # pyright: ignore[reportArgumentType]
