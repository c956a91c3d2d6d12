"""A transformers model's folder from a stranger, or half downloaded."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamstereo_core.depth import DepthError, TransformersDepth


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    from transformers import DPTConfig, DPTForDepthEstimation

    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    folder = tmp_path_factory.mktemp("model")
    DPTForDepthEstimation(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "model")


def load(folder):
    return TransformersDepth(folder, device="cpu")


def refused(folder, match):
    with pytest.raises(DepthError, match=match) as error:
        load(folder)
    assert "\n" not in str(error.value)


def rewrite(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def test_a_good_one(folder):
    load(folder)
    # Published DPT files have no weights of a layer that adds nothing.
    unused = "fusion_stage.layers.0.residual_layer1"
    rewrite(folder, lambda x: {name: value for name, value in x.items() if unused not in name})
    load(folder)


def test_a_truncated_file_is_one_line(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, r"model\.safetensors: expected a complete .*; delete it and get it again")


def test_weights_that_are_missing_or_broken(folder):
    name = "head.head.4.bias"
    rewrite(folder, lambda x: x | {name: torch.full_like(x[name], float("nan"))})
    refused(folder, rf"expected finite weights, not in {name}")
    rewrite(folder, lambda x: {key: value for key, value in x.items() if key != name})
    refused(folder, rf"no {name}")


@pytest.mark.parametrize(
    "change, match",
    [
        ({"model_type": "canopy"}, "canopy"),
        ({"model_type": ["dpt"]}, "model_type"),
        ({"num_hidden_layers": 1_000_000_000}, "at most"),
        ({"num_hidden_layers": 1_000_000}, "layers"),
        ({"hidden_size": 1_000_000}, "weights that config.json asks for"),
        ({"num_attention_heads": 0}, "expected a depth model"),
        ({"hidden_size": "8"}, "expected a depth model"),
        ({"patch_size": None}, "expected a depth model"),
    ],
)
def test_a_config_that_cannot_be(folder, change, match):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(folder, match)


def test_a_config_whose_parts_do_not_fit_together(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"neck_hidden_sizes": []}))
    depth = load(folder)
    with pytest.raises(DepthError, match="whose parts fit together"):
        depth.predict(torch.rand(1, 3, 32, 32))


def test_a_config_with_code_does_not_run(folder):
    (folder / "evil.py").write_text("raise SystemExit('executed')")
    path = folder / "config.json"
    code = {"AutoConfig": "evil.Config", "AutoModelForDepthEstimation": "evil.Model"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": code}))
    load(folder)  # by transformers' own class


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        '{"size": "big"}',
        '{"size": {"height": 0}}',
        '{"size": {"height": 1e9}}',
        '{"size_divisor": 0}',
        '{"ensure_multiple_of": -14}',
        '{"image_mean": [1]}',
        '{"image_std": [0, 1, 1]}',
        '{"image_std": [NaN, 1, 1]}',
    ],
)
def test_settings_that_cannot_be(folder, text):
    (folder / "preprocessor_config.json").write_text(text)
    refused(folder, r"preprocessor_config\.json: expected")


def test_settings_may_leave_things_open(folder):
    settings = {"size": {"height": 32, "width": 32}, "size_divisor": None, "image_mean": None}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    raw, _ = load(folder).predict(torch.rand(1, 3, 40, 64))
    assert raw.shape[:2] == (1, 1)
