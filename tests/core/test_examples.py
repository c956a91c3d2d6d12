"""The examples in the core's docstrings do what they say, and each public function has one."""

import doctest
import importlib
import inspect
import pkgutil
from importlib.util import find_spec

import pytest
import torch

import dreamstereo_core
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.models.vae.config import WanVAEConfig

from .pictures import ramp, save

PUBLIC = [
    name
    for name in dreamstereo_core.__all__
    if inspect.isfunction(getattr(dreamstereo_core, name)) or name == "StereoPipeline"
]


def examples():
    """Find the docstrings with examples in every module of the core."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for found in pkgutil.walk_packages(dreamstereo_core.__path__, "dreamstereo_core."):
        if found.name.endswith("__main__"):
            continue
        if found.name.endswith("_triton") and find_spec("triton") is None:
            continue
        module = importlib.import_module(found.name)
        yield from (test for test in finder.find(module, found.name) if test.examples)


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that examples name: three frames, and a small autoencoder."""
    path = tmp_path_factory.mktemp("examples")
    save(path / "film.mp4", ramp(3))
    vae = build_vae(WanVAEConfig(widths=(4, 8, 12, 12)))
    save_network(vae, path / "vae.safetensors", VAE)
    return path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_an_example_prints_what_it_says(example, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        said = []
        runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_has_an_example(name):
    assert ">>> " in (getattr(dreamstereo_core, name).__doc__ or "")
