"""Networks that ComfyUI moves: they compute what they did, and do not push each other out."""

import importlib
import json

import pytest
import torch

CHUNK = torch.rand(3, 3, 28, 42, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory):
    """A tiny Depth Anything of random weights, as on the hub."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        out_features=stages,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("depth")
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": 28}))
    return folder


@pytest.fixture
def managed(node_module):
    return node_module("managed")


@pytest.fixture
def load(node_module, depth_folder, monkeypatch):
    """Load the tiny model as the node does."""
    models = node_module("load_models")
    monkeypatch.setattr(models, "depth_spec", lambda spec: spec)
    return lambda: models.depth_on_device(str(depth_folder))


def test_a_large_depth_network_is_comfyuis_to_move(load, managed):
    management = importlib.import_module("comfy.model_management")
    steady = load()
    inner = steady.estimator
    assert isinstance(inner, managed.ManagedDepth)
    made, _ = inner.predict(CHUNK)
    assert torch.equal(made, inner.estimator.predict(CHUNK)[0])
    assert inner.patcher in management.loaded_models()
    management.unload_all_models()
    assert torch.equal(inner.predict(CHUNK)[0], made)


def test_the_embedded_one_stays_where_it_is(node_module, managed):
    depth = node_module("load_models").depth_on_device("embedded")
    assert not isinstance(depth.estimator, managed.ManagedDepth)


def test_models_of_one_conversion_stay_together(load, managed, monkeypatch):
    asked = []

    def remember(patchers, **options):
        asked.append(patchers)

    monkeypatch.setattr(managed.comfy.model_management, "load_models_gpu", remember)
    one, other = load(), load()
    with managed.kept_together(one, other, None):
        one.estimator.predict(CHUNK)
    one.estimator.predict(CHUNK)
    patcher = one.estimator.patcher
    assert asked == [[patcher, other.estimator.patcher], [patcher]]
