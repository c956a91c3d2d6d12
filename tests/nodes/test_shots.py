import pytest
import torch

BARS = (12, 12, 0, 0)


@pytest.fixture
def shots(node_module):
    return node_module("shots")


def scene(frames, seed, boxed=True):
    generator = torch.Generator().manual_seed(seed)
    video = torch.rand(1, 3, 40 if boxed else 64, 96, generator=generator) * 0.5 + 0.3
    video = video.repeat(frames, 1, 1, 1)
    video = torch.nn.functional.pad(video, (0, 0, 12, 12)) if boxed else video
    return video.movedim(1, -1)


@pytest.mark.parametrize("bars", [True, False])
def test_a_clip_is_cut_at_its_cuts_and_where_its_bars_change(shots, bars):
    images = torch.cat([scene(12, 0), scene(9, 1), scene(7, 2, boxed=False), scene(5, 3)])
    found = list(shots.clip_shots(images, shots.ConvertOptions(bars=bars)))
    assert [shot.frames for shot in found] == [
        slice(0, 12),
        slice(12, 21),
        slice(21, 28),
        slice(28, 33),
    ]
    boxed = shots.Bars(*BARS) if bars else shots.Bars()
    assert [shot.bars for shot in found] == [boxed, boxed, shots.Bars(), boxed]


def test_the_detector_of_the_options_decides(shots, monkeypatch):
    asked = []

    def remember(name):
        asked.append(name)
        raise InterruptedError

    monkeypatch.setattr(shots, "load_shot_detector", remember)
    with pytest.raises(InterruptedError):
        list(shots.clip_shots(scene(2, 0), shots.ConvertOptions(shots="transnet")))
    assert asked == ["transnet"]
