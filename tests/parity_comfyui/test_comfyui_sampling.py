"""The schedule beside ComfyUI's."""

import importlib

import pytest
import torch


@pytest.mark.parametrize("num_steps", [1, 4, 10])
@pytest.mark.parametrize("shift", [1.0, 5.0, 8.0])
def test_the_schedule_is_comfyuis_simple_one(comfy, core, num_steps, shift):
    sampling = importlib.import_module("comfy.model_sampling").ModelSamplingDiscreteFlow()
    sampling.set_parameters(shift=shift, multiplier=1000)
    theirs = importlib.import_module("comfy.samplers").simple_scheduler(sampling, num_steps)
    ours = importlib.import_module("dreamstereo_core.sampling").sigmas(num_steps, shift)
    assert torch.allclose(theirs, torch.tensor(ours), atol=1e-6)
