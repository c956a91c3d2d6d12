"""Video-Depth-Anything's files: published names and shapes, strictness, the wrong file named."""

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from dreamstereo_core.depth import (
    VIDEO_MODEL,
    DepthError,
    VideoDepthAnything,
    describe_models,
    load_depth,
    load_video_depth,
    video_depth_checkpoint,
)
from dreamstereo_core.models.depth import video_depth_anything
from dreamstereo_core.models.depth.video_depth_anything import BASE, LARGE, SMALL, VideoDepthNetwork

from .video_depth import TINY, H, film, predict, published_shapes, tiny_weights


@pytest.mark.parametrize(
    ("config", "millions"), [(SMALL, 28.4), (BASE, 113.1), (LARGE, 381.8)], ids=["s", "b", "l"]
)
def test_names_and_shapes_are_the_published_ones(config, millions):
    with torch.device("meta"):
        network = VideoDepthNetwork(config)
    ours = {name: tuple(x.shape) for name, x in network.state_dict().items()}
    assert ours == published_shapes(
        config.dim, config.num_layers, config.features, config.widths, config.grid
    )
    # The published counts leave out what is only added, and the coarsest block's unused half.
    unused = ("pos_embed", "mask_token", "refinenet4.resConfUnit1")
    count = sum(x.numel() for n, x in network.named_parameters() if not any(u in n for u in unused))
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_positions_in_time_are_the_published_ones():
    ours = VideoDepthNetwork(TINY).state_dict()
    for name, weight in tiny_weights().items():
        if name.endswith(".pe"):
            torch.testing.assert_close(ours[name], weight, atol=1e-5, rtol=0)


@pytest.fixture
def tiny_is_published(monkeypatch):
    monkeypatch.setattr(video_depth_anything, "SMALL", TINY)


@pytest.mark.usefixtures("tiny_is_published")
class TestFiles:
    @pytest.mark.parametrize("name", ["video_depth_anything_vits.pth", "some.safetensors"])
    def test_both_kinds_are_loaded(self, tmp_path, name):
        weights = tiny_weights()
        save = torch.save if name.endswith(".pth") else save_file
        save(weights, tmp_path / name)
        loaded = load_depth(tmp_path / name, device="cpu")
        assert isinstance(loaded, VideoDepthAnything)
        assert not loaded.metric
        network = VideoDepthNetwork(TINY)
        network.load_state_dict(weights)
        expected = VideoDepthAnything(network, device="cpu", size=H)
        loaded.size = H
        assert torch.equal(predict(loaded, film(2), 2), predict(expected, film(2), 2))

    def test_half_weights_compute_in_float32_on_a_cpu(self, tmp_path):
        weights = {name: x.half() for name, x in tiny_weights().items()}
        save_file(weights, tmp_path / "half.safetensors")
        loaded = load_video_depth(tmp_path / "half.safetensors", device="cpu")
        assert {x.dtype for x in loaded.network.parameters()} == {torch.float32}
        assert loaded.dtype == torch.float32

    def test_the_metric_variant_is_told_by_its_name_or_by_the_caller(self, tmp_path):
        path = tmp_path / "metric_video_depth_anything_vits.safetensors"
        save_file(tiny_weights(), path)
        assert load_depth(path, device="cpu").metric
        assert not load_video_depth(path, device="cpu", metric=False).metric

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"head.projects.0.bias": None}, r"missing: head\.projects\.0\.bias"),
            ({"head.extra": (1,)}, r"unexpected: head\.extra"),
            ({"pretrained.norm.bias": (31,)}, r"norm\.bias \[31\] instead of \[32\]"),
            ({"pretrained.cls_token": (1, 1, 48)}, "expected tokens 32, 768, 1024 wide, got 48"),
        ],
    )
    def test_what_does_not_fit_is_listed(self, tmp_path, change, message):
        weights = tiny_weights()
        for name, shape in change.items():
            weights.pop(name, None)
            weights |= {} if shape is None else {name: torch.zeros(shape)}
        save_file(weights, tmp_path / "x.safetensors")
        with pytest.raises(DepthError, match=rf"x\.safetensors: .*{message}"):
            load_depth(tmp_path / "x.safetensors", device="cpu")

    def test_weights_that_are_not_finite_are_named(self, tmp_path):
        weights = tiny_weights()
        weights["head.projects.1.bias"][2] = float("nan")
        torch.save(weights, tmp_path / "x.pth")
        with pytest.raises(DepthError, match=r"head\.projects\.1\.bias: expected finite"):
            load_depth(tmp_path / "x.pth", device="cpu")

    @pytest.mark.parametrize(
        ("keys", "what"),
        [
            (["pretrained.cls_token", "depth_head.projects.0.weight"], "for single images"),
            (["backbone.embeddings.cls_token", "neck.convs.0.weight"], "transformers"),
            (["pretrained.cls_token", "head.projects.0.weight"], "without its attention over time"),
            (["cls_token", "blocks.0.ls1.gamma"], "a DINOv2 without a depth head"),
            (["unet.weight"], r"an unknown model \(unet\.weight, \.\.\.\)"),
        ],
    )
    def test_another_models_file_is_named(self, tmp_path, keys, what):
        save_file({key: torch.zeros(1) for key in keys}, tmp_path / "x.safetensors")
        with pytest.raises(DepthError, match=f"expected a Video-Depth-Anything; this is .*{what}"):
            load_depth(tmp_path / "x.safetensors", device="cpu")

    def test_a_missing_or_broken_file_is_named(self, tmp_path):
        with pytest.raises(DepthError, match=r"gone\.pth: no such file"):
            load_depth(tmp_path / "gone.pth")
        (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut")
        with pytest.raises(DepthError, match=r"cut\.pth: .*truncated"):
            load_depth(tmp_path / "cut.pth")

    @pytest.mark.parametrize(
        ("spec", "file"),
        [
            (VIDEO_MODEL, ": video_depth_anything_vits.pth"),
            ("depth-anything/Video-Depth-Anything-Base", ": video_depth_anything_vitb.pth"),
            (
                "depth-anything/Metric-Video-Depth-Anything-Large",
                ": metric_video_depth_anything_vitl.pth",
            ),
        ],
    )
    def test_a_named_model_that_is_not_there_says_what_to_get(self, spec, file, monkeypatch):
        def offline(repository, name, *, local_files_only):
            raise LocalEntryNotFoundError("no connection\nat all")

        monkeypatch.setattr(video_depth_checkpoint, "hf_hub_download", offline)
        with pytest.raises(DepthError, match=file) as caught:
            load_depth(spec)
        assert "https://huggingface.co/depth-anything/" in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(DepthError, match=r"could not be downloaded \(no connection\) to"):
            load_depth(spec, allow_download=True)

    def test_a_named_model_is_taken_from_the_cache(self, tmp_path, monkeypatch):
        save_file(tiny_weights(), tmp_path / "x.safetensors")
        monkeypatch.setattr(
            video_depth_checkpoint,
            "hf_hub_download",
            lambda *names, **options: str(tmp_path / "x.safetensors"),
        )
        monkeypatch.setattr(
            video_depth_checkpoint, "try_to_load_from_cache", lambda *names: "there"
        )
        assert load_depth(VIDEO_MODEL, device="cpu").name == VIDEO_MODEL
        assert describe_models()[VIDEO_MODEL] == "found"

    def test_it_has_no_depth_file_to_invert(self):
        with pytest.raises(ValueError, match="invert"):
            load_depth(VIDEO_MODEL, invert=True)
