"""One scale per shot, and depth at the frame's own resolution."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core.depth import ShotNormalizer, normalize, upsample_inverse_depth
from dreamstereo_core.depth.normalize import Pool


def stream(frames, cuts=(0,), lookahead=3):
    """Return the scales of ``[T, 1, h, w]``, and how many were known after each frame."""
    scales, known = [], []

    def raws():
        for i, frame in enumerate(frames):
            if i:
                known.append(len(scales))
            yield frame, i in cuts
        known.append(len(scales))

    for scale in ShotNormalizer(lookahead).stream(raws()):
        scales.append(scale)
    return scales, known


def ramp(frames: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    return torch.linspace(low, high, 1000).view(1, 1, 20, 50).repeat(frames, 1, 1, 1)


class TestShotNormalizer:
    def test_percentiles_and_median(self):
        scales, _ = stream(ramp(5, 10, 20))
        assert len(scales) == 5
        for scale in scales:
            assert (scale.low, scale.median, scale.high) == pytest.approx(
                (10.2, 15, 19.8), abs=0.05
            )

    def test_one_outlier_does_not_matter(self):
        frames = ramp(3)
        frames[1, 0, 0, 0] = 1e6
        assert stream(frames)[0][0].high == pytest.approx(0.98, abs=0.01)

    def test_scales_come_in_order_after_the_lookahead(self):
        _, known = stream(ramp(8), lookahead=3)
        assert known == [0, 0, 0, 1, 2, 3, 4, 5]
        _, known = stream(ramp(8), cuts=(0, 5), lookahead=3)
        assert known == [0, 0, 0, 1, 2, 5, 5, 5]

    def test_the_lookahead_is_in_the_pool_and_what_is_beyond_is_not(self):
        frames = torch.cat((ramp(4), ramp(4, 5, 6)))
        scales, _ = stream(frames, lookahead=2)
        assert scales[1].high < 1
        assert scales[2].high > 5
        assert scales[7].median == pytest.approx(
            3, abs=2.05
        )  # half the pixels below 1, half above 5

    def test_the_scale_is_not_a_frames_own(self):
        frames = ramp(40)
        frames[20] *= 3  # one frame's estimate jumps
        highs = [scale.high for scale in stream(frames, lookahead=16)[0]]
        assert stream(frames[20:21])[0][0].high > 2.9  # its own would be
        assert max(highs) < 1.8
        assert max(b / a for a, b in pairwise(highs)) < 1.8
        assert max(a / b for a, b in pairwise(highs)) < 1.1

    def test_nothing_leaks_across_a_cut(self):
        frames = torch.cat((ramp(6, 0, 9), ramp(6, 100, 200)))
        scales, _ = stream(frames, cuts=(0, 6))
        assert scales[:6] == stream(frames[:6])[0]
        assert scales[6:] == stream(frames[6:])[0]

    def test_memory_does_not_grow_and_a_long_shot_keeps_its_percentiles(self):
        generator = torch.Generator().manual_seed(0)
        frames = ((torch.rand(1, 40, 40, generator=generator), i == 0) for i in range(300))
        *_, last = ShotNormalizer(4).stream(frames)
        pool = Pool()
        for _ in range(3):
            pool = pool.with_frame(torch.rand(1024).sort().values)
        assert pool.values.numel() == 1024
        assert (last.low, last.median, last.high) == pytest.approx((0.02, 0.5, 0.98), abs=0.01)

    def test_nan_is_named(self):
        bad = torch.rand(1, 4, 4)
        bad[0, 1, 1] = float("nan")
        with pytest.raises(ValueError, match="frame 1: expected finite values, got 1"):
            list(ShotNormalizer().stream([(torch.rand(1, 4, 4), True), (bad, False)]))

    def test_one_pixel(self):
        scales, _ = stream(torch.full((1, 1, 1, 1), 7.0))
        assert (scales[0].low, scales[0].high) == (7, 7)

    def test_rejects_a_negative_lookahead(self):
        with pytest.raises(ValueError, match="lookahead"):
            ShotNormalizer(-1)


class TestNormalize:
    def test_maps_and_clips(self):
        raw = torch.tensor([0.0, 2.0, 3.0, 4.0, 9.0])
        assert normalize(raw, 2, 4).tolist() == [0, 0, 0.5, 1, 1]

    @pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
    def test_a_constant_depth_is_a_flat_plane(self, value):
        assert normalize(torch.full((1, 1, 2, 2), value), value, value).unique().tolist() == [0.5]


class TestUpsample:
    @pytest.mark.parametrize("step", [0.1, 0.4, 0.8])
    @pytest.mark.parametrize("scale", [2, 5])
    def test_an_edge_becomes_a_step_a_little_outside_of_its_middle(self, step, scale):
        low = torch.full((1, 1, 18, 32), 0.1)
        low[..., 15:] += step
        depth = upsample_inverse_depth(low, torch.rand(1, 3, 18 * scale, 32 * scale))
        share = (depth[0, 0, 9 * scale] - 0.1) / step
        assert ((share > 0.02) & (share < 0.98)).sum() <= 2
        edge = len(share) - share.sum().item()  # x where the near side begins
        assert 15 * scale - 0.5 * scale < edge < 15 * scale

    def test_a_flat_depth_takes_nothing_from_the_picture(self):
        video = torch.rand(2, 3, 60, 100, generator=torch.Generator().manual_seed(0))
        depth = upsample_inverse_depth(torch.full((2, 1, 12, 20), 0.3), video)
        torch.testing.assert_close(depth, torch.full((2, 1, 60, 100), 0.3))

    def test_nothing_bulges_along_an_edge(self):
        """Both sides keep their slopes; their extremes do not spread along the edge."""
        y, x = torch.arange(60.0)[:, None], torch.arange(100.0)
        side = torch.sigmoid((x - 50) * 2)  # a ramp of two pixels
        low = torch.lerp(0.1 + 0.002 * x, 0.6 + 0.004 * (y - 30) + 0.004 * (x - 50), side)[
            None, None
        ]
        video = (torch.arange(500) >= 252).float().expand(1, 3, 300, 500)
        depth = upsample_inverse_depth(low, video)
        plain = F.interpolate(low, (300, 500), mode="bilinear")
        beside = torch.ones(500, dtype=torch.bool)
        beside[240:265] = False  # the ramp itself
        assert (depth - plain)[:, :, 20:-20, beside].abs().max() < 0.02
        across = depth[0, 0, 150]
        assert ((across > 0.25) & (across < 0.55)).sum() <= 4  # and the ramp is a step

    def test_no_value_leaves_the_range(self):
        generator = torch.Generator().manual_seed(0)
        low = torch.rand(1, 1, 12, 20, generator=generator) * 0.5 + 0.25
        depth = upsample_inverse_depth(low, torch.rand(1, 3, 60, 100, generator=generator))
        assert depth.min() >= low.min() - 1e-6
        assert depth.max() <= low.max() + 1e-6

    def test_a_slope_stays_a_slope(self):
        video = torch.full((1, 3, 60, 320), 0.5)
        low = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(1, 1, 12, 64)
        depth = upsample_inverse_depth(low, video)
        bilinear = torch.nn.functional.interpolate(low, (60, 320), mode="bilinear")
        assert (depth - bilinear).abs()[..., 20:-20].max() < 0.005

    def test_an_edge_where_the_picture_has_none_is_kept(self):
        low = torch.full((1, 1, 12, 20), 0.2)
        low[..., 8:] = 0.8
        depth = upsample_inverse_depth(low, torch.full((1, 3, 60, 100), 0.5))[0, 0, 30]
        assert depth[:37].max() < 0.25
        assert depth[43:].min() > 0.75

    def test_the_videos_own_size_is_left_alone_and_larger_is_averaged(self):
        video, depth = torch.rand(1, 3, 6, 8), torch.rand(1, 1, 6, 8)
        assert torch.equal(upsample_inverse_depth(depth, video), depth)
        halved = upsample_inverse_depth(depth, video[..., ::2, ::2])
        torch.testing.assert_close(halved, torch.nn.functional.avg_pool2d(depth, 2))

    def test_rejects_another_number_of_frames(self):
        with pytest.raises(ValueError, match="expected 2 frames to match the video, got 3"):
            upsample_inverse_depth(torch.rand(3, 1, 4, 4), torch.rand(2, 3, 8, 8))
