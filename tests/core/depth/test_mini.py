"""The small depth network: shapes, folding, files, and the names that load it."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from dreamstereo_core.depth import DepthError, EmbeddedDepth, MiniDepth, SteadyDepth, load_depth
from dreamstereo_core.depth.mini import working_size
from dreamstereo_core.models.depth.mini import (
    MINI_DEPTH,
    Fine,
    MiniDepthConfig,
    MiniDepthNetwork,
    fold_batch_norms,
)
from dreamstereo_core.models.files.checkpoint_file import CheckpointError
from dreamstereo_core.models.files.load import load_network, save_network

SMALL = MiniDepthConfig(widths=(16, 16, 8, 8, 8), size=96)


@pytest.fixture(scope="module")
def network():
    """Random weights and batch norms that do something."""
    torch.manual_seed(0)
    network = MiniDepthNetwork(SMALL)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("mini") / "mini_depth.safetensors"
    save_network(network, path, MINI_DEPTH)
    return path


@pytest.fixture(scope="module")
def depth(file):
    return load_depth(file, device="cpu", steady=False)


class Fixed:
    """A network that gives one depth."""

    mean = torch.zeros(1)

    def __init__(self, depth):
        self.depth = depth

    def __call__(self, pictures):
        return self.depth


def test_full_size_fits_into_fifteen_megabytes(tmp_path):
    path = tmp_path / "full.safetensors"
    save_network(MiniDepthNetwork(), path, MINI_DEPTH)
    assert path.stat().st_size < 15e6


def test_half_the_size_comes_out_and_is_not_negative(network):
    out = network(torch.rand(2, 3, 64, 96))
    assert out.shape == (2, 1, 32, 48)
    assert (out >= 0).all()


class TestFine:
    """The layer that gives depth at the input's size."""

    def test_the_inputs_size_comes_out_and_a_file_keeps_it(self, tmp_path):
        torch.manual_seed(0)
        network = MiniDepthNetwork(replace(SMALL, fine=8)).eval()
        picture = torch.rand(2, 3, 64, 96)
        assert network(picture).shape == (2, 1, 64, 96)
        mixed = network(picture, sharp=torch.tensor([False, True]))
        torch.testing.assert_close(mixed[1:], network(picture[1:]), atol=1e-5, rtol=1e-5)
        doubled = mixed[0, 0, ::2, ::2].repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert torch.equal(mixed[0, 0], doubled)
        save_network(network, tmp_path / "x.safetensors", MINI_DEPTH)
        read = load_network(tmp_path / "x.safetensors", MINI_DEPTH).eval()
        torch.testing.assert_close(read(picture), network(picture), atol=2e-3, rtol=2e-3)
        depth = load_depth(tmp_path / "x.safetensors", device="cpu", steady=False)
        assert depth.predict(torch.rand(1, 3, 40, 60))[0].shape == (1, 1, 64, 96)

    def test_what_comes_out_lies_between_what_went_in(self):
        torch.manual_seed(0)
        depth = torch.rand(1, 1, 6, 8)
        with torch.no_grad():
            fine = Fine(4, 8).eval()
            fine.shares.weight.mul_(50)
            out = fine(depth, torch.rand(1, 4, 6, 8), torch.rand(1, 3, 12, 16))
        around = torch.nn.functional.pad(depth, (1, 1, 1, 1), mode="replicate")
        most = torch.nn.functional.max_pool2d(around, 3, 1).repeat_interleave(2, 2)
        assert out.shape == (1, 1, 12, 16)
        assert (out <= most.repeat_interleave(2, 3) + 1e-6).all() and out.min() >= depth.min()

    def test_it_starts_as_a_bilinear_enlargement(self):
        depth = torch.rand(1, 1, 6, 8)
        with torch.no_grad():
            fine = Fine(4, 8).eval()
            fine.shares.weight.zero_()
            out = fine(depth, torch.rand(1, 4, 6, 8), torch.rand(1, 3, 12, 16))
        expected = torch.nn.functional.interpolate(depth, scale_factor=2.0, mode="bilinear")
        torch.testing.assert_close(out, expected, atol=0.02, rtol=0)


def test_folded_batch_norms_change_nothing(network, file):
    x = torch.rand(2, 3, 64, 96)
    folded = fold_batch_norms(load_network(file, MINI_DEPTH).eval())
    unfolded = load_network(file, MINI_DEPTH).eval()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    expected = unfolded(x)
    assert expected.std() > 1e-4
    torch.testing.assert_close(folded(x), expected, atol=1e-5, rtol=1e-4)


def test_a_file_gives_the_network_back(network, file):
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(
        load_network(file, MINI_DEPTH).eval()(x), network(x), atol=2e-3, rtol=2e-3
    )
    assert load_network(file, MINI_DEPTH).config == SMALL


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 854), (224, 384)), ((1080, 1920), (224, 384)), ((854, 480), (384, 224)),
     ((1, 1), (384, 384)), ((10, 2000), (32, 384)), ((384, 384), (384, 384))],
)  # fmt: skip
def test_working_size_keeps_the_aspect(size, expected):
    assert working_size(*size, 384) == expected


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (33, 65), (120, 67), (100, 100)])
def test_any_size_is_taken(depth, size):
    raw, state = depth.predict(torch.rand(2, 3, *size), None, new_shot=True)
    assert raw.shape[:2] == (2, 1) and max(raw.shape[2:]) == SMALL.size // 2
    assert raw.isfinite().all() and state is None


def test_the_border_is_its_neighbour(depth, monkeypatch):
    ramp = torch.arange(48.0 * 80).view(1, 1, 48, 80)
    ramp[..., -1] = 1e4
    monkeypatch.setattr(depth, "network", Fixed(ramp))
    raw, _ = depth.predict(torch.rand(1, 3, 96, 160))
    assert raw.max() < 1e4  # the last column is its neighbour's
    inside = ramp[..., 1:-1, 1:-1]
    grown = torch.nn.functional.max_pool2d(inside, 3, 1)  # and near things grow by a pixel
    assert torch.equal(raw[..., 2:-2, 2:-2], grown)


def test_frames_do_not_depend_on_each_other(depth):
    video = torch.rand(6, 3, 40, 70)
    together, _ = depth.predict(video)
    alone = torch.cat([depth.predict(frame[None])[0] for frame in video])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_estimate_gives_the_videos_own_size(depth):
    inverse = depth.estimate(torch.rand(3, 3, 45, 81))
    assert inverse.shape == (3, 1, 45, 81)
    assert inverse.min() >= 0 and inverse.max() <= 1


class TestLoadDepth:
    def test_a_file_is_told_by_its_metadata(self, depth):
        assert isinstance(depth, MiniDepth) and depth.name == "mini"

    def test_embedded_is_mini_where_the_weights_are(self, file, monkeypatch):
        monkeypatch.setattr("dreamstereo_core.depth.mini.WEIGHTS", file.parent)
        monkeypatch.setattr("dreamstereo_core.depth.is_cached", lambda: False)
        for spec in ("mini", "embedded", "auto"):
            steady = load_depth(spec, device="cpu")
            assert isinstance(steady, SteadyDepth) and isinstance(steady.estimator, MiniDepth)
        assert isinstance(load_depth("cues"), EmbeddedDepth)

    def test_without_weights(self, tmp_path, monkeypatch):
        monkeypatch.setattr("dreamstereo_core.depth.mini.WEIGHTS", tmp_path)
        assert isinstance(load_depth("embedded"), EmbeddedDepth)
        with pytest.raises(DepthError, match=r"mini: .*mini_depth\.safetensors: no such file"):
            load_depth("mini")

    def test_invert_is_for_files(self):
        with pytest.raises(ValueError, match="invert"):
            load_depth("mini", invert=True)

    def test_a_bad_frame_is_named(self, depth):
        with pytest.raises(ValueError, match="video: expected shape"):
            depth.predict(torch.rand(1, 1, 8, 8))


class TestBadFiles:
    def test_no_half_precision(self, tmp_path, network):
        other = MiniDepthNetwork(SMALL)
        other.head.weight.data.fill_(1e6)
        with pytest.raises(
            ValueError, match=r"head\.weight: expected weights that torch\.float16 holds"
        ):
            save_network(other, tmp_path / "x.safetensors", MINI_DEPTH)

    def test_another_kind(self, tmp_path):
        path = tmp_path / "x.safetensors"
        save_file({"a": torch.zeros(1)}, path)
        with pytest.raises(
            CheckpointError, match="expected a DreamStereo depth network; this is an"
        ):
            load_network(path, MINI_DEPTH)

    @pytest.mark.parametrize(
        "config", ["{", "[]", '{"size": 96.5}', '{"widths": [1], "size": 96, "more": 1}',
                   '{"widths": [1], "size": 96}']
    )  # fmt: skip
    def test_a_bad_config(self, tmp_path, config):
        path = tmp_path / "x.safetensors"
        metadata = {"dreamstereo_model": "depth", "dreamstereo_config": config}
        save_file({"a": torch.zeros(1)}, path, metadata=metadata)
        with pytest.raises(CheckpointError, match="config of a DreamStereo depth network"):
            load_network(path, MINI_DEPTH)

    def test_missing_and_misshapen_weights_are_named(self, tmp_path, network):
        wanted = {"widths": [16, 16, 8, 8, 8], "size": 96}
        metadata = {"dreamstereo_model": "depth", "dreamstereo_config": json.dumps(wanted)}
        weights = {k: v.clone() for k, v in network.state_dict().items() if "batches" not in k}
        path = tmp_path / "x.safetensors"
        save_file(weights | {"head.bias": torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(CheckpointError, match=r"shape: head\.bias \[2\] instead of \[1\]"):
            load_network(path, MINI_DEPTH)
        del weights["head.bias"]
        save_file(weights, path, metadata=metadata)
        with pytest.raises(CheckpointError, match=r"missing: head\.bias$"):
            load_network(path, MINI_DEPTH)
