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

    def stream(self, frames, chunk_frames=8):
        seen = 0
        for frame in frames:
            seen = 1 if frame.new_shot else seen + 1
            yield torch.full((1, 1, 1, 1), seen - 1.0)


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
    frames = [runtime.Frame(pixels, new_shot=i in (0, 3)) for i, pixels in enumerate(video)]
    raws = runtime.StoppableDepth(Counting()).stream(frames, 2)
    assert [int(raw) for raw in raws] == [0, 1, 2, 0, 1]
    assert torch.equal(
        torch.cat(list(runtime.StoppableDepth(Counting()).stream(frames))),
        torch.cat(list(Counting().stream(frames))),
    )


def test_the_stop_button_ends_each_kind_of_work(runtime, stop_button):
    interrupted = runtime.comfy.model_management.InterruptProcessingException
    passing = SimpleNamespace(name="passing", stream=lambda frames, options: frames)

    stop_button()
    with pytest.raises(interrupted):
        list(runtime.StoppableDepth(Counting()).stream([runtime.Frame(torch.rand(3, 4, 4))]))
    stop_button()
    with pytest.raises(interrupted):
        list(runtime.StoppableInpainter(passing).stream([1, 2]))
    stop_button()
    with pytest.raises(interrupted):
        list(runtime.chunks(3))
