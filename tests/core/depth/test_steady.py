"""Steady depth: jumps and flicker go, edges that move stay sharp, nothing leaks, nothing drifts."""

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core.depth import DepthError, EmbeddedDepth, SteadyDepth
from dreamstereo_core.depth import steady as steady_module
from dreamstereo_core.depth.align import align
from dreamstereo_core.depth.estimator import DepthEstimator
from dreamstereo_core.depth.steady import Memory, agreement

H, W = 64, 96


class Given(DepthEstimator):
    """Returns prepared inverse depths, and counts them."""

    name = "a model"
    normalized = False

    def __init__(self, depth):
        self.depth = depth

    def predict(self, video, state=None, *, new_shot=False):
        start = state or 0
        return self.depth[start : start + len(video)], start + len(video)


def smooth(seed, size=(H, W), frames=1, channels=3, cells=(9, 13)):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(frames, channels, *cells, generator=generator)
    return F.interpolate(noise, size, mode="bicubic").clamp(0, 1)


def still(frames, grain=0.01):
    generator = torch.Generator().manual_seed(9)
    picture = smooth(1).expand(frames, -1, -1, -1)
    return picture + grain * torch.randn(picture.shape, generator=generator)


def relief(frames=1):
    y = torch.linspace(0, 0.6, H).view(1, 1, -1, 1)
    return (y + 0.4 * smooth(3, channels=1)).expand(frames, -1, -1, -1)


def disturbed(depth, *, scale=0.1, shift=0.1, noise=0.02, seed=0):
    """Give each frame a scale, a shift and smooth noise of its own."""
    generator = torch.Generator().manual_seed(seed)
    count = (len(depth), 1, 1, 1)
    bumps = torch.randn(len(depth), 1, 6, 10, generator=generator)
    bumps = F.interpolate(bumps, depth.shape[2:], mode="bicubic") * noise
    factor = (scale * torch.randn(count, generator=generator)).exp()
    return (depth + bumps) * factor + shift * torch.randn(count, generator=generator)


def steadied(depth, video, sizes=None):
    estimator, state, parts = SteadyDepth(Given(depth)), None, []
    for i, chunk in enumerate(video.split(sizes or len(video))):
        raw, state = estimator.predict(chunk, state, new_shot=i == 0)
        parts.append(raw)
    return torch.cat(parts)


def flicker(depth):
    """Mean change from frame to frame, in deviations of the depth."""
    return ((depth[1:] - depth[:-1]).abs().mean() / depth.std((2, 3)).mean()).item()


def moving_square(frames=8, step=4):
    """A near square that moves over a far background: video, inverse depth, its left edge."""
    background, thing = smooth(1), smooth(2)
    video, depth = background.repeat(frames, 1, 1, 1), torch.full((frames, 1, H, W), 0.2)
    for i in range(frames):
        x = 10 + step * i
        video[i, :, 20:44, x : x + 30] = thing[0, :, :24, :30]
        depth[i, :, 20:44, x : x + 30] = 0.9
    return video, depth + 0.1 * relief(frames)


def smear(depth, true):
    """How many pixels of the last frame's middle row are off by a fifth of the step."""
    return int(((depth - true)[-1, 0, 32].abs() > 0.14).sum())


class TestStill:
    def test_flicker_falls_to_less_than_a_fifth(self):
        raw = disturbed(relief(20), scale=0, shift=0, noise=0.04)  # nothing that a fit would remove
        out = steadied(raw, still(20))
        assert flicker(out[8:]) < flicker(raw[8:]) / 5

    def test_a_model_that_keeps_changing_its_mind_is_averaged(self):
        raw = disturbed(relief(20), scale=0, shift=0, noise=0.2)  # as large as the relief
        out = steadied(raw, still(20))
        assert flicker(out[8:]) < flicker(raw[8:]) / 4

    def test_jumps_of_scale_and_shift_are_gone(self):
        raw = relief(10).clone()
        raw[5:] = 3 * raw[5:] - 7
        raw[8] *= 0.2
        out = steadied(raw, still(10, 0))
        torch.testing.assert_close(out, relief(10), atol=2e-3, rtol=0)

    def test_the_units_of_a_model_do_not_matter(self):
        raw, video = disturbed(relief(6)), still(6)
        small, large = steadied(1e-4 * raw, video), steadied(1e4 * raw, video)
        torch.testing.assert_close(large * 1e-8, small, atol=2e-8, rtol=1e-4)

    def test_scale_does_not_drift(self):
        # The fit alone, over many frames: a plain fit would lose a third of the relief.
        generator = torch.Generator().manual_seed(0)
        true = relief()[..., ::2, ::2].flatten()
        bumps = F.interpolate(torch.randn(1000, 1, 6, 10, generator=generator), (H // 2, W // 2))
        raws = true + 0.05 * bumps.flatten(1)
        raws *= (0.1 * torch.randn(1000, 1, generator=generator)).exp()

        def deviation(reference):
            x = true - true.mean()
            return float((reference - reference.mean()) @ x / (x @ x))

        reference, early = raws[0], 0.0
        for t in range(1, 1000):
            age = torch.full_like(true, min(t, 500))
            fit = align(raws[t], reference, torch.ones_like(true), age)
            aligned = (raws[t] - fit.center) * fit.scale + fit.target
            reference = torch.lerp(reference, aligned, 1 / (age + 1))
            early = deviation(reference) if t == 25 else early
        assert deviation(reference) == pytest.approx(early, rel=0.01)

    def test_blending_is_the_slow_recursion(self):
        raw, video = disturbed(relief(30), scale=0, shift=0, noise=0.002), still(1, 0)
        out = steadied(raw, video.expand(30, -1, -1, -1))
        expected = raw[:1]
        for age, frame in enumerate(raw[1:].split(1), 1):
            fit = align(frame.flatten(), expected.flatten(), torch.ones(H * W), torch.ones(H * W))
            aligned = (frame - fit.center) * fit.scale + fit.target
            new = max(1 / (age + 1), 0.04)
            expected = (1 - new) * expected + new * aligned
        torch.testing.assert_close(out[-1:], expected, atol=2e-3, rtol=0)
        assert (out[-1:] - raw[-1:]).abs().max() > 3e-3


class TestMoving:
    def test_a_moving_edge_does_not_smear(self):
        video, true = moving_square()
        out = steadied(disturbed(true, noise=0), video)
        scale, shift = out[-1].std() / true[-1].std(), 0
        out = (out - out[-1].mean()) / scale + true[-1].mean() + shift
        assert smear(out, true) <= 2
        averaged = [true[0]]
        for frame in true[1:]:
            averaged.append(torch.lerp(averaged[-1], frame, 0.2))
        assert smear(torch.stack(averaged), true) > 8

    def test_things_that_are_carried_along_are_averaged(self):
        video, true = moving_square()
        raw = disturbed(true, noise=0.03, scale=0, shift=0)
        out = steadied(raw, video)
        inside = (slice(-1, None), slice(None), slice(24, 40), slice(46, 60))
        assert (out - true)[inside].std() < 0.75 * (raw - true)[inside].std()

    def test_the_scale_follows_the_model_in_a_long_motion_only(self):
        video = torch.stack([smooth(1, (H, 400))[0, :, :, 3 * i : 3 * i + W] for i in range(60)])
        y = torch.linspace(0, 1, H).view(1, 1, -1, 1).expand(60, 1, H, W)
        raw = y * torch.cat((torch.full((1,), 0.5), torch.ones(59))).view(-1, 1, 1, 1)

        def end(frames):
            out = steadied(raw, frames)
            return (out[-1].max() - out[-1].min()).item()

        assert end(video) > 0.7
        assert end(video[:1].expand(60, -1, -1, -1)) == pytest.approx(0.5, abs=0.01)


class TestStream:
    @pytest.mark.parametrize("sizes", [[1] * 8, [3, 5], [6, 1, 1]])
    def test_chunked_is_whole(self, sizes):
        video, true = moving_square()
        raw = disturbed(true)
        whole = steadied(raw, video)
        torch.testing.assert_close(steadied(raw, video, sizes), whole, atol=2e-5, rtol=0)

    def test_cuts_at_every_frame_leave_the_raw_depth(self):
        raw, estimator, state = disturbed(relief(4)), SteadyDepth(Given(disturbed(relief(4)))), None
        for i, frame in enumerate(still(4).split(1)):
            out, state = estimator.predict(frame, state, new_shot=True)
            assert torch.equal(out, raw[i : i + 1])

    def test_a_new_shot_forgets_the_old_one(self):
        raw, video = disturbed(relief(8)), still(8)
        video = torch.cat((video[:4], 1 - video[4:]))
        estimator = SteadyDepth(Given(raw))
        _, state = estimator.predict(video[:4], None, new_shot=True)
        after, _ = estimator.predict(video[4:], state, new_shot=True)
        assert torch.equal(after, steadied(raw[4:], video[4:]))

    def test_another_size_may_begin_with_a_shot(self):
        video = still(4)
        estimator = SteadyDepth(EmbeddedDepth())
        _, state = estimator.predict(video[..., :40, :], None, new_shot=True)
        raw, _ = estimator.predict(video, state, new_shot=True)
        assert raw.shape == (4, 1, H, W)

    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (30, 300)])
    def test_any_size(self, size):
        raw = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(0))
        assert steadied(raw, torch.rand(3, 3, *size)).isfinite().all()


class TestBadDepth:
    def test_constant_depth_stays_constant(self):
        out = steadied(torch.full((5, 1, H, W), 0.3), still(5))
        torch.testing.assert_close(out, torch.full_like(out, 0.3))

    def test_a_constant_frame_takes_the_pasts_depth(self):
        raw = relief(6).clone()
        raw[3] = 4.0
        torch.testing.assert_close(steadied(raw, still(6, 0)), relief(6), atol=2e-3, rtol=0)

    def test_relief_after_constant_frames_starts_anew(self):
        raw = relief(6).clone()
        raw[:3] = 4.0
        out = steadied(raw, still(6, 0))
        torch.testing.assert_close(out[3:], relief(3), atol=2e-3, rtol=0)

    def test_a_depth_inside_out_does_not_turn_the_past(self):
        raw = relief(6).clone()
        raw[4] = 1 - raw[4]
        out = steadied(raw, still(6))
        correlation = torch.corrcoef(torch.stack((out[-1].flatten(), raw[-1].flatten())))[0, 1]
        assert correlation > 0.95
        assert out[-1].std() == pytest.approx(raw[-1].std().item(), rel=0.1)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_frame_that_is_not_finite_names_itself_and_the_model(self, value):
        raw = relief(6).clone()
        raw[4, 0, 0, :2] = value
        with pytest.raises(DepthError, match=r"^a model: .*frame 4: .*got 2 that are NaN"):
            steadied(raw, still(6), [3, 3])

    def test_a_depth_that_comes_late_is_refused(self):
        with pytest.raises(DepthError, match="expected 4 depths for as many frames, got 2"):
            steadied(relief(2), still(4))

    def test_wants_raw_depth(self):
        estimator = Given(relief())
        estimator.normalized = True
        with pytest.raises(ValueError, match="raw inverse depth"):
            SteadyDepth(estimator)


class TestAgreement:
    def test_grain_and_a_flash_are_no_difference_and_another_colour_is(self):
        before, now = still(2, 0.02).split(1)
        now = (now * 0.9 + 0.1).clone()
        now[..., 20:40, 20:40] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
        trust = agreement(now, before, torch.zeros(1, 2, H, W))
        assert trust[..., 22:38, 22:38].max() < 0.2
        assert trust[..., 50:, 50:].min() > 0.7

    def test_what_comes_from_outside_is_not_known(self):
        frame = smooth(1)
        flow = torch.zeros(1, 2, H, W)
        flow[:, 0] = -5
        trust = agreement(frame, frame, flow)
        assert trust[..., :4].max() == 0
        assert trust[..., 8:].max() > 0


class TestAlign:
    def test_outliers_do_not_count(self):
        wanted = torch.linspace(0, 1, 200)
        values = 4 * wanted + 3
        values[::4] = 20.0
        fit = align(values, wanted, torch.ones(200), torch.ones(200))
        assert fit.scale == pytest.approx(0.25, rel=0.02)
        assert (values[1] - fit.center) * fit.scale + fit.target == pytest.approx(
            wanted[1].item(), abs=0.01
        )

    def test_weights_count(self):
        wanted = torch.cat((torch.linspace(0, 1, 50), torch.linspace(0, 1, 50)))
        values = torch.cat((2 * wanted[:50], 5 * wanted[50:]))
        weight = torch.cat((torch.ones(50), torch.zeros(50)))
        assert align(values, wanted, weight, torch.ones(100)).scale == pytest.approx(0.5, rel=1e-2)


def test_memory_does_not_grow():
    def sizes(frames):
        state = SteadyDepth(Given(relief(frames))).predict(still(frames), new_shot=True)[1]
        assert isinstance(state.memory, Memory)
        return [t.untyped_storage().nbytes() for t in vars(state.memory).values()
                if isinstance(t, torch.Tensor)]  # fmt: skip

    assert sizes(12)[1:] == sizes(3)[1:]


def test_without_a_limit_to_the_past_an_edge_would_smear(monkeypatch):
    # The limit is what keeps the edge: colours alone do not tell a thing from what is like it.
    video, true = moving_square()
    video = video.mean((2, 3), keepdim=True).expand_as(video)  # nothing to see: no flow, no colour
    kept = smear(steadied(true, video), true)
    monkeypatch.setattr(
        steady_module, "_limit", lambda depth, aligned, slack, trust: (depth, trust)
    )
    assert kept <= 2 < smear(steadied(true, video), true)
