"""The nodes, imported as ComfyUI imports them: the pack is a module of its folder's name."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

PACK = Path(__file__).resolve().parents[2]
NAME = "dreamstereo_pack"


@pytest.fixture(scope="session", autouse=True)
def pack() -> ModuleType:
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        pytest.fail("COMFYUI_PATH is not set; `nox -s comfyui` sets it", pytrace=False)
    sys.path.insert(0, comfyui)  # before any folder that has a `nodes` of its own
    # As main.py does, before ComfyUI's nodes.py puts a folder with another `utils` on the path.
    importlib.import_module("utils.install_util")
    importlib.import_module("comfy.cli_args").args.cpu = True
    spec = importlib.util.spec_from_file_location(
        NAME, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def node_module(pack):
    """Import a module of the pack's nodes by its name."""
    return lambda name: importlib.import_module(f"{NAME}.nodes.{name}")
