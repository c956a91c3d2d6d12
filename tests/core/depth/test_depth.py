"""Depth estimators: the embedded one, supplied files, transformers models; `load_depth`."""

import json

import av
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core.depth import (
    DEFAULT_MODEL,
    VIDEO_MODEL,
    DepthError,
    EmbeddedDepth,
    SteadyDepth,
    SuppliedDepth,
    TransformersDepth,
    describe_models,
    load_depth,
    transformers_depth,
)
from dreamstereo_core.depth.transformers_depth import working_size
from dreamstereo_core.video_io import VideoError

T, H, W = 9, 48, 80


def film(frames: int = T, seed: int = 0) -> torch.Tensor:
    """A red square that moves over a still texture, ``[frames, 3, 48, 80]``."""
    noise = torch.rand(1, 3, 13, 21, generator=torch.Generator().manual_seed(seed))
    video = F.interpolate(noise, (H, W), mode="bicubic").clamp(0, 1).repeat(frames, 1, 1, 1) * 0.5
    for i in range(frames):
        video[i, :, 20:40, 10 + 3 * i : 30 + 3 * i] = torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
    return video


def predict_in_chunks(depth, video, sizes):
    state, parts = None, []
    for i, chunk in enumerate(video.split(sizes)):
        raw, state = depth.predict(chunk, state, new_shot=i == 0)
        parts.append(raw)
    return torch.cat(parts)


def write_pngs(folder, values, *, bits=8):
    """Write grey PNGs from integers ``[T, h, w]``."""
    folder.mkdir()
    dtype, pixel_format = (np.uint8, "gray") if bits == 8 else (np.uint16, "gray16le")
    for i, picture in enumerate(values):
        frame = av.VideoFrame.from_ndarray(picture.astype(dtype), format=pixel_format)
        with av.open(str(folder / f"{i:03d}.png"), "w") as container:
            stream = container.add_stream("png", rate=1)
            stream.width, stream.height = picture.shape[1], picture.shape[0]
            stream.pix_fmt = "gray" if bits == 8 else "gray16be"
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            container.mux(stream.encode())
    return folder


class TestEmbedded:
    @pytest.mark.parametrize("sizes", [[1] * T, [4, 5], [2, 6, 1]])
    def test_chunked_is_whole(self, sizes):
        video = film()
        whole, _ = EmbeddedDepth().predict(video, None, new_shot=True)
        chunked = predict_in_chunks(EmbeddedDepth(), video, sizes)
        torch.testing.assert_close(chunked, whole, atol=2e-5, rtol=0)

    def test_a_new_shot_forgets_the_old_one(self):
        _, state = EmbeddedDepth().predict(film(seed=1), None, new_shot=True)
        after, _ = EmbeddedDepth().predict(film(seed=2), state, new_shot=True)
        alone, _ = EmbeddedDepth().predict(film(seed=2), None, new_shot=True)
        assert torch.equal(after, alone)

    def test_estimate_leaks_nothing_across_a_cut(self):
        other = 1 - film(6, seed=7).flip(3)
        whole = EmbeddedDepth().estimate(torch.cat((film(6), other)))
        torch.testing.assert_close(whole[6:], EmbeddedDepth().estimate(other), atol=1e-5, rtol=0)

    def test_what_moves_is_near_and_the_sky_is_far(self):
        depth = EmbeddedDepth().estimate(film())[-1, 0]
        assert depth[24:36, 38:50].mean() > depth[24:36, :20].mean() + 0.15
        assert depth[:4].mean() < 0.25
        assert depth[-4:].mean() > 0.5

    def test_a_noisy_still_scene_hardly_flickers(self, monkeypatch):
        still = film(1).repeat(12, 1, 1, 1)
        still += 0.01 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))

        def flicker():
            depth = EmbeddedDepth().estimate(still)
            return (depth[5:] - depth[4:-1]).abs().mean().item()

        smoothed = flicker()
        assert smoothed < 3e-3
        monkeypatch.setattr("dreamstereo_core.depth.cues._NEW", 1.0)
        assert smoothed < flicker() / 2

    def test_a_still_scene_without_noise_does_not_flicker_at_all(self):
        raw, _ = EmbeddedDepth().predict(film(1).repeat(4, 1, 1, 1), None, new_shot=True)
        torch.testing.assert_close(raw, raw[:1].expand_as(raw), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (2, 3), (33, 300), (300, 40)])
    def test_any_size_and_one_frame(self, size):
        depth = EmbeddedDepth().estimate(torch.rand(1, 3, *size))
        assert depth.shape == (1, 1, *size)
        assert depth.min() >= 0
        assert depth.max() <= 1

    def test_a_blank_video_gives_a_finite_depth(self):
        assert EmbeddedDepth().estimate(torch.zeros(2, 3, 20, 30)).isfinite().all()

    def test_a_frame_that_is_not_finite_is_named(self):
        video = film(3)
        video[1] = float("nan")
        with pytest.raises(ValueError, match=r"frame 1.*NaN"):
            EmbeddedDepth().estimate(video)


class TestSupplied:
    def test_values_are_the_files_and_the_video_sets_the_size(self, tmp_path):
        values = np.arange(3)[:, None, None] * 100 + np.zeros((3, 6, 10), int)
        depth = load_depth(write_pngs(tmp_path / "d", values))
        assert depth.normalized
        result = depth.estimate(torch.rand(3, 3, 12, 20))
        assert result.shape == (3, 1, 12, 20)
        expected = [0, 100 / 255, 200 / 255]
        assert result.mean(dim=(1, 2, 3)).tolist() == pytest.approx(expected, abs=1e-5)

    def test_sixteen_bits_stay_sixteen_bits(self, tmp_path):
        values = np.array([20000, 20001]).reshape(2, 1, 1) + np.zeros((2, 4, 4), int)
        raw, _ = SuppliedDepth(write_pngs(tmp_path / "d", values, bits=16)).predict(
            torch.rand(2, 3, 4, 4)
        )
        assert (raw[:, 0, 0, 0] * 65535).tolist() == pytest.approx([20000, 20001], abs=0.1)

    def test_invert(self, tmp_path):
        folder = write_pngs(tmp_path / "d", np.full((1, 4, 4), 51))
        raw, _ = load_depth(folder, invert=True).predict(torch.rand(1, 3, 4, 4))
        assert raw.mean().item() == pytest.approx(0.8)

    def test_the_position_is_kept_over_chunks(self, tmp_path):
        folder = write_pngs(tmp_path / "d", np.arange(8)[:, None, None] + np.zeros((8, 4, 4), int))
        video = torch.rand(6, 3, 4, 4)
        whole, _ = SuppliedDepth(folder).predict(video)
        chunked = predict_in_chunks(SuppliedDepth(folder), video, [1, 3, 2])
        assert torch.equal(chunked, whole)
        late, _ = load_depth(folder, start=5).predict(video[:2])
        assert (late[:, 0, 0, 0] * 255).tolist() == pytest.approx([5, 6])

    def test_too_few_frames_is_an_error_with_both_counts(self, tmp_path):
        folder = write_pngs(tmp_path / "d", np.zeros((3, 4, 4)))
        with pytest.raises(DepthError, match="got 3 for at least 5"):
            SuppliedDepth(folder).predict(torch.rand(5, 3, 4, 4))

    def test_one_image_serves_every_frame(self, tmp_path):
        folder = write_pngs(tmp_path / "d", np.full((1, 4, 4), 51))
        depth = load_depth(folder / "000.png")
        assert depth.estimate(torch.rand(5, 3, 4, 4)).unique().tolist() == pytest.approx([0.2])

    def test_larger_depth_is_averaged(self, tmp_path):
        values = np.zeros((1, 4, 4))
        values[:, :, ::2] = 255
        depth = load_depth(write_pngs(tmp_path / "d", values)).estimate(torch.rand(1, 3, 2, 2))
        assert depth.flatten().tolist() == pytest.approx([0.5] * 4, abs=1e-4)

    def test_a_file_that_is_no_video_is_named(self, tmp_path):
        (tmp_path / "depth.mp4").write_bytes(b"nothing")
        with pytest.raises(VideoError, match=r"depth\.mp4"):
            load_depth(tmp_path / "depth.mp4")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A randomly initialised Depth Anything, saved as on the hub."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    model = DepthAnythingForDepthEstimation(config)
    torch.nn.init.constant_(model.head.conv3.bias, 1.0)  # a depth above zero
    model.save_pretrained(folder)
    preprocessor = {
        "size": {"height": 28, "width": 28},
        "ensure_multiple_of": 14,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.25, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


class TestTransformers:
    def test_a_local_model_gives_the_networks_own_values(self, tiny_model):
        from transformers import AutoModelForDepthEstimation

        depth = load_depth(tiny_model, device="cpu", steady=False)
        assert isinstance(depth, TransformersDepth)
        assert isinstance(load_depth(tiny_model, device="cpu"), SteadyDepth)
        video = torch.full((5, 3, 28, 42), 0.5)
        raw, state = depth.predict(video)
        assert (state, raw.shape) == (None, (5, 1, 28, 42))
        mean, deviation = torch.tensor([[0.5, 0.4, 0.3], [0.2, 0.25, 0.5]]).view(2, 3, 1, 1)
        model = AutoModelForDepthEstimation.from_pretrained(tiny_model).eval()
        with torch.no_grad():
            expected = model(pixel_values=(video - mean) / deviation).predicted_depth
        torch.testing.assert_close(raw[:, 0], expected, atol=1e-5, rtol=1e-5)
        assert depth.estimate(film(2)).shape == (2, 1, H, W)

    def test_chunked_is_whole(self, tiny_model):
        depth, video = TransformersDepth(tiny_model, device="cpu"), film(6)
        whole, _ = depth.predict(video)
        torch.testing.assert_close(
            predict_in_chunks(depth, video, [1, 5]), whole, atol=1e-5, rtol=1e-4
        )

    def test_metric_depth_is_inverted(self, tiny_model, tmp_path):
        relative, _ = TransformersDepth(tiny_model, device="cpu").predict(film(1))
        for file in tiny_model.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        config = json.loads((tmp_path / "config.json").read_text())
        config |= {"depth_estimation_type": "metric", "max_depth": 20}
        (tmp_path / "config.json").write_text(json.dumps(config))
        depth = TransformersDepth(tmp_path, device="cpu")
        with torch.no_grad():
            pixels = depth._prepare(film(1))
            meters = depth.network(pixel_values=pixels).predicted_depth
        raw, _ = depth.predict(film(1))
        torch.testing.assert_close(raw[:, 0], 1 / meters)
        assert not torch.allclose(raw, relative)

    @pytest.mark.parametrize(
        ("kind", "extra", "metric"),
        [
            ("depth_pro", {}, False),
            ("zoedepth", {}, True),
            ("glpn", {}, True),
            ("dpt", {"backbone_config": None}, False),
            ("depth_anything", {"depth_estimation_type": "relative"}, False),
            ("depth_anything", {"depth_estimation_type": "metric"}, True),
        ],
    )
    def test_which_kinds_are_metric(self, kind, extra, metric):
        from types import SimpleNamespace

        config = SimpleNamespace(model_type=kind, **extra)
        assert transformers_depth._is_metric(config, "m") is metric

    def test_an_unknown_kind_is_refused(self):
        from types import SimpleNamespace

        with pytest.raises(DepthError, match="'canopy'"):
            transformers_depth._is_metric(SimpleNamespace(model_type="canopy"), "m")

    def test_working_size_keeps_the_aspect_and_the_multiple(self):
        settings = {"size": {"height": 518, "width": 518}, "ensure_multiple_of": 14}
        assert working_size((720, 1280), "depth_anything", settings) == (518, 924)
        assert working_size((1280, 720), "depth_anything", settings) == (924, 518)
        assert working_size((480, 640), "dpt", {"size": {"height": 384, "width": 384}}) == (
            384,
            512,
        )
        small = {"size": {"height": 64, "width": 64}}
        assert working_size((9, 99), "depth_pro", small, square=True) == (64, 64)
        assert working_size((9, 99), "dpt", {}, square=True) == (384, 384)
        assert working_size((1, 900), "depth_anything", settings) == (518, 2072)

    def test_a_missing_model_names_itself_and_the_folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(transformers_depth, "is_cached", lambda model=DEFAULT_MODEL: False)
        with pytest.raises(DepthError) as error:
            load_depth(DEFAULT_MODEL)
        text = str(error.value)
        assert text.startswith(f"{DEFAULT_MODEL}: model.safetensors not found in {tmp_path}")
        assert "give that folder's path" in text
        assert "\n" not in text

    def test_a_folder_without_weights_is_named(self, tiny_model, tmp_path):
        (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
        with pytest.raises(DepthError, match=r"expected a depth model \(config.json, model.safet"):
            load_depth(tmp_path, device="cpu")


class TestLoadDepth:
    def test_auto_without_weights_is_the_embedded_one(self, monkeypatch):
        monkeypatch.setattr("dreamstereo_core.depth.is_cached", lambda: False)
        monkeypatch.setattr("dreamstereo_core.depth.mini_path", lambda: None)
        assert load_depth().name == load_depth("embedded").name == "cues"
        state = describe_models()
        assert set(state) == {"embedded", "mini", "cues", DEFAULT_MODEL, VIDEO_MODEL}
        assert "cues" in state["embedded"] and "not found" in state["mini"]
        assert "not found" in state[DEFAULT_MODEL]

    @pytest.mark.parametrize("spec", ["no/such/thing.mp4", "nothing", "./depth.mkv"])
    def test_a_missing_file_is_named(self, spec):
        with pytest.raises(DepthError, match="no such file"):
            load_depth(spec)

    def test_invert_wants_a_file(self):
        with pytest.raises(ValueError, match="invert"):
            load_depth("embedded", invert=True)

    def test_estimate_rejects_what_is_no_video(self):
        with pytest.raises(ValueError, match="video: expected shape"):
            load_depth("embedded").estimate(torch.rand(2, 1, 8, 8))
