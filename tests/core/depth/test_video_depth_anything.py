"""Video-Depth-Anything: the published procedure, and the same as a stream."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from dreamstereo_core import ClassicInpainter, StereoPipeline
from dreamstereo_core.depth import VideoDepthAnything
from dreamstereo_core.depth.video_depth_anything import (
    robust_scale_and_shift,
    scale_and_shift,
    working_size,
)
from dreamstereo_core.models.depth import temporal_head
from dreamstereo_core.models.depth.video_depth_anything import VideoDepthNetwork

from .video_depth import TINY, H, W, film, predict, tiny_weights


@pytest.fixture(scope="module")
def network():
    network = VideoDepthNetwork(TINY)
    network.load_state_dict(tiny_weights(), strict=True)
    return network


@pytest.fixture
def depth(network):
    """Windows joined as published."""
    return VideoDepthAnything(network, device="cpu", size=H, robust=False)


# Mean, and three pixels, of the depth that the published code (infer_video_depth in float32, commit
# 4f5ae23) gives for these weights and this film of three windows.
PUBLISHED = {
    0: (1.75399, 2.62720, 2.14314, 2.98851),
    23: (1.66679, 2.03759, 2.18576, 2.35513),
    24: (1.63730, 1.99971, 2.16376, 2.13313),
    28: (1.67138, 2.01345, 1.95342, 2.86673),
    31: (1.74003, 1.55872, 2.03595, 2.81296),
    32: (1.73391, 1.74591, 1.96384, 2.43834),
    45: (1.68440, 1.50640, 2.35358, 2.00970),
    46: (1.66439, 1.49637, 2.27847, 1.93306),
    49: (1.70203, 1.35162, 2.22112, 2.25205),
}


class TestAsPublished:
    def test_three_windows(self, depth):
        raw = predict(depth, film(50), 50)
        assert raw.shape == (50, 1, H, W)
        for i, expected in PUBLISHED.items():
            values = [raw[i].mean(), *(raw[i, 0, y, x] for y, x in ((10, 10), (30, 20), (50, 60)))]
            assert [float(x) for x in values] == pytest.approx(expected, abs=1e-4), i

    def test_frames_are_resized_and_coloured_as_by_opencv(self, depth):
        seen = []
        hook = depth.network.pretrained.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        video = film(1)[:, :, :43, :61]
        depth.predict(video, new_shot=True)
        hook.remove()
        picture = cv2.resize(
            video[0].movedim(0, 2).numpy(), (84, 56), interpolation=cv2.INTER_CUBIC
        )
        expected = (picture - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        assert seen[0].shape == (1, 3, 56, 84)
        np.testing.assert_allclose(seen[0][0].movedim(0, 2), expected, atol=1e-4)

    @pytest.mark.parametrize(
        ("frame", "size"),
        [
            ((480, 854), (518, 924)),
            ((1920, 1080), (924, 518)),
            ((480, 640), (518, 686)),
            ((804, 1920), (392, 938)),  # wider than 16:9 takes no more memory
            ((1, 900), (14, 1036)),
        ],
    )
    def test_working_size(self, frame, size):
        assert working_size(*frame) == size


class TestStream:
    @pytest.mark.parametrize("sizes", [1, 7, [40, 1, 19]])
    def test_chunked_is_whole(self, depth, sizes):
        video = film(60)
        whole = predict(depth, video, 60)
        torch.testing.assert_close(predict(depth, video, sizes), whole, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("frames", [1, 2, 9, 12, 22, 23, 32, 33, 44, 54])
    def test_every_frame_gets_one_depth(self, depth, frames):
        raw = predict(depth, film(frames), 5)
        assert raw.shape == (frames, 1, H, W)
        assert raw.isfinite().all()
        assert raw.std() > 0.1

    def test_what_is_final_comes_at_once(self, depth):
        state, counts = None, []
        for frame in film(56).split(1):
            raw, state = depth.predict(frame, state)
            counts.append(len(raw))
        assert {i: n for i, n in enumerate(counts) if n} == {31: 24, 53: 22}
        assert len(depth.flush(state)) == 10

    def test_frames_after_the_end_change_nothing_final(self, depth):
        short, _ = depth.predict(film(32))
        long, _ = depth.predict(torch.cat((film(32), film(30, seed=9))))
        torch.testing.assert_close(long[:24], short, atol=1e-5, rtol=0)
        assert len(short) == 24

    def test_a_state_can_be_continued_twice(self, depth):
        _, state = depth.predict(film(40))
        first = depth.flush(state)
        depth.predict(film(30, seed=4), state)
        assert torch.equal(depth.flush(state), first)

    def test_each_frame_is_encoded_once_and_memory_is_bounded(self, depth):
        encoded = []
        hook = depth.network.pretrained.register_forward_hook(
            lambda _, x, y: encoded.append(len(x[0]))
        )
        state, most = None, 0
        for frames in film(100).split(10):
            _, state = depth.predict(frames, state)
            most = max(most, len(state.waiting))
        depth.flush(state)
        hook.remove()
        assert sum(encoded) == 100
        assert most < 32
        assert state.last.key_frames.shape[0] == 10

    def test_a_new_shot_forgets_the_old_one(self, depth):
        _, state = depth.predict(film(40), new_shot=True)
        after = predict(depth, film(25, seed=3), 9, state)
        assert torch.equal(after, predict(depth, film(25, seed=3), 9))

    def test_nothing_leaks_across_a_cut_of_a_whole_clip(self, depth):
        other = 1 - film(26, seed=7).flip(3)
        whole = depth.estimate(torch.cat((film(26), other)))
        torch.testing.assert_close(whole[26:], depth.estimate(other), atol=1e-4, rtol=0)
        assert not torch.allclose(whole[:26], whole[26:], atol=0.1)

    def test_in_the_pipeline(self, depth):
        film_with_cut = torch.cat((film(26), 1 - film(8, seed=7).flip(3)))
        chunks = list(StereoPipeline(depth, ClassicInpainter()).convert(film_with_cut))
        assert torch.equal(torch.cat([chunk.left for chunk in chunks]), film_with_cut)
        raw = torch.cat([chunk.inverse_depth for chunk in chunks])
        assert raw[:26].std() > 0.1
        assert raw[26:].std() > 0.1

    def test_parts_that_bound_the_memory_change_nothing(self, depth, monkeypatch):
        whole = predict(depth, film(33), 33)
        monkeypatch.setattr(temporal_head, "_VALUES_AT_ONCE", 1)
        monkeypatch.setattr(temporal_head, "_FRAMES_AT_ONCE", 3)
        torch.testing.assert_close(predict(depth, film(33), 33), whole, atol=1e-4, rtol=0)

    def test_half_precision_is_close(self, network, depth):
        half = VideoDepthAnything(network, device="cpu", size=H, dtype=torch.bfloat16)
        raw = predict(half, film(32), 32)
        assert raw.dtype == torch.float32
        error = (raw - predict(depth, film(32), 32)).abs()
        assert 1e-5 < error.mean() < 0.1

    def test_metres_are_inverted_and_keep_their_scale(self, network, depth):
        metres = VideoDepthAnything(network, device="cpu", size=H, metric=True)
        relative, inverted = predict(depth, film(40), 40), predict(metres, film(40), 40)
        expected = 1 / relative[:24].clamp(min=0.05)
        torch.testing.assert_close(inverted[:24], expected, atol=5e-3, rtol=1e-3)
        assert not torch.allclose(inverted[32:], 1 / relative[32:].clamp(min=0.05), rtol=0.01)

    def test_size_is_checked(self, network):
        with pytest.raises(ValueError, match="size: expected a multiple of 14, got 100"):
            VideoDepthAnything(network, size=100)


class Changing:
    """A head whose windows after the first see something very near at the top."""

    def __init__(self, head, top):
        self.head, self.top, self.windows = head, top, 0

    def __call__(self, *args):
        self.windows += 1
        depth = self.head(*args)
        if self.windows > 1:
            depth[..., : self.top, :] += 9
        return depth


class TestScaleAndShift:
    def test_the_robust_one_holds_where_a_fifth_of_the_points_is_wrong(self):
        generator = torch.Generator().manual_seed(0)
        values = torch.rand(2, 1, 30, 30, generator=generator)
        wanted = 3 * values + 2 + 0.01 * torch.randn(values.shape, generator=generator)
        wanted[..., :6, :] = 9  # a near thing that the other window has not seen
        assert robust_scale_and_shift(values, wanted) == pytest.approx((3, 2), abs=0.03)
        scale, shift = scale_and_shift(values, wanted)
        assert abs(float(scale + shift) - 5) > 0.5

    @pytest.mark.parametrize("robust", [True, False])
    def test_windows_are_joined_by_the_one_asked_for(self, network, robust):
        """A near thing in a part of the second window must not move the rest of it."""
        joined = []
        for top in (0, H // 5):
            depth = VideoDepthAnything(network, device="cpu", size=H, robust=robust)
            depth.network = SimpleNamespace(
                pretrained=network.pretrained,
                config=network.config,
                head=Changing(network.head, top),
            )
            joined.append(predict(depth, film(40), 40)[32:, :, H // 5 :])
        moved = (joined[1] - joined[0]).abs().mean() / joined[0].std()
        assert (moved < 0.1) == robust

    def test_it_is_found(self):
        values = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        scale, shift = scale_and_shift(values, 3 * values + 2)
        assert (float(scale), float(shift)) == pytest.approx((3, 2), abs=1e-4)

    def test_flat_and_contrary_values_keep_their_scale(self):
        wanted = torch.linspace(0, 1, 32).view(2, 1, 4, 4)
        for values in (torch.full_like(wanted, 0.1), 1.5 - wanted):
            scale, shift = scale_and_shift(values, wanted)
            assert float(scale) == 1
            assert float(shift) == pytest.approx(0.5 - float(values.mean()), abs=1e-6)
