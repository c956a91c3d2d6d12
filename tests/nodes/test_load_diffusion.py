"""Load DreamStereo Model: files of ComfyUI's folders become an inpainter that ComfyUI manages."""

import importlib

import pytest
import torch

from . import wan

FOLDERS = ("diffusion_models", "loras", "vae")


@pytest.fixture(scope="module")
def files(pack, tmp_path_factory):
    """A tiny transformer, VAE and LoRA of random weights in folders of ComfyUI's names."""
    base = tmp_path_factory.mktemp("models")
    for folder in FOLDERS:
        (base / folder).mkdir()
    wan.save(wan.make_transformer(), base / "diffusion_models" / "tiny.safetensors")
    wan.write_vae(base / "vae" / "tiny_vae.safetensors")
    wan.write_lora(base / "loras" / "style.safetensors")
    return base


@pytest.fixture(autouse=True)
def folders(files, monkeypatch):
    paths = importlib.import_module("folder_paths")
    monkeypatch.setattr(paths, "filename_list_cache", {})
    for folder in FOLDERS:
        entry = ([str(files / folder)], {".safetensors"})
        monkeypatch.setitem(paths.folder_names_and_paths, folder, entry)


@pytest.fixture
def load(node_module):
    def load(lora="none", strength=1.0, context=None, model="tiny.safetensors", **options):
        node = node_module("load_diffusion").LoadModel
        vae = "tiny_vae.safetensors"
        return node.execute(model, vae, lora, strength, context, **options).args[0]

    return load


@pytest.fixture
def clip():
    """Five frames, 48 x 64, with a hole."""
    video = torch.rand((5, 3, 48, 64), generator=torch.Generator().manual_seed(4))
    mask = torch.zeros(5, 1, 48, 64)
    mask[:, :, 10:40, 20:28] = 1
    return video, mask


@pytest.fixture
def reference(pack, files, clip):
    """What the core alone makes of the same files."""

    def reference(**options):
        inpainter = importlib.import_module("dreamstereo_pack.dreamstereo_core").load_inpainter(
            files / "diffusion_models" / "tiny.safetensors",
            files / "vae" / "tiny_vae.safetensors",
            **options,
        )
        return inpainter.inpaint(*clip, num_steps=2)

    return reference


def test_it_equals_the_core(load, reference, clip):
    torch.testing.assert_close(load().inpaint(*clip, num_steps=2), reference())


def test_a_lora_of_some_strength(load, reference, files, clip):
    made = load("style.safetensors", 0.5).inpaint(*clip, num_steps=2)
    path = files / "loras" / "style.safetensors"
    torch.testing.assert_close(made, reference(loras=[(path, 0.5)]))
    assert not torch.allclose(made, reference())


def test_a_prompt(load, reference, clip):
    text = torch.randn((2, wan.TEXT_TOKENS, 4096), generator=torch.Generator().manual_seed(5))
    made = load(context=[[text[:1], {"pooled_output": None}], [text[1:], {}]])
    made = made.inpaint(*clip, num_steps=2)
    torch.testing.assert_close(made, reference(context=text[:1]))
    assert not torch.allclose(made, reference())


def test_its_own_options_hold_unless_an_older_graph_has_others(load, clip):
    own, plain = load(num_steps=2, seed=7), load()
    made = own.inpaint(*clip)
    assert torch.equal(made, plain.inpaint(*clip, num_steps=2, seed=7))
    assert not torch.equal(made, plain.inpaint(*clip))
    assert torch.equal(own.inpaint(*clip, seed=3), plain.inpaint(*clip, seed=3))


def test_it_fills_at_another_size_than_the_films(load, reference, clip, node_module, monkeypatch):
    inpainter = load(fill_size="32x32")
    torch.testing.assert_close(inpainter.inpaint(*clip, num_steps=2), reference(fill_size=(32, 32)))
    assert torch.equal(load(fill_size=" ").inpaint(*clip), load().inpaint(*clip))
    asked = []
    monkeypatch.setattr(node_module("managed"), "bring", lambda *a, **k: asked.append(a[1]))
    inpainter.inpaint(*clip)
    load().inpaint(*clip)
    assert asked[0] < asked[1]
    with pytest.raises(ValueError, match="fill_size: expected WxH in pixels"):
        load(fill_size="large")


def test_pieces_of_other_settings_are_told_apart(load, node_module):
    wrapped = node_module("runtime").StoppableInpainter
    plain = wrapped(load()).about
    assert plain == load().about
    for changed in ({"fill_size": "32x32"}, {"seed": 3}, {"lora": "style.safetensors"}):
        assert wrapped(load(**changed)).about != plain


def test_comfyui_loads_and_unloads_it(load, clip):
    management = importlib.import_module("comfy.model_management")
    inpainter = load()
    assert inpainter.patcher not in management.loaded_models()
    list(inpainter.stream([]))
    assert inpainter.patcher not in management.loaded_models()
    made = inpainter.inpaint(*clip)
    assert inpainter.patcher in management.loaded_models()
    management.unload_all_models()
    assert inpainter.patcher not in management.loaded_models()
    assert torch.equal(inpainter.inpaint(*clip), made)


def test_weights_that_stay_behind_compute_the_same(load, clip, node_module, monkeypatch):
    """As with --lowvram and --novram: operations fetch their weights when they need them."""
    made = load().inpaint(*clip)
    inpainter = load()
    inpainter.patcher.load(torch.device("cpu"), lowvram_model_memory=1)
    assert inpainter.patcher.model.model_lowvram
    monkeypatch.setattr(node_module("managed"), "bring", lambda *args, **options: None)
    assert torch.equal(inpainter.inpaint(*clip), made)


def test_it_asks_comfyui_for_room_once_a_shot(load, clip, node_module, monkeypatch):
    asked = []
    management = node_module("managed").comfy.model_management
    monkeypatch.setattr(management, "load_models_gpu", lambda *a, **k: asked.append((a, k)))
    inpainter = load()
    inpainter.inpaint(*clip)
    (((patchers,), options),) = asked
    assert patchers == [inpainter.patcher]
    assert options["force_full_load"]
    assert options["memory_required"] > 7000 * 48 * 64


def test_comfyuis_attention_and_operations_are_used(load, clip, node_module, monkeypatch):
    managed, calls = node_module("managed"), []
    attend = managed.optimized_attention

    def count(*args, **kwargs):
        calls.append(args)
        return attend(*args, **kwargs)

    monkeypatch.setattr(managed, "optimized_attention", count)
    inpainter = load()
    operations = importlib.import_module("comfy.ops").manual_cast
    assert isinstance(inpainter.patcher.model.transformer.blocks[0].ffn[0], operations.Linear)
    assert isinstance(inpainter.patcher.model.vae.conv1, operations.Conv3d)
    inpainter.inpaint(*clip)
    assert calls


def test_the_combos_list_the_folders(node_module):
    inputs = {i.id: i for i in node_module("load_diffusion").LoadModel.define_schema().inputs}
    assert "tiny.safetensors" in inputs["diffusion_model"].options
    assert inputs["vae"].options == ["tiny_vae.safetensors"]
    assert inputs["lora"].options == ["none", "style.safetensors"]


class TestErrors:
    def test_a_missing_file(self, load):
        with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
            load(model="gone.safetensors")

    def test_a_file_of_another_model(self, load, files):
        vae = files / "vae" / "tiny_vae.safetensors"
        (files / "diffusion_models" / "vae.safetensors").write_bytes(vae.read_bytes())
        with pytest.raises(
            ValueError, match=r"expected a Wan transformer of .*; this is a DreamStereo VAE"
        ):
            load(model="vae.safetensors")

    def test_a_model_that_cannot_inpaint(self, load, files):
        wan.save(wan.make_transformer(16), files / "diffusion_models" / "t2v.safetensors")
        with pytest.raises(ValueError, match="expected an inpainting transformer"):
            load(model="t2v.safetensors")

    @pytest.mark.parametrize("context", [[], [[torch.zeros(7, 4096), {}]]])
    def test_a_conditioning_without_text(self, load, context):
        with pytest.raises(ValueError, match="context: expected a CONDITIONING with text"):
            load(context=context)
