"""Each recipe learns, goes on exactly where it stopped, and exports what the core loads."""

import shutil

import distill_step
import distill_vae
import pretrain
import pytest
import torch
import train_lora
from dataset import DataSettings
from flow import FlowSettings
from loop import RunSettings
from state import checkpoints, read_state

from dreamstereo_core.models.checkpoint import load_transformer
from dreamstereo_core.models.vae_checkpoint import load_vae

STEPS = 4


def run_settings(**changes):
    values = {
        "steps": STEPS,
        "batch": 2,
        "lr": 2e-3,
        "warmup": 1,
        "schedule": "constant",
        "log_every": 1,
        "sample_every": STEPS,
        "checkpoint_every": 2,
        "keep": 9,
    }
    return RunSettings(**(values | changes))


def data_settings(pairs, **changes):
    values = {"pairs": str(pairs), "frames": 5, "height": 32, "width": 32, "held_out": 2}
    return DataSettings(**(values | changes))


def recipe(name, pairs, models, **run):
    """Return a recipe's function and its settings."""
    data, steps = data_settings(pairs), run_settings(**run)
    vae, transformer = str(models / "vae.safetensors"), str(models / "transformer.safetensors")
    if name == "pretrain_vae":
        own = pretrain.VAESettings(start=str(models / "student.safetensors"), images=0.3)
        return pretrain.train, pretrain.PretrainSettings(data, steps, vae=own)
    if name == "pretrain_transformer":
        flow = FlowSettings(one_step=0.5, known_weight=0.2, sparse=0.5, continued=0.3)
        own = pretrain.TransformerSettings(vae=vae, model="tiny", flow=flow)
        return pretrain.train, pretrain.PretrainSettings(data, steps, transformer=own)
    if name == "train_lora":
        own = train_lora.LoraSettings(
            str(models / "base.safetensors"), vae, rank=4, alpha=4, base_precision="float32"
        )
        steps = run_settings(**(run | {"ema": 0.0}))
        wide = data_settings(pairs, width=48)
        return train_lora.train, train_lora.TrainLoraSettings((data, wide), steps, own)
    if name == "distill_vae":
        return distill_vae.train, distill_vae.DistillVAESettings(
            data,
            steps,
            vae,
            str(models / "student.safetensors"),
            perceptual=0.0,
            adversarial_start=1,
            width=8,
            checkpointing=True,
        )
    return distill_step.train, distill_step.DistillStepSettings(
        data, steps, transformer, vae, perceptual=0.0, adversarial_start=1, width=8
    )


RECIPES = ("pretrain_vae", "pretrain_transformer", "train_lora", "distill_vae", "distill_step")


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_that_goes_on_equals_one_that_was_never_stopped(name, pairs, models, tmp_path):
    train, settings = recipe(name, pairs, models)
    exported = train(settings, tmp_path / "whole")
    (tmp_path / "again").mkdir()
    for part in ("checkpoints", "samples"):
        shutil.copytree(tmp_path / "whole" / part, tmp_path / "again" / part)
    for file in ("config.yaml", "losses.csv", "held_out.csv"):
        shutil.copy(tmp_path / "whole" / file, tmp_path / "again" / file)
    checkpoints(tmp_path / "again" / "checkpoints")[-1].unlink()  # back to step 2
    train(settings, tmp_path / "again")

    ends = [
        read_state(checkpoints(tmp_path / run / "checkpoints")[-1]) for run in ("whole", "again")
    ]
    assert [end["step"] for end in ends] == [STEPS, STEPS]
    assert_equal(ends[0], ends[1])
    start = read_state(checkpoints(tmp_path / "whole" / "checkpoints")[0])
    key = next(iter(start["modules"]))
    assert any(
        not torch.equal(a, b)
        for a, b in zip(
            start["modules"][key].values(), ends[0]["modules"][key].values(), strict=True
        )
    )
    tables = [(tmp_path / run / "losses.csv").read_text().split("\n") for run in ("whole", "again")]
    assert [r.rsplit(",", 1)[0] for r in tables[0]] == [r.rsplit(",", 1)[0] for r in tables[1]]
    assert (tmp_path / "whole" / "losses.png").stat().st_size > 1000
    assert list((tmp_path / "whole" / "samples").glob("*.png"))
    if name != "train_lora":
        load = load_vae if "vae" in name else load_transformer
        assert not any(p.requires_grad for p in load(exported).parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_a_few_steps_lower_the_loss(name, pairs, models, tmp_path):
    train, settings = recipe(name, pairs, models, steps=30, sample_every=30, checkpoint_every=30)
    train(settings, tmp_path)
    header, *rows = [line.split(",") for line in (tmp_path / "losses.csv").read_text().split()]
    # What is regressed: an adversary's share of the loss may rise.
    column = {"distill_vae": "l1", "distill_step": "x0"}.get(name, "loss")
    values = [float(row[header.index(column)]) for row in rows]
    assert sum(values[-5:]) < 0.95 * sum(values[:5])


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
