"""What a LoRA run lacks is told at once, before anything heavy is imported."""

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks.transformer import flops
from dreamstereo_core.models.config import WAN_T2V_1_3B
from engine import first_look
from engine.first_look import latent_bytes, tell_what_is_missing, tflop, trained_weights
from engine.settings import settings_text

from .test_train_lora import settings_for

TRAINING = Path(__file__).parents[2] / "training"
STAGE_1 = TRAINING / "configs" / "lora_stage1.yaml"
AT_THE_END = """
import atexit, sys

def check():
    print("heavy:", sorted({"torch", "numpy", "peft", "accelerate"} & sys.modules.keys()))

atexit.register(check)
"""


def test_the_command_alone_ends_in_one_list_and_loads_nothing_heavy(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(AT_THE_END)
    done = subprocess.run(
        [sys.executable, str(TRAINING / "train_lora.py")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == "heavy: []\n" and "Error" not in done.stderr
    first, *lines = done.stderr.splitlines()
    assert "lora_stage1.yaml into runs/lora_stage1" in first
    for part in (
        "base models/diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors: 2.8 GB, https://huggingface",
        "vae models/vae/wan_2.1_vae.safetensors: 0.25 GB, https://huggingface.co/Comfy-Org",
        "pairs pairs/720x1280: python training/build_pairs.py YOUR_VIDEOS --out pairs/720x1280 "
        "--size 720wx1280h --frames 81",
        "disk at runs/lora_stage1: 3.5 GB",
        "h of one A100",
    ):
        assert any(part in line for line in lines), part


def test_packages_are_named_together(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(first_look, "is_missing", lambda module: module in ("peft", "yaml"))
    with pytest.raises(SystemExit):
        tell_what_is_missing("lora_stage1.yaml", [])
    assert "packages peft, pyyaml: pip install -e .[train]" in capsys.readouterr().err


def test_nothing_missing_goes_on(pairs, models, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(settings_text(settings_for(pairs, models)))
    tell_what_is_missing("lora_stage1.yaml", [str(path), "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert f"into {tmp_path / 'run'}" in said and "missing:" not in said
    with pytest.raises(SystemExit):
        tell_what_is_missing("", [str(path), "--set", "data.0.pairs=/no/pairs"])
    assert "pairs /no/pairs: python training/build_pairs.py" in capsys.readouterr().err
    tell_what_is_missing("", [str(tmp_path / "none.yaml")])  # said by who reads it
    tell_what_is_missing("", ["--help"])


def test_other_processes_are_silent(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        tell_what_is_missing("lora_stage1.yaml", [])
    assert capsys.readouterr().err == ""


def test_a_small_disk_is_named_with_its_latents(monkeypatch, pairs, models, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(settings_text(settings_for(pairs, models)))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(9, 9, 10**9))
    more = [
        "lora.cache=latents",
        "lora.cached_samples=4096",
        "data.*.frames=81",
        "data.0.width=1280",
    ]
    more += ["data.0.height=720", "lora.rank=4"]
    options = [word for key in more for word in ("--set", key)]
    with pytest.raises(SystemExit):
        tell_what_is_missing("", [str(path), *options])
    needed = 4096 * 21 * 90 * 160 * (2 * 16 * 2 + 4) / 1e9
    assert (
        f"disk at latents: {needed:.1f} GB are needed, 1.0 GB are free" in capsys.readouterr().err
    )
    assert latent_bytes({"frames": 81, "width": 1280, "height": 720, "masks": "random"}) == (
        21 * 90 * 160 * 16 * 2
    )


def test_the_estimates_are_the_models():
    assert tflop(75_600) == pytest.approx(flops(WAN_T2V_1_3B, 75_600) / 1e12, rel=0.01)
    assert 85e6 < trained_weights(64) < 95e6
    hours = first_look.gpu_hours(yaml.safe_load(STAGE_1.read_text()))
    sizes = [21 * 45 * 80, 21 * 80 * 45, 21 * 48 * 48]
    work = 10_000 * 12 * 3 * sum(flops(WAN_T2V_1_3B, n) for n in sizes) / 3
    assert hours["A100"] == pytest.approx(work / (0.4 * 312e12) / 3600, rel=0.01)
    assert torch.tensor(list(hours.values())).diff() < 0
