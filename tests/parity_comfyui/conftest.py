"""ComfyUI's own modules and the core side by side in one process."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

CORE = Path(__file__).resolve().parents[2] / "dreamstereo_core"


@pytest.fixture(scope="session", autouse=True)
def comfy() -> ModuleType:
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        pytest.fail("COMFYUI_PATH is not set; `nox -s comfyui` sets it", pytrace=False)
    sys.path.insert(0, path)
    importlib.import_module("comfy.cli_args").args.cpu = True
    return importlib.import_module("comfy")


@pytest.fixture(scope="session")
def core() -> ModuleType:
    """The core of this working tree; ComfyUI's environment has none installed."""
    spec = importlib.util.spec_from_file_location(
        "dreamstereo_core", CORE / "__init__.py", submodule_search_locations=[str(CORE)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["dreamstereo_core"] = module
    spec.loader.exec_module(module)
    return module
