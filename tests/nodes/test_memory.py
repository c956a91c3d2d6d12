"""What a clip in memory takes is said before it is taken."""

from types import SimpleNamespace

import pytest
import torch

GB = 10**9


@pytest.fixture
def memory(node_module, monkeypatch):
    """The module, on a computer of 16 GB of which 8 are free."""
    memory = node_module("memory")
    sizes = SimpleNamespace(available=8 * GB, total=16 * GB)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: sizes)
    monkeypatch.setattr(memory.psutil, "swap_memory", lambda: SimpleNamespace(total=0))
    monkeypatch.setattr(memory, "executing_node", lambda: "7")
    return memory


@pytest.fixture
def said(memory, monkeypatch):
    said = []
    monkeypatch.setattr(memory, "say", lambda text, node: said.append((text, node)))
    return said


def clip(frames):
    """Frames of 1000x1000, which are not really there."""
    return torch.zeros(1, 1, 1, 3).expand(frames, 1000, 1000, 3)


def test_a_small_clip_needs_no_word(memory, said, caplog):
    memory.check_memory(clip(10), 3)
    assert said == [] and caplog.records == []


def test_a_larger_one_is_named_on_the_node(memory, said, caplog):
    memory.check_memory(clip(100), 3)
    text = "100 frames of 1000x1000 take 1.2 GB of memory here; 8.0 GB are free"
    assert said == [(text, "7")] and caplog.records == []


def test_one_that_fills_the_memory_is_warned_of(memory, caplog):
    memory.check_memory(clip(100), 3, behind=18)
    assert "1.2 GB of memory here and 7.2 GB in the stages behind, 8.0 GB are free" in caplog.text
    assert "Convert 2D Video to 3D" in caplog.text


def test_one_that_cannot_fit_is_refused(memory):
    with pytest.raises(MemoryError, match=r"images: 1500 frames .* this computer has 16\.0 GB"):
        memory.check_memory(clip(1500), 3)


def test_the_first_stage_speaks_for_all(node_module, memory, monkeypatch):
    asked = []

    def remember(images, values, *, behind=0):
        asked.append((values, behind))
        raise InterruptedError

    monkeypatch.setattr(node_module("depth"), "check_memory", remember)
    with pytest.raises(InterruptedError):
        node_module("depth").EstimateDepth.execute(torch.rand(1, 8, 8, 3))
    assert asked == [(3, 18)]


class TestJoin:
    def test_parts_land_in_their_places(self, node_module):
        parts = [(torch.full((n, 2), n), torch.full((n,), n)) for n in (2, 3)]
        pictures, masks = node_module("layout").join(iter(parts), 5)
        assert torch.equal(pictures, torch.cat([a for a, _ in parts]))
        assert torch.equal(masks, torch.cat([b for _, b in parts]))

    def test_a_missing_frame_is_noticed(self, node_module):
        with pytest.raises(RuntimeError, match="parts: expected 3 frames in all, got 2"):
            node_module("layout").join([(torch.zeros(2, 1),)], 3)
