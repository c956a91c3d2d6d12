"""The LoRA that comes out of a training, and trainings on two processes."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

import train_lora
from data.pair_dataset import DataSettings
from dreamstereo_core.models.conditioning import inpainting_input
from dreamstereo_core.models.files.checkpoint_file import CheckpointError
from dreamstereo_core.models.files.load import load_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.lora import load_lora, merge_loras
from engine.loop import RunSettings
from engine.lora_export import lora_tensors
from engine.recipe import main_of
from engine.settings import settings_text

WORKER = Path(__file__).with_name("worker.py")
TRAINING = Path(__file__).parents[2] / "training"


def settings_for(pairs, models, **run):
    data = DataSettings(str(pairs), frames=5, height=32, width=32, held_out=1)
    values = {"steps": 2, "batch": 2, "lr": 1e-2, "warmup": 1, "ema": 0.0, "sample_every": 9}
    own = train_lora.LoraSettings(
        str(models / "base.safetensors"),
        str(models / "vae.safetensors"),
        rank=4,
        alpha=8,
        base_precision="float32",
    )
    return train_lora.TrainLoraSettings((data,), RunSettings(**(values | run)), own)


@pytest.fixture(scope="module")
def trained(pairs, models, tmp_path_factory):
    """A short run on one process, its model as it was at the end, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    settings = settings_for(pairs, models)
    kept = {}
    prepare = train_lora.prepare_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            train_lora, "prepare_model", lambda own: kept.setdefault("model", prepare(own))
        )
        train_lora.train(settings, folder)
    return kept["model"][0], folder


@torch.no_grad()
def predict(model, context):
    generator = torch.Generator().manual_seed(5)
    latent, masked_latent = torch.randn(2, 1, 16, 2, 4, 6, generator=generator)
    missing = (torch.rand(1, 4, 2, 4, 6, generator=generator) > 0.5).float()
    conditioning = model.prepare(torch.tensor([0.7]), context)
    return model(inpainting_input(latent, missing, masked_latent), conditioning)


def test_the_exported_lora_does_to_the_base_what_training_did(trained, models):
    model, folder = trained
    context = load_file(folder / "context.safetensors")["context"]
    expected = predict(model.transformer, context)

    base = load_network(models / "base.safetensors", TRANSFORMER)
    merge_loras(base, [(load_lora(folder / "lora.safetensors", base), 1.0)])
    assert base.config.in_dim == 36
    assert torch.allclose(predict(base, context), expected, atol=1e-5)
    assert torch.allclose(predict(base, None), expected, atol=1e-5)  # it is in the LoRA
    assert not torch.allclose(predict(base, context), predict(base, context * 0), atol=1e-5)


def test_every_trained_part_has_moved(trained):
    tensors = load_file(trained[1] / "lora.safetensors")
    ups = {n: x for n, x in tensors.items() if n.endswith("lora_B.weight")}
    assert len(ups) == 2 * 10 + 1  # blocks x (two attentions of four and two feed-forward), patch
    assert all(x.abs().max() > 0 for x in ups.values())
    assert tensors["diffusion_model.patch_embedding.diff_b"].abs().max() > 0
    assert tensors["diffusion_model.patch_embedding.reshape_weight"].tolist() == [48, 36, 1, 2, 2]


def test_the_patch_embedding_survives_as_a_full_rank_pair():
    generator = torch.Generator().manual_seed(0)
    base = {"patch_embedding.weight": torch.randn(200, 16, 1, 2, 2, generator=generator)}
    weight = torch.randn(200, 36, 1, 2, 2, generator=generator)
    tensors = lora_tensors({"patch_embedding.weight": weight}, base, alpha=1.0)
    name = "diffusion_model.patch_embedding.lora_"
    product = tensors[f"{name}B.weight"] @ tensors[f"{name}A.weight"]
    padded = torch.nn.functional.pad(base["patch_embedding.weight"], (0, 0, 0, 0, 0, 0, 0, 20))
    assert torch.equal(product.view(weight.shape), weight - padded)


def test_bfloat16_and_checkpointing_train_the_same_way(pairs, models, tmp_path):
    settings = settings_for(pairs, models, precision="bfloat16", steps=1)
    own = replace(settings.lora, base_precision="bfloat16", checkpointing=True)
    train_lora.train(replace(settings, lora=own), tmp_path / "half")
    AcceleratorState._reset_state(reset_partial_state=True)
    plain = settings_for(pairs, models, steps=1)
    train_lora.train(replace(plain, lora=replace(plain.lora, checkpointing=False)), tmp_path / "f")
    rows = [(tmp_path / f / "losses.csv").read_text().split()[1].split(",") for f in ("half", "f")]
    losses = [float(row[1]) for row in rows]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_two_processes_equal_one(trained, pairs, models, tmp_path):
    """DDP and FSDP, through accelerate, on the CPU."""
    config = tmp_path / "config.yaml"
    config.write_text(settings_text(settings_for(pairs, models, batch=1, global_batch=2)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": os.pathsep.join([str(TRAINING), os.environ.get("PYTHONPATH", "")]),
        "ACCELERATE_USE_CPU": "true",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(config), str(tmp_path)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    expected = load_file(trained[1] / "lora.safetensors")
    for kind in ("ddp", "fsdp"):
        tensors = load_file(tmp_path / kind / "lora.safetensors")
        assert tensors.keys() == expected.keys()
        for name, value in tensors.items():
            assert torch.allclose(value, expected[name], atol=2e-5), (kind, name)


def test_a_base_of_another_model_is_refused(pairs, models, tmp_path, capsys):
    settings = settings_for(pairs, models)
    own = replace(settings.lora, base=str(models / "vae.safetensors"))
    with pytest.raises(CheckpointError, match=r"vae\.safetensors: expected a Wan transformer"):
        train_lora.train(replace(settings, lora=own), tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(settings_text(replace(settings, lora=own)))
    code = main_of(
        train_lora.TrainLoraSettings,
        train_lora.train,
        "",
        [str(config), "--out", str(tmp_path / "x")],
    )
    assert code == 1
    assert "expected a Wan transformer" in capsys.readouterr().err


def test_stage_2_starts_from_stage_1(trained, pairs, models, tmp_path):
    settings = settings_for(pairs, models, steps=1, lr=1e-9)
    start = next((trained[1] / "checkpoints").glob("*.pt"))
    own = replace(settings.lora, start=str(start))
    train_lora.train(replace(settings, lora=own), tmp_path)
    before, after = (load_file(f / "lora.safetensors") for f in (trained[1], tmp_path))
    for name, value in before.items():
        assert torch.allclose(value.float(), after[name].float(), atol=1e-6), name
