"""The streaming pipeline: chunks, cuts, eyes, memory."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter, ConvertOptions, StereoPipeline
from dreamstereo_core.depth import DepthEstimator
from dreamstereo_core.packing import FILE_LAYOUTS, show


@dataclass
class BrightIsNear(DepthEstimator):
    """An estimator without surprises; tells how often a shot began."""

    name: str = "bright is near"
    normalized: bool = False
    shots: int = 0

    def predict(self, video, state=None, *, new_shot=False):
        self.shots += new_shot
        return F.avg_pool2d(video.mean(1, keepdim=True), 2), None


def shot(frames, seed, height=32, width=64):
    """A bright square that moves over its own dark texture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 8, generator=generator)
    background = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 0.4
    video = background.repeat(frames, 1, 1, 1)
    for t in range(frames):
        video[t, :, 8:24, 10 + 2 * t : 26 + 2 * t] = 0.9
    return video


def convert(video, depth=None, inpainter=None, **options):
    pipeline = StereoPipeline(
        depth or BrightIsNear(),
        inpainter or ClassicInpainter(reach=(1, 2)),
        ConvertOptions(max_disparity=12, **options),
    )
    return list(pipeline.convert(video))


def joined(chunks, name):
    return torch.cat([getattr(chunk, name) for chunk in chunks])


@pytest.mark.parametrize(("eye", "source"), [("right", "left"), ("left", "right")])
def test_one_eye_is_the_source_to_the_bit_and_the_other_has_its_known_pixels(eye, source):
    video = shot(5, 0)
    chunks = convert(video, eye=eye)
    assert torch.equal(joined(chunks, source), video)
    made, mask = joined(chunks, eye), joined(chunks, "occlusion_mask")
    assert made.shape == video.shape
    assert 0 < mask.mean() < 0.5
    assert not torch.equal(made, video)


def test_the_left_eye_is_the_mirrored_problem():
    video = shot(4, 1)
    right = convert(video, eye="right", convergence=0.5)
    left = convert(video.flip(-1), eye="left", convergence=0.5)
    assert torch.allclose(
        joined(right, "occlusion_mask"), joined(left, "occlusion_mask").flip(-1), atol=1e-6
    )
    difference = (joined(right, "right") - joined(left, "left").flip(-1)).abs()
    assert difference.mean() < 2e-3


@pytest.mark.parametrize("chunk_frames", [1, 3, 50])
def test_the_picture_does_not_depend_on_the_chunks(chunk_frames):
    video = torch.cat([shot(7, 0), shot(4, 5).flip(2, 3)])
    whole = convert(video, chunk_frames=4)
    parts = convert(video, chunk_frames=chunk_frames)
    for name in ("left", "right", "occlusion_mask", "inverse_depth"):
        assert torch.equal(joined(whole, name), joined(parts, name)), name
    assert [c.start for c in parts][:2] == [0, min(chunk_frames, 7)]
    assert max(len(c.left) for c in parts) <= chunk_frames


def test_nothing_leaks_across_a_cut():
    first, second = shot(5, 2), shot(6, 9).flip(2, 3)
    depth = BrightIsNear()
    both = joined(convert(torch.cat([first, second]), depth), "right")
    assert depth.shots == 2
    assert torch.equal(both[:5], joined(convert(first), "right"))
    assert torch.equal(both[5:], joined(convert(second), "right"))


def test_each_frame_may_be_a_shot_of_its_own():
    noise = torch.rand(6, 3, 4, 9, generator=torch.Generator().manual_seed(3))
    video = F.interpolate(noise, (32, 64), mode="bicubic").clamp(0, 1)
    depth = BrightIsNear()
    chunks = convert(video, depth)
    assert depth.shots == 6
    assert [chunk.start for chunk in chunks] == list(range(6))
    for i, chunk in enumerate(chunks):
        assert torch.equal(chunk.right, convert(video[i : i + 1])[0].right)


def test_a_flash_and_a_fade_to_black_and_back_start_no_shot():
    video = shot(24, 0)
    video[6:8] = video[6:8] * 0.3 + 0.7
    fade = torch.linspace(1, 0, 6).view(-1, 1, 1, 1)
    video[10:22] *= torch.cat((fade, fade.flip(0)))
    depth = BrightIsNear()
    converted = joined(convert(video, depth), "right")
    assert depth.shots == 1
    assert converted[15:17].max() < 0.02  # holes know the frames around


def test_memory_is_bounded_whatever_the_length():
    pulled = given = ahead = 0

    def frames():
        nonlocal pulled
        for _ in range(6):
            for frame in shot(20, 3, 16, 32):
                pulled += 1
                yield frame

    pipeline = StereoPipeline(
        BrightIsNear(), ClassicInpainter(reach=(1, 4)), ConvertOptions(chunk_frames=4)
    )
    for chunk in pipeline.convert(frames()):
        given += len(chunk.left)
        ahead = max(ahead, pulled - given)
    assert given == 120
    # The depth's look-ahead and the bars', the fill's, a chunk being read, one that waits with the
    # frame after it, and one written.
    assert ahead <= 16 + 4 + 4 + 5 + 4


class Late(BrightIsNear):
    """Gives the depth of a frame when three more have come, or the shot ends."""

    def predict(self, video, state=None, *, new_shot=False):
        raw, _ = super().predict(video, new_shot=new_shot)
        raw = raw if new_shot else torch.cat((state, raw))
        return raw[:-3], raw[-3:].clone()

    def flush(self, state):
        return super().flush(None) if state is None else state


@pytest.mark.parametrize("chunk_frames", [1, 4, 50])
def test_depth_may_come_late(chunk_frames):
    video = torch.cat([shot(7, 0), shot(2, 5).flip(2, 3)])
    prompt = convert(video, chunk_frames=chunk_frames)
    late = convert(video, Late(), chunk_frames=chunk_frames)
    for name in ("left", "right", "inverse_depth"):
        assert torch.equal(joined(prompt, name), joined(late, name)), name
    assert torch.equal(Late().estimate(video), BrightIsNear().estimate(video))


def test_a_depth_that_never_comes_is_an_error():
    class Lost(Late):
        def flush(self, state):
            return torch.empty(0, 1, 1, 1)

    with pytest.raises(RuntimeError, match=r"bright is near: expected 3 more depths .*, got 0"):
        convert(shot(5, 0), Lost())


@pytest.mark.parametrize("convergence", ["auto", "subject", "median"])
def test_automatic_convergence_puts_what_is_large_on_the_screen(convergence):
    class TwoPlanes(BrightIsNear):
        def predict(self, video, state=None, *, new_shot=False):
            raw = torch.ones(len(video), 1, *video.shape[2:])
            raw[..., :20] = 7.0  # less than half of the frame
            return raw, None

    video = shot(3, 4)
    automatic = joined(convert(video, TwoPlanes(), convergence=convergence), "right")
    assert torch.equal(automatic[..., 24:], video[..., 24:])
    near = joined(convert(video, TwoPlanes(), convergence=1.0), "right")
    assert torch.equal(near[..., :12], video[..., :12])
    assert not torch.equal(near[..., 24:], video[..., 24:])


def test_near_things_grow_by_the_dilation():
    chunks = [convert(shot(1, 4), foreground_dilation=n)[0] for n in (0, 2)]
    tight, grown = (chunk.inverse_depth[0, 0, 16] > 0.8 for chunk in chunks)
    assert grown.sum() == tight.sum() + 4


def test_no_frames_give_no_chunks_and_one_gives_one():
    assert convert([]) == []
    assert joined(convert(shot(1, 0)), "right").shape == (1, 3, 32, 64)


@pytest.mark.parametrize("size", [(1, 64), (33, 1), (17, 31)])
def test_odd_sizes(size):
    video = torch.rand(3, 3, *size)

    class Ramp(BrightIsNear):
        def predict(self, video, state=None, *, new_shot=False):
            ramp = torch.linspace(0, 1, video.shape[-1]).expand(video.shape[2:])
            return ramp.expand(len(video), 1, -1, -1), None

    assert joined(convert(video, Ramp()), "right").shape == video.shape


def test_frames_of_another_size_are_an_error():
    with pytest.raises(ValueError, match="frames: expected the first frame's shape"):
        convert([torch.rand(3, 8, 8), torch.rand(3, 8, 9)])


def test_depth_that_is_not_finite_is_an_error():
    class Broken(BrightIsNear):
        def predict(self, video, state=None, *, new_shot=False):
            return torch.full((len(video), 1, 4, 4), torch.nan), None

    with pytest.raises(ValueError, match="frame 0: expected finite values"):
        convert(shot(2, 0), Broken())


def test_constant_depth_gives_a_flat_picture():
    class Flat(BrightIsNear):
        def predict(self, video, state=None, *, new_shot=False):
            return torch.full((len(video), 1, 4, 4), 3.0), None

    video = shot(2, 0)
    assert torch.equal(joined(convert(video, Flat()), "right"), video)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_disparity": 101}, "max_disparity: expected a value in"),
        ({"convergence": -0.1}, "convergence: expected a value in"),
        ({"eye": "middle"}, "eye: expected one of right, left"),
        ({"shots": "optical"}, "shots: expected one of auto, histogram, transnet"),
        ({"foreground_dilation": -1}, "foreground_dilation: expected at least 0"),
        ({"feather": -1}, "feather: expected at least 0"),
        ({"chunk_frames": 0}, "chunk_frames: expected at least 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ConvertOptions(**options)


@pytest.mark.parametrize("layout", [name for name in FILE_LAYOUTS if name != "separate"])
def test_every_layout_can_be_shown(layout):
    picture = show(convert(shot(2, 0))[0], layout)
    assert picture.shape[:2] == (2, 3)
    assert 0 <= picture.min() <= picture.max() <= 1
