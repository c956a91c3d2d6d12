"""Each recipe learns, goes on exactly where it stopped, and exports what the core loads."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import distill_step
import distill_vae
import train_lora
from data.pair_dataset import DataSettings
from dreamstereo_core.models.files.load import load_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.vae.checkpoint import VAE
from engine.loop import RunSettings
from engine.state import checkpoints, read_state
from objectives.flow import FlowSettings

from ..models.fakes import TINY

STEPS = 14


@pytest.fixture(scope="module")
def two_clips(tmp_path_factory, write_pairs):
    """Every batch of two has both: losses of different steps compare."""
    return write_pairs(tmp_path_factory.mktemp("two"), count=2, height=32, width=32)


def run_settings(**changes):
    values = {
        "steps": STEPS,
        "batch": 2,
        "lr": 4e-3,
        "warmup": 1,
        "schedule": "constant",
        "log_every": 1,
        "sample_every": STEPS,
        "checkpoint_every": 12,
        "keep": 9,
    }
    return RunSettings(**(values | changes))


def data_settings(pairs, **changes):
    values = {"pairs": str(pairs), "frames": 5, "height": 32, "width": 32, "held_out": 1}
    return DataSettings(**(values | changes))


def recipe(name, pairs, models, **run):
    """Return a recipe's function and its settings."""
    data, steps = data_settings(pairs), run_settings(**run)
    vae, transformer = str(models / "vae.safetensors"), str(models / "transformer.safetensors")
    if name == "train_lora":
        own = train_lora.LoraSettings(
            str(models / "base.safetensors"),
            vae,
            rank=4,
            alpha=4,
            base_precision="float32",
            flow=FlowSettings(one_step=0.5, known_weight=0.2, sparse=0.5, continued=0.3),
        )
        steps = run_settings(**(run | {"ema": 0.0}))
        wide = data_settings(pairs, width=16)
        return train_lora.train, train_lora.TrainLoraSettings((data, wide), steps, own)
    if name == "distill_vae":
        return distill_vae.train, distill_vae.DistillVAESettings(
            data,
            steps,
            vae,
            str(models / "student.safetensors"),
            perceptual=0.0,
            adversarial=0.2,
            adversarial_start=1,
            width=8,
            checkpointing=True,
        )
    return distill_step.train, distill_step.DistillStepSettings(
        data, steps, transformer, vae, perceptual=0.0, adversarial_start=1, width=8
    )


RECIPES = ("train_lora", "distill_vae", "distill_step")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_learns_and_goes_on_where_it_stopped(name, two_clips, models, tmp_path):
    train, settings = recipe(name, two_clips, models)
    whole, again = tmp_path / "whole", tmp_path / "again"
    exported = train(settings, whole)

    header, *rows = [line.split(",") for line in (whole / "losses.csv").read_text().split()]
    # What is regressed: an adversary's share of the loss may rise.
    column = {"distill_vae": "l1", "distill_step": "x0"}.get(name, "loss")
    values = [float(row[header.index(column)]) for row in rows]
    assert sum(values[-4:]) < 0.97 * sum(values[:4])
    assert (whole / "losses.png").stat().st_size > 1000
    assert len(list((whole / "samples").glob("*.png"))) == 2
    if name != "train_lora":
        network = load_network(exported, VAE if "vae" in name else TRANSFORMER)
        assert not any(p.requires_grad for p in network.parameters())

    shutil.copytree(whole, again)
    checkpoints(again / "checkpoints")[-1].unlink()  # a run that was killed after its last one
    train(settings, again)
    ends = [read_state(checkpoints(run / "checkpoints")[-1]) for run in (whole, again)]
    assert [end["step"] for end in ends] == [STEPS, STEPS]
    assert_equal(ends[0], ends[1])
    start = read_state(checkpoints(whole / "checkpoints")[0])
    for key, weights in start["modules"].items():
        later = ends[0]["modules"][key]
        assert any(not torch.equal(weight, later[n]) for n, weight in weights.items())
    tables = [(run / "losses.csv").read_text().split() for run in (whole, again)]
    assert [r.rsplit(",", 1)[0] for r in tables[0]] == [r.rsplit(",", 1)[0] for r in tables[1]]


def test_a_student_learns_to_see_the_picture(two_clips, models, tmp_path):
    """It goes on with a file whose decoder saw nothing, and what is exported sees."""
    train, settings = recipe("distill_vae", two_clips, models, steps=2, checkpoint_every=2)
    settings = replace(settings, conditioned=True, known=0.1, adversarial=0.0)
    network = load_network(train(settings, tmp_path / "run"), VAE)
    assert network.conditioned
    assert network.decoder.glances[2].conv[2].weight.abs().max() > 0  # it was zero
    latent, generator = torch.randn(1, 16, 2, 4, 4), torch.Generator().manual_seed(0)
    picture = torch.rand(1, 4, 5, 32, 32, generator=generator)
    assert not torch.equal(network.decode(latent, picture=picture), network.decode(latent))


def test_a_given_context_is_sharpened_and_exported(two_clips, models, tmp_path):
    """The exported file alone is the model that was trained: nothing has to lie beside it."""
    train, settings = recipe("distill_step", two_clips, models, steps=1)
    context = torch.randn(1, TINY.text_len - 1, TINY.text_dim)
    save_file({"context": context}, tmp_path / "context.safetensors")
    settings = replace(settings, context=str(tmp_path / "context.safetensors"))
    exported = train(settings, tmp_path / "run")
    network = load_network(exported, TRANSFORMER)
    assert network.config.learned_context
    assert (network.context[:, :-1] - context).abs().max() < 0.1  # a step of 4e-3 away
    assert network.context[:, -1].abs().max() < 0.1
    save_file({"context": context[..., 1:].contiguous()}, tmp_path / "context.safetensors")
    with pytest.raises(ValueError, match=r"context: expected \[1, up to 8, 24\]"):
        train(settings, tmp_path / "wrong")


def assert_equal(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    else:
        assert a == b
