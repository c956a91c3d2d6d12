"""ComfyUI's own Depth Anything 3, on the cores that have it."""

import importlib

import pytest
import torch


@pytest.fixture
def wire_types(node_module):
    return node_module("wire_types")


def test_the_socket_takes_what_the_core_has(node_module, wire_types):
    kinds = "DREAMSTEREO_DEPTH" + (",DA3_MODEL" if wire_types.CORE_HAS_DEPTH else "")
    for module, name in (
        ("convert", "ConvertVideo"),
        ("preview", "PreviewSheet"),
        ("depth", "EstimateDepth"),
    ):
        node = getattr(node_module(module), name)
        assert node.INPUT_TYPES()["optional"]["depth_model"][0] == kinds


def test_an_older_core_leaves_such_a_file_alone(node_module, monkeypatch, tmp_path):
    geometry = node_module("geometry")
    monkeypatch.setattr(geometry, "CORE_HAS_DEPTH", False)
    (tmp_path / "model.safetensors").touch()
    assert geometry.load_core_depth(str(tmp_path / "model.safetensors")) is None


@pytest.fixture(scope="module")
def model_file(pack, tmp_path_factory):
    """A Depth Anything 3 with a sky head, of random weights, as its own file."""
    network = pytest.importorskip("comfy.ldm.depth_anything_3.model", reason="an older core")
    save_file = importlib.import_module("safetensors.torch").save_file
    torch.manual_seed(0)
    made = network.DepthAnything3Net(
        "vits",
        out_layers=(5, 7, 9, 11),
        head_dim_in=384,
        head_features=16,
        head_out_channels=(8, 8, 8, 8),
        operations=importlib.import_module("comfy.ops").disable_weight_init,
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    made.head.scratch.output_conv2[2].weight.data *= 10  # a relief that shows
    path = tmp_path_factory.mktemp("da3") / "da3.safetensors"
    save_file(made.state_dict(), path)
    return path


@pytest.fixture
def clip():
    return torch.rand(2, 3, 42, 84, generator=torch.Generator().manual_seed(1))


class TestModel:
    @pytest.fixture
    def depth(self, node_module, model_file):
        return node_module("geometry").load_core_depth(str(model_file))

    def test_it_gives_what_the_cores_own_node_does(self, node_module, depth, clip):
        core = importlib.import_module("comfy_extras.nodes_depth_anything_3")
        meters, _, sky = core._run_da3(depth.estimator.patcher, clip.movedim(1, -1), 504)
        raw, _ = depth.estimator.predict(clip)
        assert raw.shape == (2, 1, 252, 504)
        assert sky is not None and (raw > 0).all()
        resize = torch.nn.functional.interpolate
        ours = resize(1 / raw, (42, 84), mode="bilinear")[:, 0]
        torch.testing.assert_close(ours, meters, rtol=0, atol=1e-5)
        assert meters.std() > 1e-4

    def test_frames_stream(self, depth, clip):
        whole, _ = depth.estimator.predict(clip)
        single = torch.cat([depth.estimator.predict(frame)[0] for frame in clip.split(1)])
        assert torch.equal(whole, single)

    def test_the_nodes_take_it(self, node_module, depth, clip):
        node = node_module("depth").EstimateDepth
        made, scales = node.execute(clip.movedim(1, -1), depth.estimator.patcher).args
        assert made.shape == (2, 42, 84, 3)
        assert len(scales) == 2


def test_the_sky_is_infinitely_far(node_module):
    depth, sky = torch.full((1, 2, 2), 4.0), torch.tensor([[[0.9, 0.9], [0.1, 0.1]]])
    raw = node_module("geometry")._inverse(depth, sky)
    assert raw.tolist() == [[[[0, 0], [0.25, 0.25]]]]
