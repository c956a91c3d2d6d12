from types import SimpleNamespace

import pytest
import torch

from ..comfyui.media import write_film


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
    stop_button()
    with pytest.raises(interrupted):
        runtime.FrameBar(1).show(0, 1)


class TestBars:
    @pytest.fixture
    def told(self, runtime, monkeypatch):
        """What a progress bar is told."""
        told = []

        def hook(value, total, preview, node_id=None):
            told.append((value, total))

        monkeypatch.setattr(runtime.comfy.utils, "PROGRESS_BAR_HOOK", hook)
        for limit in ("INTERVAL", "PERCENT"):  # newer cores tell less than all of it
            name = f"PROGRESS_THROTTLE_MIN_{limit}"
            monkeypatch.setattr(runtime.comfy.utils, name, 0, raising=False)
        return told

    def test_each_stage_counts_its_frames(self, node_module, told):
        images = torch.rand(5, 32, 48, 3)
        depth = images[..., :1]
        classic = node_module("load_models").inpainter_on_device("classic")
        strength = {"max_disparity": 3.0, "convergence_mode": "auto", "convergence": 0.5}
        runs = {
            "depth": lambda node: node.EstimateDepth.execute(
                images, node_module("load_models").depth_on_device("embedded")
            ),
            "disparity": lambda node: node.DepthToDisparity.execute(depth, images, **strength),
            "inpaint": lambda node: node.Inpaint.execute(
                images, (depth[..., 0] > 0.5).float(), None, classic
            ),
        }
        for name, run in runs.items():
            told.clear()
            run(node_module(name))
            assert told == [(i, 5) for i in range(1, 6)], name

    def test_a_preview_counts_what_it_reads_and_what_it_shows(self, node_module, told, tmp_path):
        video = node_module("sources").InputImpl.VideoFromFile(
            str(write_film(tmp_path / "film.mp4", frames=4))
        )
        depth = node_module("load_models").depth_on_device("embedded")
        settings = {"max_disparity": 3.0, "convergence_mode": "auto", "convergence": 0.5}
        node_module("preview").PreviewSheet.execute(
            video, 2, depth_model=depth, fill="classic", **settings
        )
        assert told == [(i, 6) for i in range(7)]
