"""Files of strangers: whatever their config says, one readable error, and nothing is built."""

import json
import re
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from dreamstereo_core import load_inpainter, load_vae
from dreamstereo_core.devices import _mps_serves, choose_device
from dreamstereo_core.fill import load_context
from dreamstereo_core.models.config import WAN_SPACE
from dreamstereo_core.models.depth.mini import MINI_DEPTH, MiniDepthConfig, MiniDepthNetwork
from dreamstereo_core.models.depth.video_depth_anything import VIDEO_DEPTH_ANYTHING
from dreamstereo_core.models.files import checkpoint_file
from dreamstereo_core.models.files.checkpoint_file import CheckpointError, open_checkpoint
from dreamstereo_core.models.files.describe import describe_file
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.inpainter import INPAINTING, InpaintingConfig, InpaintingNetwork
from dreamstereo_core.models.lora import load_lora
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.models.vae.config import Stage, TinyVAEConfig, WanVAEConfig, config_to_json

from .fakes import TINY

SMALL_VAE = TinyVAEConfig(
    encoder=(Stage(8, 1, 2, 2), Stage(8, 1, 2, 2), Stage(8, 1, 2, 1)),
    decoder=(Stage(8, 1, 2, 1), Stage(8, 1, 2, 2), Stage(8, 1, 2, 2)),
    stem=8,
)
WAN_VAE = WanVAEConfig((4, 4, 4, 4), (1,) * 4, (1,) * 4)
MINI = InpaintingConfig(24, 24, 2, 1, 2)
DEPTH = MiniDepthConfig((8, 8, 8, 8, 8), 64)
DEEP = "[" * 100_000

LOADERS = {
    "transformer": (partial(load_network, kind=TRANSFORMER), asdict(TINY)),
    "inpainter": (partial(load_network, kind=INPAINTING), asdict(MINI)),
    "tiny vae": (load_vae, json.loads(config_to_json(SMALL_VAE))),
    "wan vae": (load_vae, json.loads(config_to_json(WAN_VAE))),
    "depth": (partial(load_network, kind=MINI_DEPTH), asdict(DEPTH)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One good file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    paths = {kind: folder / f"{kind}.safetensors" for kind in LOADERS}
    transformer = Transformer(TINY)
    transformer.initialize_weights()
    save_network(transformer, paths["transformer"], TRANSFORMER)
    save_network(InpaintingNetwork(MINI), paths["inpainter"], INPAINTING)
    save_network(build_vae(SMALL_VAE), paths["tiny vae"], VAE)
    save_network(build_vae(WAN_VAE), paths["wan vae"], VAE)
    save_network(MiniDepthNetwork(DEPTH), paths["depth"], MINI_DEPTH)
    return paths


def with_config(source, target, text):
    file = open_checkpoint(source)
    metadata = dict(file.metadata) | {"dreamstereo_config": text}
    save_file({name: file.read(name) for name in file.shapes}, target, metadata)
    return target


def wrong_values(value):
    """What a stranger may put in the place of a value, none of which can be meant."""
    yield from (None, "x", {}, [], [[]], -1, 1 << 30, 10**400, float("nan"), float("inf"))
    if not isinstance(value, bool):
        yield True
    if not isinstance(value, float):
        yield 2.5
    if isinstance(value, list):
        yield from (value * 999, [*value[:-1], 1 << 30], [*value[:-1], "x"])


@pytest.mark.parametrize("kind", LOADERS)
def test_good_files_load(files, kind):
    LOADERS[kind][0](files[kind])


ANYWHERE = {
    "a LoRA for a Wan transformer": "blocks.0.ffn.0.lora_A.weight",
    "a VAE of an image model": "decoder.mid.block_1.norm1.weight",
    "a text encoder": "encoder.block.0.layer.0.SelfAttention.q.weight",
    "a DINOv2 without a depth head": "blocks.0.ls1.gamma",
    "a context for a transformer": "context",
    "an unknown model (a, ...)": "a",
}


def refuses(load, path, what):
    with pytest.raises(CheckpointError, match=f"expected .*; this is {re.escape(what)}"):
        load(path)


@pytest.mark.parametrize("what", ANYWHERE)
def test_a_wrong_file_is_told_for_the_same_by_every_loader(tmp_path, what):
    path = _saved({ANYWHERE[what]: torch.zeros(1)}, tmp_path / "a.safetensors")
    assert describe_file(open_checkpoint(path)) == what
    for load, _ in LOADERS.values():
        refuses(load, path, what)
    refuses(partial(load_network, kind=VIDEO_DEPTH_ANYTHING), path, what)
    if "LoRA" not in what:
        refuses(partial(load_lora, model=Transformer(TINY)), path, what)


@pytest.mark.parametrize("kind", LOADERS)
def test_our_own_files_are_told_for_what_they_are(files, kind):
    what = describe_file(open_checkpoint(files[kind]))
    for other in LOADERS:
        if what != describe_file(open_checkpoint(files[other])):
            refuses(LOADERS[other][0], files[kind], what)


def test_every_network_is_built_on_the_meta_device_and_comes_back_frozen(files):
    for kind, (load, _) in LOADERS.items():
        network = load(files[kind], device="cpu")
        tensors = [*network.parameters(), *network.buffers()]
        assert not network.training and not any(x.requires_grad or x.is_meta for x in tensors)


@pytest.mark.parametrize("kind", LOADERS)
def test_values_of_a_config_that_cannot_be(files, tmp_path, kind):
    load, config = LOADERS[kind]
    path = tmp_path / "model.safetensors"
    optional = {"image_dim": None}
    for name, value in config.items():
        for wrong in wrong_values(value):
            if (name in optional and wrong is None) or wrong == value:
                continue
            if name == "latent_space" and isinstance(wrong, str):
                continue  # another name is another space, and no error by itself
            text = json.dumps(config | {name: wrong})
            with pytest.raises(CheckpointError, match=r"model\.safetensors: ") as error:
                load(with_config(files[kind], path, text))
            assert "\n" not in str(error.value)
            assert len(str(error.value)) < 600, (name, wrong)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("text", [DEEP, '{"a":' * 50_000, "", "null", "1", '"x"', "{}}", "\0"])
def test_texts_that_are_no_config(files, tmp_path, kind, text):
    with pytest.raises(CheckpointError):
        LOADERS[kind][0](with_config(files[kind], tmp_path / "model.safetensors", text))


@pytest.mark.parametrize(
    "kind, change",
    [
        ("transformer", {"num_heads": 0}),
        ("transformer", {"num_layers": 1_000_000}),
        ("inpainter", {"num_heads": 0}),
        ("inpainter", {"num_layers": 1_000_000}),
        ("inpainter", {"memory": 1_000_000}),
        ("wan vae", {"encoder_blocks": [1_000_000] * 4}),
        ("wan vae", {"std": [0.0] * 16}),
        ("tiny vae", {"encoder": [{"width": 8, "blocks": 1_000_000, "space": 8, "time": 4}]}),
        ("depth", {"size": 1_000_000}),
        ("depth", {"widths": [1_000_000] * 5}),
    ],
)
def test_sizes_that_would_hang(files, tmp_path, kind, change):
    load, config = LOADERS[kind]
    with pytest.raises(CheckpointError):
        load(with_config(files[kind], tmp_path / "a.safetensors", json.dumps(config | change)))


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(files, tmp_path, kind, value):
    file = open_checkpoint(files[kind])
    tensors = {name: file.read(name) for name in file.shapes}
    name = sorted(tensors)[len(tensors) // 2]
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[-1] = value
    path = tmp_path / "broken.safetensors"
    save_file(tensors, path, dict(file.metadata))
    with pytest.raises(CheckpointError, match="expected finite weights, got NaN or infinity"):
        LOADERS[kind][0](path)


def test_contexts_and_loras_that_are_not_finite(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"context": torch.full((1, 2, 24), float("nan"))}, path)
    with pytest.raises(CheckpointError, match="context: expected finite"):
        load_context(path)
    model, name = Transformer(TINY), "diffusion_model.blocks.0.ffn.0."
    pair = {f"{name}lora_A.weight": torch.ones(2, 48), f"{name}lora_B.weight": torch.ones(96, 2)}
    load_lora(_saved(pair, path), model)
    for extra in (
        {f"{name}lora_A.weight": torch.full((2, 48), float("inf"))},
        {f"{name}alpha": torch.tensor(float("nan"))},
        {f"{name}alpha": torch.ones(3)},
        {f"{name}lora_A.weight": torch.tensor(1.0)},
        {f"{name}lora_B.weight": torch.ones(2, 96)},
        {f"{name}lora_A.weight": torch.ones(0, 48), f"{name}lora_B.weight": torch.ones(96, 0)},
        {f"{name}lora_A.weight": torch.ones(2, 48, dtype=torch.int32)},
        {f"{name}reshape_weight": torch.tensor([96, 1 << 40])},
        {"diffusion_model.blocks.0.ffn.2.reshape_weight": torch.tensor([1 << 20, 1 << 20])},
    ):
        with pytest.raises(CheckpointError):
            load_lora(_saved(pair | extra, path), model)


def _saved(tensors, path):
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("text", ['{"lora_alpha": NaN}', DEEP, '{"lora_alpha": []}'])
def test_a_peft_config_of_a_stranger(tmp_path, text):
    name = "diffusion_model.blocks.0.ffn.0."
    pair = {f"{name}lora_A.weight": torch.ones(2, 48), f"{name}lora_B.weight": torch.ones(96, 2)}
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(CheckpointError, match="adapter_config"):
        load_lora(_saved(pair, tmp_path / "a.safetensors"), Transformer(TINY))


def test_a_block_number_is_no_count_of_blocks(tmp_path):
    state = dict(Transformer(replace(TINY, dim=128, num_heads=1)).state_dict())
    state |= {"blocks.999999999.modulation": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="counted from 0"):
        load_network(_saved(state, tmp_path / "wan.safetensors"), TRANSFORMER)


def test_scales_of_another_shape(tmp_path):
    state = dict(Transformer(replace(TINY, dim=128, num_heads=1)).state_dict())
    state |= {"blocks.0.ffn.0.scale_weight": torch.ones(7)}
    with pytest.raises(CheckpointError, match="a factor for"):
        load_network(_saved(state, tmp_path / "wan.safetensors"), TRANSFORMER)


def test_pickles_that_pretend(tmp_path):
    path = tmp_path / "a.pth"
    for tensor in (
        torch.ones(1).expand(1 << 40),  # 4 bytes that would become terabytes
        torch.ones(3).to_sparse(),
        torch.empty(1 << 40, device="meta"),
    ):
        torch.save({"a": tensor}, path)
        with pytest.raises(CheckpointError, match=r"a: expected a plain tensor"):
            open_checkpoint(path)
    torch.save({1: torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="dictionary of tensors"):
        open_checkpoint(path)


@pytest.mark.parametrize("version, safe", [("2.5.1+cu124", False), ("2.6.0", True), ("2.13", True)])
def test_older_torch_opens_no_pickle(tmp_path, monkeypatch, version, safe):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(1)}, path)
    monkeypatch.setattr(checkpoint_file.torch, "__version__", version)
    if safe:
        open_checkpoint(path)
    else:
        with pytest.raises(CheckpointError, match=r"expected torch 2\.6 or newer"):
            open_checkpoint(path)


@pytest.mark.parametrize(
    "text", [DEEP, "[]", "{}", '{"weight_map": {"a": 1}}', '{"weight_map": {"a": ".."}}',
             '{"weight_map": {"a": "\\u0000"}}', '{"weight_map": {}}', '{"weight_map": {"a": []}}']
)  # fmt: skip
def test_an_index_of_a_stranger(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"index\.json: expected"):
        open_checkpoint(path)


def test_a_transformer_refuses_an_autoencoder_of_another_space(files, tmp_path):
    path = tmp_path / "of_others.safetensors"
    save_network(Transformer(replace(TINY, latent_space="other")), path, TRANSFORMER)
    with pytest.raises(CheckpointError, match=r"latent space 'other'.*got one of 'wan2\.1'"):
        load_inpainter(path, vae=files["wan vae"], device="cpu")
    for kind in ("wan vae", "tiny vae"):
        load_inpainter(files["transformer"], vae=files[kind], device="cpu")


@pytest.mark.parametrize("kind", ["wan vae", "tiny vae", "transformer"])
def test_files_without_a_name_of_their_space_are_of_wans(files, tmp_path, kind):
    load, config = LOADERS[kind]
    text = json.dumps({k: v for k, v in config.items() if k != "latent_space"})
    path = with_config(files[kind], tmp_path / "old.safetensors", text)
    assert load(path).config.latent_space == WAN_SPACE


def test_a_device_that_lacks_something_is_not_chosen(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    _mps_serves.cache_clear()
    expected = "mps" if torch.backends.mps.is_built() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu").type == "cpu"
    if expected == "cpu":
        assert len(caplog.records) == 1 and "MPS" in caplog.text
    _mps_serves.cache_clear()


@pytest.mark.parametrize("name", ["banana", "cuda:99"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(ValueError, match=f"device: expected auto, .*, got '{name}'"):
        choose_device(name)
