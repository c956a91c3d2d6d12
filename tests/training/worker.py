"""One of two processes that train together: first by DDP, then by FSDP."""

import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

import train_lora
from engine import recipe
from engine.settings import load_settings


def sharded(run):
    """Return an accelerator of FSDP's kind; accelerate itself chooses it on GPUs only."""
    AcceleratorState._reset_state()
    accelerator = Accelerator()
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="no_wrap")
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    accelerator.state.fsdp_plugin = plugin
    accelerator.state.distributed_type = DistributedType.FSDP
    return accelerator


def main():
    torch.set_num_threads(1)
    settings = load_settings(train_lora.TrainLoraSettings, sys.argv[1])
    out = Path(sys.argv[2])
    train_lora.train(settings, out / "ddp")
    recipe.make_accelerator = sharded
    train_lora.train(settings, out / "fsdp")


if __name__ == "__main__":
    main()
