from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def runtime(node_module):
    return node_module("runtime")


@pytest.fixture
def stop_button(runtime):
    """Press it; it springs back at the end."""
    management = runtime.comfy.model_management
    yield management.interrupt_current_processing
    management.interrupt_current_processing(False)


class Counting:
    """An estimator whose depth is the number of frames seen in the shot."""

    name, normalized = "counting", False

    def predict(self, video, state=None, *, new_shot=False):
        seen = 0 if new_shot or state is None else state
        counts = torch.arange(seen, seen + len(video)).float()
        return counts.view(-1, 1, 1, 1), seen + len(video)


@pytest.mark.parametrize(
    ("done", "total", "left", "text"),
    [
        (120, 340, 12.4, "frame 120/340, ETA 0:12"),
        (1, 9999, 3723, "frame 1/9999, ETA 62:03"),
        (120, None, None, "frame 120"),
    ],
)
def test_progress_text(runtime, done, total, left, text):
    progress = SimpleNamespace(done=done, total=total, seconds_left=left)
    assert runtime.progress_text(progress) == text


def test_preview_is_a_small_jpeg(runtime):
    kind, picture, size = runtime.preview_picture(torch.tensor([1.0, 0.5, -1.0]).view(3, 1, 1))
    assert (kind, size) == ("JPEG", 512)
    assert picture.getpixel((0, 0)) == (255, 128, 0)


def test_chunks_cover_every_frame_once(runtime):
    frames = [i for part in runtime.chunks(19, 8) for i in range(part.start, part.stop)]
    assert frames == list(range(19))


def test_stoppable_depth_equals_its_estimator(runtime):
    video = torch.rand(5, 3, 4, 4)
    stoppable = runtime.StoppableDepth(Counting())
    raw, state = stoppable.predict(video, new_shot=True)
    expected, expected_state = Counting().predict(video, new_shot=True)
    assert torch.equal(raw, expected)
    assert state == expected_state
    raw, _ = stoppable.predict(video, state, new_shot=False)
    assert raw.flatten().tolist() == [5, 6, 7, 8, 9]
    raw, _ = stoppable.predict(video, state, new_shot=True)
    assert raw.flatten().tolist() == [0, 1, 2, 3, 4]


def test_stoppable_depth_passes_on_what_comes_late(runtime):
    late = torch.rand(3, 1, 2, 2)
    estimator = SimpleNamespace(name="late", normalized=False, flush=lambda state: late + state)
    assert torch.equal(runtime.StoppableDepth(estimator).flush(1), late + 1)


def test_the_stop_button_ends_each_kind_of_work(runtime, stop_button):
    interrupted = runtime.comfy.model_management.InterruptProcessingException
    passing = SimpleNamespace(name="passing", stream=lambda frames, **options: frames)

    stop_button()
    with pytest.raises(interrupted):
        runtime.StoppableDepth(Counting()).predict(torch.rand(5, 3, 4, 4))
    stop_button()
    with pytest.raises(interrupted):
        list(runtime.StoppableInpainter(passing).stream([1, 2]))
    stop_button()
    with pytest.raises(interrupted):
        list(runtime.chunks(3))
