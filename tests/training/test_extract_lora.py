"""A LoRA from two checkpoints, held to the difference itself."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import extract_lora
from dreamstereo_core.models.files.names import to_diffusers
from dreamstereo_core.models.lora import load_lora, merge_loras
from dreamstereo_core.models.transformer import Transformer

from ..models.fakes import TINY

BASE = replace(TINY, in_dim=16, learned_context=False)


def model(seed):
    torch.manual_seed(seed)
    made = Transformer(BASE).requires_grad_(False)
    for parameter in made.parameters():
        parameter.normal_(std=0.2)
    return made


@pytest.fixture
def files(tmp_path):
    """A base, and a model distilled from it: every parameter has moved, the matrices by rank 3."""
    base, moved = model(0), model(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in moved.parameters():
        change = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 2:
            rows, columns = parameter.shape
            up = torch.randn(rows, 3, generator=generator)
            change = up @ torch.randn(3, columns, generator=generator) / 8
        parameter += 0.1 * change
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    return base, moved, tmp_path


def extract(folder, distilled, *options):
    command = [folder / "base.safetensors", distilled, "--out", folder / "lora.safetensors"]
    return extract_lora.main([*map(str, command), *options])


@pytest.mark.parametrize("layout", ["original", "diffusers", "trainer"])
def test_base_and_lora_make_the_distilled_model(files, layout, capsys):
    base, moved, folder = files
    state = moved.state_dict()
    path = folder / "distilled.safetensors"
    if layout == "diffusers":
        state = {to_diffusers(name): x for name, x in state.items()}
    if layout == "trainer":  # rCM's: a prefix, counters, and a linear patch embedding
        weight = state["patch_embedding.weight"]
        state["patch_embedding.weight"] = weight.flatten(1)
        state = {f"net.{name}": x for name, x in state.items()}
        state["net.accum_iteration"] = torch.tensor(7)
        path = path.with_suffix(".pt")
        torch.save(state, path)
    else:
        save_file(state, path)
    assert extract(folder, path, "--rank", "3", "--dtype", "float32") == 0
    assert "rank 3 hold 100.0% to 100.0%" in capsys.readouterr().out
    merge_loras(base, [(load_lora(folder / "lora.safetensors", base), 1.0)])
    for name, value in base.state_dict().items():
        assert torch.allclose(value, moved.state_dict()[name], atol=1e-4), name


def test_linear_patch_embeddings_order_their_inputs_as_convolutions_do():
    torch.manual_seed(0)
    latent = torch.randn(1, 16, 1, 2, 2)
    linear = torch.randn(48, 64)
    convolution = linear.unflatten(1, (16, 1, 2, 2))
    result = torch.nn.functional.conv3d(latent, convolution, stride=(1, 2, 2)).flatten()
    assert torch.allclose(result, linear @ latent.flatten(), atol=1e-4)


def test_less_rank_is_the_best_there_is():
    """Eckart and Young: the error of rank r is the square of the singular values beyond it."""
    difference = torch.randn(30, 20, generator=torch.Generator().manual_seed(2))
    singular = torch.linalg.svdvals(difference)
    for rank in (1, 5, 20, 64):
        down, up, share = extract_lora.low_rank(difference, rank)
        assert down.shape[0] == up.shape[1] == min(rank, 20)
        error = (difference - up @ down).square().sum()
        assert torch.allclose(error, singular[rank:].square().sum(), atol=1e-3)
        assert share == pytest.approx(float(1 - error / singular.square().sum()), abs=1e-4)


def test_only_what_has_changed_is_in_the_file(files):
    base, _, folder = files
    changed = base.state_dict()
    changed["blocks.1.modulation"] = changed["blocks.1.modulation"] + 1
    save_file(changed, folder / "distilled.safetensors")
    assert extract(folder, folder / "distilled.safetensors") == 0
    assert list(load_file(folder / "lora.safetensors")) == ["diffusion_model.blocks.1.diff_m"]


def test_what_does_not_go_together_is_named(files, capsys):
    base, _, folder = files
    state, path = base.state_dict(), folder / "distilled.safetensors"
    for changed, message in (
        (state, "expected other weights than the base's"),
        ({n: x for n, x in state.items() if n != "head.head.bias"}, "lacks head.head.bias"),
        (state | {"head.head.bias": torch.ones(3)}, "head.head.bias: expected"),
        ({"other": torch.ones(1)}, "expected a Wan transformer"),
    ):
        save_file(changed, path)
        assert extract(folder, path) == 1
        assert message in capsys.readouterr().err
